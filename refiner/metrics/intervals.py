"""Means with 95 % confidence intervals, over seeds or by a bootstrap over clusters."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from refiner.core.rng import numpy_generator

RESAMPLES = 2000
"""Number of bootstrap resamples."""

Errors = np.ndarray[Any, np.dtype[np.float64]]
"""(N,), degrees."""


class Interval(NamedTuple):
    """Mean with its 95 % confidence interval; the bounds are infinite if there is no interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        if not np.isfinite([self.low, self.high]).all():
            return f"{self.mean:.2f}"
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def seed_interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % Student interval over repeats with different seeds; a single value has no bounds."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, -np.inf, np.inf)
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)


def bootstrap_interval(values: Errors, clusters: Sequence[str] | None = None, *, seed: int = 0) -> Interval:
    """Mean and 95 % cluster bootstrap interval.

    Whole clusters are resampled, because the errors of images of one person or day are correlated.

    Args:
        values: (N,), for example the error of each image.
        clusters: cluster of each value, for example the person; None puts each value into a cluster of its own.
        seed: seed of the resampling.

    Returns:
        The mean of all values, and the 2.5 and 97.5 percentiles of :data:`RESAMPLES` resampled means. A single cluster
        has no bounds.
    """
    # Reduce each cluster to its sum and its count, which is all that resampling needs.
    mean = float(np.mean(values))
    _, numbers = np.unique(np.arange(len(values)) if clusters is None else np.asarray(clusters), return_inverse=True)
    sums, counts = np.bincount(numbers, weights=values), np.bincount(numbers)
    if len(sums) < 2:
        return Interval(mean, -np.inf, np.inf)
    # Resample the clusters.
    rng = numpy_generator(seed, "bootstrap")
    means = np.empty(RESAMPLES)
    for resample in range(RESAMPLES):
        drawn = rng.integers(len(sums), size=len(sums))
        means[resample] = sums[drawn].sum() / counts[drawn].sum()
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(mean, float(low), float(high))
