import math

import numpy as np
import pytest

from refiner.metrics.intervals import Interval, bootstrap_interval, seed_interval


def test_seed_interval_by_hand() -> None:
    interval = seed_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2
    assert interval.high - 2 == pytest.approx(4.3027 / 3**0.5, abs=1e-3)  # t(0.975, 2) times s / sqrt(n)
    assert seed_interval([4.0]).high == np.inf
    assert str(seed_interval([4.0])) == "4.00"
    assert str(Interval(1, 0.5, 2)) == "1.00 [0.50, 2.00]"


def test_bootstrap_of_normal_values_is_the_textbook_s() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    interval = bootstrap_interval(values, seed=1)
    half = 1.96 * values.std() / math.sqrt(400)
    assert interval.mean == values.mean()
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_bootstrap_draws_whole_clusters() -> None:
    """Two clusters of equal size: their means, or the mean of both, and nothing between."""
    values = np.array([1.0] * 50 + [3.0] * 50)
    assert bootstrap_interval(values, ["a"] * 50 + ["b"] * 50) == Interval(2.0, 1.0, 3.0)
    alone = bootstrap_interval(values)
    assert alone.high - alone.low < 0.5


def test_bootstrap_weighs_clusters_by_their_images() -> None:
    """Draws of a cluster of 9 zeros and one of a single 10: means 0, 1 or 10."""
    assert bootstrap_interval(np.array([0.0] * 9 + [10.0]), ["a"] * 9 + ["b"]) == Interval(1.0, 0.0, 10.0)


def test_bootstrap_follows_from_its_seed_and_needs_two_clusters() -> None:
    values = np.arange(10.0)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)
    assert bootstrap_interval(values, ["one"] * 10).high == math.inf
