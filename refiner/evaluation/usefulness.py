"""Does an estimator learn more from refined than from raw renders? Trained on synthetic, tested on real labels."""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from refiner.evaluation.figures import Figure
from refiner.gaze.accuracy import mean_predictor_error, seed_interval
from refiner.gaze.angles import Angles, angular_error_degrees
from refiner.gaze.estimation import fit_estimator, predict_gaze

SEEDS = (0, 1, 2)
"""Of the estimators; differences are paired."""

STEPS = 1000
"""Updates of an estimator."""


def measure_usefulness(
    renders: Tensor,
    refined: Tensor,
    gaze: Angles,
    photographs: Tensor,
    true: Angles,
    *,
    steps: int = STEPS,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Figure:
    """Train on raw and on refined renders, test both on labelled photographs.

    Args:
        renders, refined: (N, 1, H, W), in [-1, 1], pair by pair.
        gaze: (N, 2), of the renders, pitch and yaw in radians.
        photographs: (M, 1, H, W); ``true`` (M, 2) is their gaze.
        steps: updates of each estimator.
        report: told how many estimators of how many are trained.

    Returns:
        Mean angular error over seeds; the ceiling is that of raw renders.
    """
    errors: dict[str, list[float]] = {"raw": [], "refined": []}
    for place, seed in enumerate(SEEDS):
        for step, (name, images) in enumerate((("raw", renders), ("refined", refined))):
            report(2 * place + step, 2 * len(SEEDS))
            estimator = fit_estimator(images, gaze, steps=steps, seed=seed)
            errors[name].append(float(angular_error_degrees(predict_gaze(estimator, photographs), true).mean()))
    report(2 * len(SEEDS), 2 * len(SEEDS))
    guess = mean_predictor_error(np.asarray(gaze).mean(axis=0), true)
    gain = [raw - refined for raw, refined in zip(errors["raw"], errors["refined"], strict=True)]
    return Figure(
        "gaze_error",
        f"gaze error on real labels (saying the mean: {guess:.1f}°)",
        "usefulness",
        "°",
        seed_interval(errors["refined"]),
        ceiling=seed_interval(errors["raw"]),
        gain=seed_interval(gain),
    )
