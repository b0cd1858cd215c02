"""Does an estimator learn more from refined than from raw renders? Trained on synthetic, asked about photographs.

With real labels the error is measured. Without any, estimators that differ in their seed alone are compared with one
another: where they have learnt what carries over to photographs, they agree. What they are all wrong about in the same
way, this does not see; docs/results.md says how well it orders the arms of the study.
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
from refiner.metrics.intervals import bootstrap_interval, seed_interval

SEEDS = (0, 1, 2)
"""Of the estimators; differences are paired."""

STEPS = 1000
"""Updates of an estimator."""


class Estimators(NamedTuple):
    """Of every seed, trained on the same labels."""

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
        renders, refined: (N, 1, H, W), in [-1, 1], pair by pair.
        gaze: (N, 2), of the renders, pitch and yaw in radians.
        steps: updates of each estimator.
        report: told how many estimators of how many are trained.
    """
    trained = Estimators([], [])
    for place, seed in enumerate(SEEDS):
        for step, (images, several) in enumerate(((synthetic, trained.raw), (refined, trained.refined))):
            report(2 * place + step, 2 * len(SEEDS))
            several.append(fit_estimator(images, gaze, steps=steps, seed=seed))
    report(2 * len(SEEDS), 2 * len(SEEDS))
    return trained


def measure_error(trained: Estimators, gaze: Angles, real: Tensor, true: Angles) -> Metric:
    """Mean angular error on real labels, over seeds.

    Args:
        trained: the estimators; ``gaze`` (N, 2) is what they learnt, pitch and yaw in radians.
        photographs: (M, 1, H, W), in [-1, 1]; ``true`` (M, 2) is their gaze.
    """
    raw, refined = (
        [float(angular_error_degrees(predict_gaze(one, real), true).mean()) for one in several] for several in trained
    )
    guess = mean_predictor_error(np.asarray(gaze).mean(axis=0), true)
    return Metric(
        "gaze_error",
        f"gaze error on real labels (saying the mean: {guess:.1f}°)",
        "utility",
        "°",
        seed_interval(refined),
        baseline=seed_interval(raw),
        gain=seed_interval([before - after for before, after in zip(raw, refined, strict=True)]),
    )


def measure_disagreement(trained: Estimators, real: Tensor) -> Metric:
    """Mean angle between the answers of two seeds on photographs (M, 1, H, W), whose labels are not asked for."""
    raw, refined = (_disagreement([predict_gaze(one, real) for one in several]) for several in trained)
    return Metric(
        "disagreement",
        "estimators of other seeds disagree by",
        "utility",
        "°",
        bootstrap_interval(refined),
        baseline=bootstrap_interval(raw),
        gain=bootstrap_interval(raw - refined),
    )


def _disagreement(answers: Sequence[Angles]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(M,), mean over pairs."""
    mean: np.ndarray[tuple[int], np.dtype[np.float64]] = np.mean(
        [angular_error_degrees(*pair) for pair in combinations(answers, 2)], axis=0
    )
    return mean
