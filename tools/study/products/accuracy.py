"""The test of a variant: the predictions of its estimators on real images, and their accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.errors import DataError
from refiner.data.labels.angles import Angles, angular_error_degrees
from refiner.gaze.data import LabelledPatches, load_patches
from refiner.gaze.ensemble import mean_prediction
from refiner.gaze.evaluation import mean_predictor_error, measure_accuracy
from refiner.gaze.networks.file import member_paths
from refiner.gaze.prediction import GazeEstimator
from tools.study.halves import part_numbers
from tools.study.products.stores import IMAGES_FILE

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Predictions:
    """The gaze that estimators predict on N test images.

    Attributes:
        patches: the test images with their gaze and columns.
        numbers: number of each test image in the target.
        whole: number of all images of the target.
        predicted: (N, 2), pitch and yaw in radians.
        constant: (N, 2), the mean training label of each image's estimator.
    """

    patches: LabelledPatches
    numbers: Sequence[int]
    whole: int
    predicted: Angles
    constant: Angles


def predictions(
    target: Path, runs: Mapping[str, Path], tests: Mapping[str, str], *, group: str, split: int, device: str
) -> Predictions:
    """Predict the gaze of the test images. Estimators of one part, also those of one co-taught run, are averaged.

    Args:
        target: folder of the target's product.
        runs: run folders of the estimators, by role.
        tests: part of the target that each estimator is tested on, by role.
        group: column that the halves are made by.
        split: number of the division into halves.
        device: ``auto``, ``cpu`` or ``cuda``.
    """
    # Load the estimators of each part.
    estimators: dict[str, list[GazeEstimator]] = {}
    for role, part in tests.items():
        members = [GazeEstimator.load(path, device=device) for path in member_paths(runs[role])]
        estimators.setdefault(part, []).extend(members)
    first = next(iter(estimators.values()))[0]
    patches = load_patches(
        [target / IMAGES_FILE],
        size=first.size,
        equalize=first.equalize,
        head_pose=bool(first.head_pose),
        key="target",
    )
    parts = part_numbers(group_column(patches, group), split)
    # Predict each part by its estimators.
    numbers = [number for part in estimators for number in parts[part]]
    predicted, means = list[Angles](), list[Angles]()
    for part, members in estimators.items():
        images = patches.take(parts[part])
        predicted.append(mean_prediction([member.predict(images) for member in members]))
        means.append(np.tile(members[0].metadata["mean_gaze"], (len(images), 1)))
    return Predictions(patches.take(numbers), numbers, len(patches), np.concatenate(predicted), np.concatenate(means))


def group_column(patches: LabelledPatches, group: str) -> list[str]:
    """Return the day or the person of each image.

    Raises:
        DataError: the images have no such column.
    """
    if group not in patches.columns:
        raise DataError(f"target.group is {group}, expected one of {', '.join(patches.columns) or 'no columns'}")
    return patches.columns[group]


def accuracy_metrics(
    tested: Predictions, *, group: str, slices: Mapping[str, Mapping[str, Sequence[str | int]]]
) -> dict[str, Any]:
    """Measure the accuracy of predictions on all images and on each slice, and of each group among them.

    Args:
        tested: the predictions.
        group: column whose values are the groups.
        slices: see ``tools.study.configuration.TargetSection``.
    """
    patches = tested.patches
    whole = np.ones(len(patches), bool)
    metrics = _metrics(tested, group, whole)
    # Subsets of the test images that are reported separately; empty ones are left out.
    metrics["slices"] = {}
    for name, wanted in slices.items():
        chosen = whole.copy()
        for column, values in wanted.items():
            if column not in patches.columns:
                raise DataError(f"target.slices names the column {column}, which the images do not have")
            chosen &= np.isin(patches.columns[column], [str(value) for value in values])
        if chosen.any():
            metrics["slices"][name] = _metrics(tested, group, chosen)
    return metrics


def _metrics(tested: Predictions, group: str, chosen: Mask) -> dict[str, Any]:
    predicted, constant, true = (angles[chosen] for angles in (tested.predicted, tested.constant, tested.patches.gaze))
    groups = np.asarray(group_column(tested.patches, group))[chosen]
    accuracy = asdict(measure_accuracy(predicted, true, groups.tolist()))
    accuracy["error"] = dict(zip(("mean", "low", "high"), accuracy["error"], strict=True))
    return {
        **accuracy,
        "training_mean_error": float(angular_error_degrees(constant, true).mean()),
        "test_mean_error": mean_predictor_error(true.mean(axis=0), true),
        "groups": _group_errors(predicted, true, groups),
    }


def _group_errors(predicted: Angles, true: Angles, groups: np.ndarray[Any, Any]) -> dict[str, list[float]]:
    """Return for each group its number of images, and its mean error with and without the bias of all images."""
    bias = (predicted - true).mean(axis=0)
    errors, unbiased = (angular_error_degrees(answers, true) for answers in (predicted, predicted - bias))
    members = {str(name): groups == name for name in sorted(set(groups.tolist()))}
    return {
        name: [int(chosen.sum()), float(errors[chosen].mean()), float(unbiased[chosen].mean())]
        for name, chosen in members.items()
    }
