"""Means with Student confidence intervals: over repeats, over clusters of images, and over both.

Images of one person or day have correlated errors. The number of people, not of images, therefore sets the width.

Source: the delete-one-cluster jackknife, Efron and Stein 1981, doi:10.1214/aos/1176345462; clusters in two directions,
Cameron, Gelbach and Miller 2011, doi:10.1198/jbes.2010.07136. They subtract the variance that both directions share.
:func:`crossed_interval` does so too; the other intervals keep it, which makes them a little wider.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

CONFIDENCE = 0.95
"""Probability that an interval covers the true mean."""

Errors = np.ndarray[Any, np.dtype[np.float64]]
"""(N,), degrees."""


class Interval(NamedTuple):
    """Mean with its confidence interval, 95 % by default; the bounds are infinite if there is no interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        if not np.isfinite([self.low, self.high]).all():
            return f"{self.mean:.2f}"
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


class Spread(NamedTuple):
    """Variance of a mean, with the degrees of freedom of the variance.

    Attributes:
        variance: squared standard error; infinite if there are fewer than two clusters.
        freedom: degrees of freedom.
    """

    variance: float
    freedom: float

    def half_width(self, confidence: float = CONFIDENCE) -> float:
        """Return half the width of the Student interval."""
        if not np.isfinite(self.variance):
            return np.inf
        return float(special.stdtrit(self.freedom, 0.5 + confidence / 2) * np.sqrt(self.variance))


UNKNOWN = Spread(np.inf, 1)
"""Spread of a mean over fewer than two clusters."""


def add_spreads(spreads: Sequence[Spread]) -> Spread:
    """Add independent variances, with the degrees of freedom of Welch and Satterthwaite."""
    total = sum(spread.variance for spread in spreads)
    if not np.isfinite(total):
        return UNKNOWN
    if total == 0:
        return Spread(0.0, min(spread.freedom for spread in spreads))
    return Spread(total, total**2 / sum(spread.variance**2 / spread.freedom for spread in spreads))


def cluster_spread(values: Errors, clusters: Sequence[str] | None = None) -> Spread:
    """Variance of the mean of all values, by leaving out one cluster at a time.

    Args:
        values: (N,).
        clusters: cluster of each value, for example the person; None puts each value into a cluster of its own.
    """
    # Each cluster enters with its sum and its count.
    _, numbers = np.unique(np.arange(len(values)) if clusters is None else np.asarray(clusters), return_inverse=True)
    sums, counts = np.bincount(numbers, weights=values), np.bincount(numbers)
    size = len(sums)
    if size < 2:
        return UNKNOWN
    means = (sums.sum() - sums) / (counts.sum() - counts)
    # Deviations from the mean of all values, which makes the variance conservative for clusters of unequal size.
    return Spread(float((size - 1) / size * np.square(means - sums.sum() / counts.sum()).sum()), size - 1)


def seed_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """Mean and Student interval over repeats with different seeds; a single value has no bounds."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, -np.inf, np.inf)
    quantile = special.stdtrit(len(values) - 1, 0.5 + confidence / 2)
    half = float(quantile * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)


def cluster_interval(
    values: Errors, clusters: Sequence[str] | None = None, *, confidence: float = CONFIDENCE
) -> Interval:
    """Mean and Student interval over clusters.

    Args:
        values: (N,), for example the error of each image.
        clusters: cluster of each value, for example the person; None puts each value into a cluster of its own.
        confidence: probability that the interval covers the true mean.

    Returns:
        The mean of all values, and its interval with one degree of freedom less than there are clusters. A single
        cluster has no bounds.
    """
    return _around(float(np.mean(values)), cluster_spread(values, clusters), confidence)


def jackknife_interval(whole: float, without: Sequence[float]) -> Interval:
    """95 % Student interval of any statistic, by leaving out one block at a time.

    Args:
        whole: the statistic of all blocks.
        without: the statistic without each of the blocks; fewer than two give no bounds.
    """
    count = len(without)
    if count < 2:
        return Interval(whole, -np.inf, np.inf)
    variance = (count - 1) / count * float(np.square(np.asarray(without) - whole).sum())
    return _around(whole, Spread(variance, count - 1), CONFIDENCE)


def repeat_interval(values: np.ndarray[Any, np.dtype[np.float64]], clusters: Sequence[str] | None = None) -> Interval:
    """Mean and 95 % interval over repeats and clusters together.

    The interval covers other seeds and other people, since both vary. The repeats share the clusters, which an interval
    over the repeats alone would ignore.

    Args:
        values: (S, N), for example the error of each of S estimators on each image.
        clusters: cluster of each column, for example the person; None puts each column into a cluster of its own.

    Returns:
        The mean of all values with its interval; for one repeat, the interval over the clusters.
    """
    spreads = [cluster_spread(values.mean(axis=0), clusters)]
    if len(values) > 1:
        spreads.append(cluster_spread(values.mean(axis=1)))
    return _around(float(values.mean()), add_spreads(spreads), CONFIDENCE)


def crossed_interval(
    values: Errors, first: Sequence[str], second: Sequence[str], weights: Errors | None = None
) -> Interval:
    """Mean and 95 % interval over two crossed sets of clusters, of which only some pairs are measured.

    An example is the error of each person with each seed, if a seed tests only half of the people. The variance is that
    over the first clusters, plus that over the second, minus that over single pairs, which both contain. It is at least
    the larger of the two. Student's quantile has one degree of freedom less than the smaller set has clusters. The
    interval is made for clusters that really differ; without any effect of either set it is too wide.

    Args:
        values: (N,), a value for each measured pair.
        first, second: the two clusters of each value, for example its person and its seed.
        weights: (N,), weight of each value, for example its number of images; None weighs all alike.

    Returns:
        The weighted mean of all values with its interval. It has no bounds if either set has fewer than two clusters.

    Source:
        Cameron, Gelbach and Miller 2011, doi:10.1198/jbes.2010.07136. The lower limit of the variance is ours; theirs
        can be negative.
    """
    shares = np.full(len(values), 1 / len(values)) if weights is None else weights / weights.sum()
    mean = float(shares @ values)
    one, other = (np.unique(np.asarray(names), return_inverse=True)[1] for names in (first, second))
    fewest = int(min(one.max(), other.max())) + 1
    if fewest < 2:
        return _around(mean, UNKNOWN, CONFIDENCE)
    deviations = shares * (values - mean)
    pairs = np.unique(one * (other.max() + 1) + other, return_inverse=True)[1]
    variances = [_sum_variance(deviations, numbers) for numbers in (one, other, pairs)]
    variance = max(*variances[:2], variances[0] + variances[1] - variances[2])
    return _around(mean, Spread(variance, fewest - 1), CONFIDENCE)


def _sum_variance(deviations: Errors, numbers: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    """Return the variance of the sum of deviations whose clusters, by number, are independent."""
    sums = np.bincount(numbers, weights=deviations)
    return float(len(sums) / (len(sums) - 1) * np.square(sums).sum())


def statistic_interval(
    parts: np.ndarray[Any, np.dtype[np.float64]],
    statistic: Callable[[np.ndarray[Any, np.dtype[np.float64]]], np.ndarray[Any, np.dtype[np.float64]]],
    clusters: Sequence[str] | None = None,
) -> Interval:
    """Mean over repeats, with its 95 % interval over repeats and clusters, of a statistic of sums over images.

    A share of all pixels or a mean over classes is no mean over images. It is computed from sums over all images, and
    again without each cluster in turn.

    Args:
        parts: (S, N, F), what each of N images adds to F sums, in each of S repeats.
        statistic: function from sums (..., F) to values (...).
        clusters: cluster of each image, for example the person; None puts each image into a cluster of its own.

    Returns:
        The mean of the statistic over the repeats with its interval; for one repeat, the interval over the clusters.
        It equals that of :func:`repeat_interval` if the statistic is a mean over images.
    """
    _, numbers = np.unique(np.arange(parts.shape[1]) if clusters is None else np.asarray(clusters), return_inverse=True)
    by_cluster = np.zeros((len(parts), numbers.max() + 1, parts.shape[2]))
    for sums, of_images in zip(by_cluster, parts, strict=True):
        np.add.at(sums, numbers, of_images)
    totals = by_cluster.sum(axis=1)
    values = statistic(totals)
    # Leave out one cluster at a time, as in cluster_spread.
    spreads, size = [UNKNOWN], by_cluster.shape[1]
    if size > 1:
        without = statistic(totals[:, None] - by_cluster).mean(axis=0)
        spreads = [Spread(float((size - 1) / size * np.square(without - values.mean()).sum()), size - 1)]
    if len(values) > 1:
        spreads.append(cluster_spread(values))
    return _around(float(values.mean()), add_spreads(spreads), CONFIDENCE)


def _around(mean: float, spread: Spread, confidence: float) -> Interval:
    half = spread.half_width(confidence)
    return Interval(mean, mean - half, mean + half)
