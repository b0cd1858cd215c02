"""How good a gaze estimator is, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from refiner.core.rng import numpy_generator
from refiner.data.labels.angles import Angles, angular_error_degrees

LIMITS = (2, 5, 7, 10)
"""Degrees within which a gaze is counted; the paper counts 7."""

RESAMPLES = 2000

Errors = np.ndarray[Any, np.dtype[np.float64]]
"""(N,), degrees."""


class Interval(NamedTuple):
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        if not np.isfinite([self.low, self.high]).all():
            return f"{self.mean:.2f}"
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def seed_interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % Student interval over repeats with other seeds; without bounds for a single value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, -np.inf, np.inf)
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)


def bootstrap_interval(values: Errors, clusters: Sequence[str] | None = None, *, seed: int = 0) -> Interval:
    """Mean and 95 % bootstrap interval; whole clusters are drawn, for images of one day or person err alike.

    Args:
        values: (N,).
        clusters: what each value belongs to; None makes each its own.
        seed: the draws follow from it.

    Returns:
        The mean of all values and the 2.5 and 97.5 percentiles of :data:`RESAMPLES` resampled means; without bounds
        where there is a single cluster.
    """
    mean = float(np.mean(values))
    _, numbers = np.unique(np.arange(len(values)) if clusters is None else np.asarray(clusters), return_inverse=True)
    sums, counts = np.bincount(numbers, weights=values), np.bincount(numbers)
    if len(sums) < 2:
        return Interval(mean, -np.inf, np.inf)
    rng = numpy_generator(seed, "bootstrap")
    means = np.empty(RESAMPLES)
    for resample in range(RESAMPLES):
        drawn = rng.integers(len(sums), size=len(sums))
        means[resample] = sums[drawn].sum() / counts[drawn].sum()
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(mean, float(low), float(high))


@dataclass(frozen=True)
class Accuracy:
    """How near predicted gaze is to true gaze; all angles in degrees.

    Attributes:
        images: number of them.
        error: mean angular error with its bootstrap interval.
        median: of the angular error.
        within: share of images within each of :data:`LIMITS`.
        unbiased: mean error after the mean residual of pitch and of yaw is taken away: what a calibration would leave.
        bias: mean of predicted minus true (pitch, yaw).
        correlation: of predicted with true (pitch, yaw), None where one of them does not vary.
    """

    images: int
    error: Interval
    median: float
    within: dict[str, float]
    unbiased: float
    bias: tuple[float, float]
    correlation: tuple[float | None, float | None]


def measure_accuracy(
    predicted: Angles, true: Angles, clusters: Sequence[str] | None = None, *, seed: int = 0
) -> Accuracy:
    """Compare predicted with true gaze.

    Args:
        predicted, true: (N, 2), pitch and yaw in radians, N at least 1.
        clusters, seed: see :func:`bootstrap_interval`.
    """
    errors = angular_error_degrees(predicted, true)
    residual = predicted - true
    bias = residual.mean(axis=0)
    return Accuracy(
        images=len(errors),
        error=bootstrap_interval(errors, clusters, seed=seed),
        median=float(np.median(errors)),
        within={str(limit): float(np.mean(errors <= limit)) for limit in LIMITS},
        unbiased=float(angular_error_degrees(predicted - bias, true).mean()),
        bias=(float(np.degrees(bias[0])), float(np.degrees(bias[1]))),
        correlation=(_correlation(predicted[:, 0], true[:, 0]), _correlation(predicted[:, 1], true[:, 1])),
    )


def _correlation(first: Errors, second: Errors) -> float | None:
    if min(np.ptp(first), np.ptp(second)) < 1e-9:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def mean_predictor_error(mean: Sequence[float] | Angles, true: Angles) -> float:
    """Mean angular error of always saying one (pitch, yaw) in radians, in degrees."""
    return float(angular_error_degrees(np.broadcast_to(np.asarray(mean, float), true.shape), true).mean())
