"""Intervals over repeats and clusters: values by hand, and how often they cover the truth when people are redrawn."""

import math

import numpy as np
import pytest
from scipy import stats

from refiner.metrics.intervals import (
    Interval,
    Spread,
    add_spreads,
    cluster_interval,
    cluster_spread,
    crossed_interval,
    jackknife_interval,
    repeat_interval,
    seed_interval,
    statistic_interval,
)


def test_seed_interval_by_hand() -> None:
    interval = seed_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2
    assert interval.high - 2 == pytest.approx(4.3027 / 3**0.5, abs=1e-3)  # t(0.975, 2) times s / sqrt(n)
    assert seed_interval([1.0, 2.0, 3.0], confidence=0.9).high - 2 == pytest.approx(2.92 / 3**0.5, abs=1e-3)
    assert seed_interval([4.0]).high == np.inf
    assert str(seed_interval([4.0])) == "4.00"
    assert str(Interval(1, 0.5, 2)) == "1.00 [0.50, 2.00]"


def test_single_images_give_the_textbook_interval() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    interval = cluster_interval(values)
    half = 1.96 * values.std() / math.sqrt(400)
    assert interval.mean == values.mean()
    assert interval.low == pytest.approx(values.mean() - half, abs=0.01 * half)
    assert cluster_interval(values, [str(number) for number in range(400)]) == pytest.approx(interval)


def test_clusters_of_equal_size_are_their_means() -> None:
    """Fifty equal images say no more than one of them."""
    values = np.repeat([1.0, 2.0, 3.0], 50)
    assert cluster_interval(values, list("a" * 50 + "b" * 50 + "c" * 50)) == pytest.approx(seed_interval([1, 2, 3]))
    assert cluster_interval(values, ["one"] * 150) == (2, -math.inf, math.inf)


def test_clusters_weigh_by_their_images() -> None:
    """Nine zeros in one cluster and a single 10: without the one the mean is 10, without the other 0."""
    spread = cluster_spread(np.array([0.0] * 9 + [10.0]), ["a"] * 9 + ["b"])
    assert spread == pytest.approx((1 / 2 * ((10 - 1) ** 2 + (0 - 1) ** 2), 1))


def test_spreads_add_by_welch() -> None:
    first, second = np.array([1.0, 2, 4, 7]), np.array([10.0, 30, 90])
    freedom = add_spreads([cluster_spread(first), cluster_spread(second)]).freedom
    result = stats.ttest_ind(first, second, equal_var=False)
    assert freedom == pytest.approx(result.df)
    assert add_spreads([Spread(0, 5), Spread(0, 2)]) == (0, 2)
    assert add_spreads([Spread(1, 5), cluster_spread(first, list("aaaa"))]).half_width() == math.inf


def test_jackknife_of_a_mean_is_the_interval_of_the_mean() -> None:
    values = np.array([1.0, 2, 4, 7, 9])
    without = [float(np.delete(values, number).mean()) for number in range(5)]
    assert jackknife_interval(float(values.mean()), without) == pytest.approx(seed_interval(values.tolist()))
    assert jackknife_interval(3.0, [2.0]) == (3, -math.inf, math.inf)


def test_repeats_add_their_variance_to_that_of_the_people() -> None:
    people = ["a", "a", "b", "b"]
    values = np.array([[1.0, 3, 5, 7]])
    assert repeat_interval(values, people) == pytest.approx(cluster_interval(values[0], people))
    both = repeat_interval(np.concatenate([values, values + 2]), people)
    by_hand = 5, (6 - 4) ** 2 / 4, 1.0  # mean; variance over people, s^2 / 2 of 3 and 7; over seeds, of 4 and 6
    variance = 4.0 + 1.0
    freedom = variance**2 / (4.0**2 / 1 + 1.0**2 / 1)
    assert both.mean == by_hand[0]
    assert both.high - 5 == pytest.approx(stats.t.ppf(0.975, freedom) * math.sqrt(variance))


PEOPLE, DAYS, SEEDS = 15, 20, 3
REDRAWS = 400


def redrawn(rng: np.random.Generator, seeds: int, sizes: np.ndarray) -> np.ndarray:
    """Errors (seeds, images) around 5 degrees: people differ by 1.5, their days by 0.7, several seeds by 0.2."""
    people = np.repeat(rng.normal(0, 1.5, PEOPLE), DAYS) + rng.normal(0, 0.7, PEOPLE * DAYS)
    habits = rng.normal(0, 0.3, (seeds, PEOPLE)).repeat(DAYS, axis=1) + rng.normal(0, 0.2, (seeds, 1)) * (seeds > 1)
    errors = np.repeat(5 + people + habits, sizes, axis=1)
    return errors + rng.normal(0, 1, errors.shape)


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("seeds", [1, SEEDS])
def test_intervals_cover_the_error_on_other_people(seeds: int, uneven: bool) -> None:
    """15 people of 20 days each, drawn anew 400 times, with one estimator and with three on the same people."""
    rng = np.random.default_rng(seeds + 10 * uneven)
    covered, by_days, by_seeds, widths, means = 0, 0, 0, [], []
    for _ in range(REDRAWS):
        sizes = rng.integers(1, 4, PEOPLE * DAYS) if uneven else np.full(PEOPLE * DAYS, 2)
        people = np.repeat(np.arange(PEOPLE).repeat(DAYS), sizes)
        days = np.repeat(np.arange(PEOPLE * DAYS), sizes)
        errors = redrawn(rng, seeds, sizes)
        interval = repeat_interval(errors, people)
        covered += interval.low <= 5 <= interval.high
        widths.append(interval.high - interval.low)
        means.append(interval.mean)
        by_days += np.ptp(np.sign(np.array(cluster_interval(errors.mean(axis=0), days)[1:]) - 5)) > 0
        if seeds > 1:
            by_seeds += np.ptp(np.sign(np.array(seed_interval(errors.mean(axis=1).tolist())[1:]) - 5)) > 0
    assert 0.92 <= covered / REDRAWS <= 0.985
    assert by_days / REDRAWS < 0.7  # what days as clusters would promise
    assert by_seeds / REDRAWS < 0.7
    # An interval from the true spread of the means would be 3.92 standard deviations wide.
    assert np.mean(widths) < 1.3 * 3.92 * np.std(means)


def test_a_paired_gain_covers_zero_on_other_people() -> None:
    """Refining changes the error of each person by another amount, and by none on average."""
    rng = np.random.default_rng(5)
    people = np.arange(PEOPLE).repeat(DAYS)
    covered = 0
    for _ in range(REDRAWS):
        gains = np.repeat(rng.normal(0, 0.5, PEOPLE), DAYS) + rng.normal(0, 0.1, (SEEDS, 1))
        gains = gains + rng.normal(0, 1, (SEEDS, PEOPLE * DAYS))
        interval = repeat_interval(gains, people)
        covered += interval.low <= 0 <= interval.high
    assert 0.92 <= covered / REDRAWS <= 0.99


def test_a_statistic_of_sums_has_the_interval_of_a_mean_if_it_is_one() -> None:
    values = np.random.default_rng(3).normal(2, 1, (3, 40))
    people = [str(number // 5) for number in range(40)]
    parts = np.stack([values, np.ones_like(values)], axis=2)
    for clusters in (None, people):
        found = statistic_interval(parts, lambda sums: sums[..., 0] / sums[..., 1], clusters)
        assert found == pytest.approx(repeat_interval(values, clusters))
    assert statistic_interval(parts[:1], lambda sums: sums[..., 0] / sums[..., 1], ["a"] * 40)[1:] == (-np.inf, np.inf)


def test_the_interval_of_a_ratio_covers_it_when_images_are_redrawn() -> None:
    """A ratio of two sums, such as an IoU, of 60 images of very different weights; the true ratio is 0.5."""
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(400):
        weights = rng.exponential(100, 60)
        parts = np.stack([weights * rng.beta(2, 2, 60), weights], axis=1)[None]
        found = statistic_interval(parts, lambda sums: sums[..., 0] / sums[..., 1])
        covered += found.low <= 0.5 <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_crossed_clusters_by_hand() -> None:
    """Two seeds test other halves of four people: the deviations of the shares are -3, -1, 1 and 3 quarters."""
    values, people, seeds = np.array([2.0, 4, 6, 8]), list("abcd"), list("1122")
    over_people = 4 / 3 * (9 + 1 + 1 + 9) / 16
    over_seeds = 2 / 1 * (16 + 16) / 16
    found = crossed_interval(values, people, seeds)
    assert found.mean == 5
    variance = max(over_people, over_seeds, over_people + over_seeds - over_people)  # each person is one pair
    assert found.high - 5 == pytest.approx(stats.t.ppf(0.975, 1) * math.sqrt(variance))
    assert crossed_interval(values, people, ["1"] * 4) == (5, -math.inf, math.inf)
    assert crossed_interval(values, people, seeds, np.array([1.0, 0, 0, 3])).mean == 6.5
    order = [2, 0, 3, 1]
    shuffled = crossed_interval(values[order], [people[n] for n in order], [seeds[n] for n in order])
    assert shuffled == pytest.approx(found)


def test_complete_crossed_clusters_have_the_variance_of_both_directions() -> None:
    """All pairs are measured, so that the variances of rows and columns are those of the means of each."""
    values = np.random.default_rng(6).normal(0, 1, (8, 20)) + np.arange(20) + 3 * np.arange(8)[:, None]
    people, seeds = np.tile(np.arange(20), 8).astype(str), np.repeat(np.arange(8), 20).astype(str)
    found = crossed_interval(values.ravel(), people, seeds)
    parts = values.mean(axis=0).var(ddof=1) / 20, values.mean(axis=1).var(ddof=1) / 8, values.var(ddof=1) / 160
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 7) * math.sqrt(parts[0] + parts[1] - parts[2]))


EFFECTS = [(1.0, 0.3, 0.3), (0.2, 0.2, 1.0), (0.05, 0.5, 0.2), (1.0, 0.05, 0.2), (0.0, 0.3, 1.0)]
"""Variances of people, of seeds and of pairs; the last are differences that all people share."""


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("people", [24, 20])
def test_crossed_intervals_cover_if_each_seed_tests_half_of_the_people(
    people: int, effects: tuple[float, float, float], uneven: bool
) -> None:
    """Eight seeds in pairs of complementary halves; people, seeds and their pairs are drawn anew 1,000 times."""
    rng = np.random.default_rng(people)
    of_people, of_seeds, of_pairs = np.sqrt(effects)
    covered = 0
    for _ in range(1000):
        halves = rng.random((4, people)).argsort(axis=1) < people // 2
        tested = np.stack([halves, ~halves], axis=1).reshape(8, people)
        errors = rng.normal(0, of_people, people) + rng.normal(0, of_seeds, (8, 1))
        errors = errors + rng.normal(0, of_pairs, (8, people))
        images = rng.integers(20, 120, people) if uneven else np.full(people, 50)
        seeds, numbers = np.nonzero(tested)
        found = crossed_interval(errors[tested], numbers.astype(str), seeds.astype(str), images[numbers].astype(float))
        covered += found.low <= 0 <= found.high
    assert 0.90 <= covered / 1000 <= 0.98
