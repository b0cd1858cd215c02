"""The test of a variant: the predictions of its estimators on real images, and their accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.errors import DataError
from refiner.data.labels.angles import Angles, angular_error_degrees
from refiner.gaze.data import LabelledPatches, load_patches
from refiner.gaze.evaluation import mean_predictor_error, measure_accuracy
from refiner.gaze.prediction import GazeEstimator
from tools.study.plan import part_numbers
from tools.study.products.stores import IMAGES_FILE

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def predictions(
    target: Path, runs: Mapping[str, Path], tests: Mapping[str, str], *, group: str, device: str
) -> tuple[LabelledPatches, Angles, Angles]:
    """Predict the gaze of the test images.

    Args:
        target: folder of the target's product.
        runs: run folders of the estimators, by role.
        tests: half of the target that each estimator is tested on, by role.
        group: column that the halves are made by.
        device: ``auto``, ``cpu`` or ``cuda``.

    Returns:
        The test images, the predictions (N, 2), and for each image the mean training label of its estimator (N, 2).
    """
    estimators = {role: GazeEstimator.load(runs[role], device=device) for role in tests}
    first = next(iter(estimators.values()))
    patches = load_patches(
        [target / IMAGES_FILE],
        size=first.size,
        equalize=first.equalize,
        head_pose=bool(first.head_pose),
        key="target",
    )
    parts = part_numbers(group_column(patches, group))
    numbers = [number for part in tests.values() for number in parts[part]]
    predicted = np.concatenate([estimators[role].predict(patches.take(parts[part])) for role, part in tests.items()])
    means = [np.tile(estimators[role].metadata["mean_gaze"], (len(parts[part]), 1)) for role, part in tests.items()]
    return patches.take(numbers), predicted, np.concatenate(means)


def group_column(patches: LabelledPatches, group: str) -> list[str]:
    """Return the day or the person of each image.

    Raises:
        DataError: the images have no such column.
    """
    if group not in patches.columns:
        raise DataError(f"target.group is {group}, expected one of {', '.join(patches.columns) or 'no columns'}")
    return patches.columns[group]


def accuracy_metrics(
    patches: LabelledPatches,
    predicted: Angles,
    constant: Angles,
    *,
    group: str,
    slices: Mapping[str, Mapping[str, Sequence[str | int]]],
) -> dict[str, Any]:
    """Measure the accuracy of predictions on all images, on each slice, and on each group.

    Args:
        patches: N images with their gaze and columns.
        predicted: (N, 2), pitch and yaw in radians.
        constant: (N, 2), the mean of the training labels.
        group: column that the bootstrap draws by.
        slices: see ``tools.study.configuration.TargetSection``.
    """
    groups = np.asarray(group_column(patches, group))
    errors = angular_error_degrees(predicted, patches.gaze)
    whole = np.ones(len(patches), bool)
    metrics = _metrics(patches.gaze, predicted, constant, groups, whole)
    # Subsets of the test images that are reported separately; empty ones are left out.
    metrics["slices"] = {}
    for name, wanted in slices.items():
        chosen = whole.copy()
        for column, values in wanted.items():
            if column not in patches.columns:
                raise DataError(f"target.slices names the column {column}, which the images do not have")
            chosen &= np.isin(patches.columns[column], [str(value) for value in values])
        if chosen.any():
            metrics["slices"][name] = _metrics(patches.gaze, predicted, constant, groups, chosen)
    # Number of images and mean error of each day or person.
    members = {name: groups == name for name in sorted(set(groups))}
    metrics["groups"] = {
        str(name): [int(chosen.sum()), float(errors[chosen].mean())] for name, chosen in members.items()
    }
    return metrics


def _metrics(
    true: Angles, predicted: Angles, constant: Angles, groups: np.ndarray[Any, Any], chosen: Mask
) -> dict[str, Any]:
    accuracy = asdict(measure_accuracy(predicted[chosen], true[chosen], groups[chosen].tolist()))
    accuracy["error"] = dict(zip(("mean", "low", "high"), accuracy["error"], strict=True))
    return {
        **accuracy,
        "training_mean_error": float(angular_error_degrees(constant[chosen], true[chosen]).mean()),
        "test_mean_error": mean_predictor_error(true[chosen].mean(axis=0), true[chosen]),
    }
