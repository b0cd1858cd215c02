"""The test of an arm: what its estimators say of photographs, and how near that is to the truth."""

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


def predictions(
    target: Path, runs: Mapping[str, Path], tests: Mapping[str, str], *, group: str, device: str
) -> tuple[LabelledPatches, Angles, Angles]:
    """The tested images, and for each what an estimator says and the mean of the labels that it learnt from.

    Args:
        target: folder of the target's product.
        runs: of the estimators, by name.
        tests: the part that each estimator is tested on.
        group: column by which parts are made.
        device: ``auto``, ``cpu`` or ``cuda``.
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
    """The day or the person of each image.

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
    """How good predictions are: over all, by slice and by group.

    Args:
        patches: N of them, with their gaze and columns.
        predicted: (N, 2), pitch and yaw in radians.
        constant: (N, 2), the mean of the labels that were learnt from.
        group: column that the bootstrap draws by.
        slices: see ``tools.study.configuration.TargetSection``.
    """
    groups = np.asarray(group_column(patches, group))
    errors = angular_error_degrees(predicted, patches.gaze)
    whole = np.ones(len(patches), bool)
    metrics = _metrics(patches.gaze, predicted, constant, groups, whole)
    metrics["slices"] = {}
    for name, wanted in slices.items():
        chosen = whole.copy()
        for column, values in wanted.items():
            if column not in patches.columns:
                raise DataError(f"target.slices: the images have no column {column}")
            chosen &= np.isin(patches.columns[column], [str(value) for value in values])
        if chosen.any():
            metrics["slices"][name] = _metrics(patches.gaze, predicted, constant, groups, chosen)
    members = {name: groups == name for name in sorted(set(groups))}
    metrics["groups"] = {
        str(name): [int(chosen.sum()), float(errors[chosen].mean())] for name, chosen in members.items()
    }
    return metrics


def _metrics(true: Angles, predicted: Angles, constant: Angles, groups: Any, chosen: Any) -> dict[str, Any]:
    accuracy = asdict(measure_accuracy(predicted[chosen], true[chosen], groups[chosen]))
    accuracy["error"] = dict(zip(("mean", "low", "high"), accuracy["error"], strict=True))
    return {
        **accuracy,
        "training_mean_error": float(angular_error_degrees(constant[chosen], true[chosen]).mean()),
        "test_mean_error": mean_predictor_error(true[chosen].mean(axis=0), true[chosen]),
    }
