"""Downstream utility: gaze estimators trained on raw or refined renders, tested on real images.

With real labels, their error is measured. Without real labels, estimators that differ only in their seed are compared:
the more of their training carries over to real images, the more they agree. Errors that all of them share stay unseen;
docs/results.md reports how well this proxy orders the variants of the study.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from refiner.data.labels.angles import Angles, angular_error_degrees
from refiner.evaluation.measurement import Metric
from refiner.gaze.evaluation import mean_predictor_error
from refiner.gaze.networks.fit import fit_estimator, predict_gaze
from refiner.metrics.intervals import cluster_interval, repeat_interval

SEEDS = (0, 1, 2)
"""Seeds of the estimators. Raw and refined estimators of one seed form a pair."""

STEPS = 1000
"""Number of updates of an estimator."""


class Estimators(NamedTuple):
    """Estimators of every seed, trained on the same labels.

    Attributes:
        raw: trained on raw renders.
        refined: trained on refined renders.
    """

    raw: list[nn.Module]
    refined: list[nn.Module]


def train_estimators(
    synthetic: Tensor,
    refined: Tensor,
    gaze: Angles,
    *,
    steps: int = STEPS,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Estimators:
    """Train estimators on raw and on refined renders.

    Args:
        synthetic, refined: (N, 1, H, W), in [-1, 1]; refined image i belongs to render i.
        gaze: (N, 2), pitch and yaw of the renders in radians.
        steps: number of updates of each estimator.
        report: called with the number of trained estimators and their total number.

    Returns:
        One raw and one refined estimator for each of :data:`SEEDS`.
    """
    trained = Estimators([], [])
    for index, seed in enumerate(SEEDS):
        for step, (images, estimators) in enumerate(((synthetic, trained.raw), (refined, trained.refined))):
            report(2 * index + step, 2 * len(SEEDS))
            estimators.append(fit_estimator(images, gaze, steps=steps, seed=seed))
    report(2 * len(SEEDS), 2 * len(SEEDS))
    return trained


def measure_error(
    trained: Estimators, gaze: Angles, real: Tensor, true: Angles, clusters: Sequence[str] | None = None
) -> Metric:
    """Measure the mean angular error on real labels, with intervals over seeds and people together.

    Args:
        trained: the estimators.
        gaze: (N, 2), labels that they were trained on, pitch and yaw in radians.
        real: (M, 1, H, W), in [-1, 1].
        true: (M, 2), gaze of the real images, pitch and yaw in radians.
        clusters: person or day of each real image; None treats the images as independent.
    """
    raw, refined = (
        np.stack([angular_error_degrees(predict_gaze(estimator, real), true) for estimator in estimators])
        for estimators in trained
    )  # (seeds, M)
    # An estimator that predicts the mean of its labels is the least to beat.
    constant = mean_predictor_error(np.asarray(gaze).mean(axis=0), true)
    return Metric(
        "gaze_error",
        f"gaze error on real labels (predicting the mean: {constant:.1f}°)",
        "utility",
        "°",
        repeat_interval(refined, clusters),
        baseline=repeat_interval(raw, clusters),
        gain=repeat_interval(raw - refined, clusters),
    )


def measure_disagreement(trained: Estimators, real: Tensor, clusters: Sequence[str] | None = None) -> Metric:
    """Measure the mean angle between the estimates of two seeds on real images, without labels.

    Args:
        trained: the estimators.
        real: (M, 1, H, W), in [-1, 1].
        clusters: person or day of each real image; None treats the images as independent.
    """
    raw, refined = (
        _disagreement([predict_gaze(estimator, real) for estimator in estimators]) for estimators in trained
    )
    return Metric(
        "disagreement",
        "disagreement between estimators",
        "utility",
        "°",
        cluster_interval(refined, clusters),
        baseline=cluster_interval(raw, clusters),
        gain=cluster_interval(raw - refined, clusters),
    )


def _disagreement(estimates: Sequence[Angles]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the mean angle over pairs of estimates, (M,), in degrees."""
    mean: np.ndarray[tuple[int], np.dtype[np.float64]] = np.mean(
        [angular_error_degrees(*pair) for pair in combinations(estimates, 2)], axis=0
    )
    return mean
