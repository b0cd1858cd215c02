"""A test of one or several estimators on labelled images: figures, tables by column, baselines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refiner.core.errors import DataError
from refiner.data.labels.angles import Angles, angular_error_degrees
from refiner.gaze.data import LabelledPatches, load_patches
from refiner.gaze.prediction import GazeEstimator
from refiner.metrics.intervals import Errors, Interval, bootstrap_interval, seed_interval

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


TABLE_COLUMNS = ("subject", "eye")
"""Columns that are tabled unasked, where they have several values."""

CLUSTER_COLUMNS = ("subject", "day")
"""Columns whose values together, as far as they are there, are what the bootstrap draws."""


@dataclass(frozen=True)
class Row:
    """One value of a column.

    Attributes:
        value: of the column.
        images: that have it.
        error: mean angular error in degrees, averaged over estimators.
        unbiased: the same after their own mean residual is taken away.
    """

    value: str
    images: int
    error: float
    unbiased: float


@dataclass(frozen=True)
class Test:
    """What a test found.

    Attributes:
        estimators: accuracy of each, in their order.
        error: over estimators: mean with a Student interval over them, or the bootstrap interval of the only one.
        images: tested on.
        clusters: number of those that the bootstrap draws, and the columns that make them; images where none do.
        training_mean: error of always saying the mean of the (first estimator's) training labels, degrees.
        test_mean: error of always saying the mean of the test labels, degrees.
        tables: rows by column.
        unlabelled: images left out for having no gaze.
        rejected: path and reason of each image that cannot be read.
        predicted: (estimators, N, 2), pitch and yaw in radians.
        true: (N, 2).
    """

    estimators: list[Accuracy]
    error: Interval
    images: int
    clusters: tuple[int, str]
    training_mean: float
    test_mean: float
    tables: dict[str, list[Row]]
    unlabelled: int
    rejected: dict[str, str]
    predicted: np.ndarray
    true: Angles


def evaluate_estimators(
    estimators: Sequence[GazeEstimator],
    data: Path,
    *,
    cluster: str | None = None,
    by: Sequence[str] = (),
    seed: int = 0,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Test:
    """Test estimators on every labelled image of a data set.

    Args:
        estimators: one, or repeats with other seeds.
        data: a folder or file of any known layout.
        cluster: column whose values the bootstrap draws as wholes; None takes subject and day where they are there.
        by: columns to table besides :data:`TABLE_COLUMNS`.
        seed: of the bootstrap.
        report: told how many of how many estimators are done.

    Raises:
        DataError: the data cannot be used, or lack a column that is asked for.
    """
    patches: dict[tuple[object, ...], LabelledPatches] = {}
    predictions = []
    for done, estimator in enumerate(estimators, 1):
        kind = (estimator.size, estimator.equalize, bool(estimator.head_pose))
        if kind not in patches:
            size, equalize, head_pose = kind
            patches[kind] = load_patches([data], size=size, equalize=equalize, head_pose=head_pose, key="DATA")
        predictions.append(estimator.predict(patches[kind]))
        report(done, len(estimators))
    first = next(iter(patches.values()))
    if any(other.ids != first.ids for other in patches.values()):
        raise DataError(f"{data}: the estimators can use different images of it; test them one by one")
    for column in (*([cluster] if cluster else []), *by):
        if column not in first.columns:
            known = ", ".join(sorted(first.columns)) or "none"
            raise DataError(f"{data}: has no column {column}; its columns are {known}")
    clusters, name = _clusters(first, cluster)
    accuracies = [measure_accuracy(angles, first.gaze, clusters, seed=seed) for angles in predictions]
    only = accuracies[0].error
    wanted = [column for column in TABLE_COLUMNS if len(set(first.columns.get(column, ()))) > 1]
    return Test(
        estimators=accuracies,
        error=only if len(accuracies) == 1 else seed_interval([accuracy.error.mean for accuracy in accuracies]),
        images=len(first),
        clusters=(len(first) if clusters is None else len(set(clusters)), name),
        training_mean=mean_predictor_error(estimators[0].metadata["mean_gaze"], first.gaze),
        test_mean=mean_predictor_error(first.gaze.mean(axis=0), first.gaze),
        tables={
            column: _rows(first.columns[column], predictions, first.gaze) for column in dict.fromkeys([*wanted, *by])
        },
        unlabelled=first.unlabelled,
        rejected=first.rejected,
        predicted=np.stack(predictions),
        true=first.gaze,
    )


def _clusters(patches: LabelledPatches, asked: str | None) -> tuple[list[str] | None, str]:
    """What each image belongs to, and the name of that."""
    names = [asked] if asked else [name for name in CLUSTER_COLUMNS if name in patches.columns]
    if not names:
        return None, "images"
    parts = zip(*(patches.columns[name] for name in names), strict=True)
    return ["\0".join(part) for part in parts], " and ".join(names)


def _rows(column: Sequence[str], predictions: Sequence[Angles], true: Angles) -> list[Row]:
    """One row for each value, numbers in their order."""
    values = np.asarray(column)
    rows = []
    for value in sorted(set(column), key=_order):
        chosen = values == value
        errors, unbiased = [], []
        for angles in predictions:
            bias = (angles[chosen] - true[chosen]).mean(axis=0)
            errors.append(angular_error_degrees(angles[chosen], true[chosen]).mean())
            unbiased.append(angular_error_degrees(angles[chosen] - bias, true[chosen]).mean())
        rows.append(Row(value, int(chosen.sum()), float(np.mean(errors)), float(np.mean(unbiased))))
    return rows


def _order(value: str) -> tuple[int, float, str]:
    try:
        return 0, float(value), value
    except ValueError:
        return 1, 0.0, value
