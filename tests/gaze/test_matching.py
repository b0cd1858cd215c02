"""Renders drawn like photographs' gaze."""

import numpy as np
import pytest

from refiner.gaze.matching import draw_like


def test_what_is_drawn_is_spread_like_the_photographs() -> None:
    rng = np.random.default_rng(0)
    renders = rng.uniform(-0.6, 0.6, (8000, 3))
    photographs = rng.normal((0.1, -0.05, 0.0), (0.12, 0.15, 0.2), (1000, 3))
    drawn = renders[draw_like(renders, photographs, np.random.default_rng(1))]
    assert len(drawn) > 500
    assert np.abs(drawn.mean(axis=0) - photographs.mean(axis=0)).max() < 0.03
    # Kernels widen, and the share taken flattens: not as narrow as the photographs, but most of the way.
    wider = (drawn.std(axis=0) - photographs.std(axis=0)) / (renders.std(axis=0) - photographs.std(axis=0))
    assert (wider < 0.4).all()


def test_alike_already_most_are_taken_and_their_spread_stays() -> None:
    rng = np.random.default_rng(2)
    renders, photographs = rng.normal(0, 0.2, (4000, 2)), rng.normal(0, 0.2, (2000, 2))
    numbers = draw_like(renders, photographs, np.random.default_rng(3))
    assert len(numbers) > 2000
    assert renders[numbers].std(axis=0) == pytest.approx(renders.std(axis=0), rel=0.1)


def test_numbers_ascend_and_follow_from_the_generator() -> None:
    renders, photographs = np.random.default_rng(4).uniform(-1, 1, (2, 300, 2))
    first, second, other = (draw_like(renders, photographs, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert (np.diff(first) > 0).all()
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_photographs_that_look_where_no_render_does_leave_one_at_least() -> None:
    numbers = draw_like(np.zeros((50, 2)), np.full((10, 2), 1.5), np.random.default_rng(0))
    assert len(numbers) >= 1
