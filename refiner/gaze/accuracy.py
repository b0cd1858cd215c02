"""How good a gaze estimator is, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from refiner.data.labels.angles import Angles, angular_error_degrees
from refiner.metrics.intervals import Errors, Interval, bootstrap_interval

LIMITS = (2, 5, 7, 10)
"""Degrees within which a gaze is counted; the paper counts 7."""


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
