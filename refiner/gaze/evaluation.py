"""Test of one or several estimators on labelled images: accuracy, tables by column, baselines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refiner.core.errors import DataError, WrongInputError
from refiner.data.labels.angles import Angles, angular_error_degrees
from refiner.gaze.data import LabelledPatches, load_patches
from refiner.gaze.ensemble import mean_prediction
from refiner.gaze.prediction import GazeEstimator
from refiner.metrics.clusters import Clusters, find_clusters
from refiner.metrics.intervals import Errors, Interval, cluster_interval, repeat_interval

LIMITS = (2, 5, 7, 10)
"""Error limits in degrees; the share of images within each is reported. The paper reports 7."""

TABLE_COLUMNS = ("subject", "eye")
"""Label columns that always get a table if they have several values."""


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of predicted gaze; all angles are in degrees.

    Attributes:
        images: number of images.
        error: mean angular error with its interval over clusters.
        median: median angular error.
        within: share of images whose error is within each of :data:`LIMITS`.
        unbiased: mean angular error after the bias is subtracted: the error that a calibration would leave.
        bias: mean of predicted minus true (pitch, yaw).
        correlation: correlation of predicted and true (pitch, yaw); None if either does not vary.
    """

    images: int
    error: Interval
    median: float
    within: dict[str, float]
    unbiased: float
    bias: tuple[float, float]
    correlation: tuple[float | None, float | None]


def measure_accuracy(predicted: Angles, true: Angles, clusters: Sequence[str] | None = None) -> Accuracy:
    """Compare predicted with true gaze.

    Args:
        predicted, true: (N, 2), pitch and yaw in radians, N at least 1.
        clusters: see :func:`refiner.metrics.intervals.cluster_interval`.
    """
    # The bias is the mean difference; errors without it show what a correction could reach.
    errors = angular_error_degrees(predicted, true)
    residual = predicted - true
    bias = residual.mean(axis=0)
    return Accuracy(
        images=len(errors),
        error=cluster_interval(errors, clusters),
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
    """Return the mean angular error in degrees of a constant prediction.

    Args:
        mean: the prediction, (pitch, yaw) in radians.
        true: (N, 2), pitch and yaw in radians.
    """
    return float(angular_error_degrees(np.broadcast_to(np.asarray(mean, float), true.shape), true).mean())


@dataclass(frozen=True)
class Row:
    """Accuracy on the images with one value of a label column.

    Attributes:
        value: the value.
        images: number of images that have it.
        error: mean angular error in degrees, averaged over estimators.
        unbiased: the same after the bias of each estimator on these images is subtracted.
    """

    value: str
    images: int
    error: float
    unbiased: float


@dataclass(frozen=True)
class EstimatorTest:
    """Result of a test.

    Attributes:
        estimators: accuracy of each estimator, in their order.
        ensemble: accuracy of their mean prediction, if it was asked for.
        error: mean angular error in degrees, with an interval over the clusters; if there are several estimators, over
            clusters and estimators together. With an ensemble, the error of the ensemble.
        images: number of test images.
        clusters: clusters that the intervals are over.
        training_mean: error in degrees of predicting the mean of the first estimator's training labels.
        test_mean: error in degrees of predicting the mean of the test labels.
        tables: rows by label column; those of the ensemble, if it was asked for.
        unlabelled: number of images that were skipped because they have no gaze.
        rejected: reason of each image that cannot be read, by path.
        predicted: (estimators, N, 2), pitch and yaw in radians; (1, N, 2) of an ensemble.
        true: (N, 2), pitch and yaw in radians.
    """

    estimators: list[Accuracy]
    ensemble: Accuracy | None
    error: Interval
    images: int
    clusters: Clusters
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
    ensemble: bool = False,
    cluster: str | None = None,
    by: Sequence[str] = (),
    report: Callable[[int, int], None] = lambda done, total: None,
) -> EstimatorTest:
    """Test estimators on every labelled image of a data set.

    Args:
        estimators: one estimator, or repeats with other seeds.
        data: folder or file in any known layout.
        ensemble: also test the mean of the predictions, and give the overall error and the tables of it.
        cluster: label column whose values are the clusters; see :func:`refiner.metrics.clusters.find_clusters`.
        by: label columns that get a table in addition to :data:`TABLE_COLUMNS`.
        report: called with the number of finished estimators and the number of all estimators.

    Raises:
        DataError: the data cannot be used or lack a requested column, or the estimators can use different images of it.
    """
    # Read the data once for each kind of input, and predict with every estimator.
    patches: dict[tuple[object, ...], LabelledPatches] = {}
    predictions = []
    for done, estimator in enumerate(estimators, 1):
        kind = (estimator.size, estimator.equalize, bool(estimator.head_pose))
        if kind not in patches:
            size, equalize, head_pose = kind
            patches[kind] = load_patches([data], size=size, equalize=equalize, head_pose=head_pose, key="DATA")
        predictions.append(estimator.predict(patches[kind]))
        report(done, len(estimators))

    # Check that all estimators saw the same images, and that requested columns exist.
    first = next(iter(patches.values()))
    if any(other.ids != first.ids for other in patches.values()):
        raise DataError(f"the estimators can use different images of {data}; test them one by one")
    for column in (*([cluster] if cluster else []), *by):
        if column not in first.columns:
            known = ", ".join(sorted(first.columns)) or "none"
            raise WrongInputError(f"{data} has no label column {column}; its columns are {known}")

    # Summarise over images, over estimators and by column.
    clusters = find_clusters(first.columns, len(first), cluster)
    accuracies = [measure_accuracy(angles, first.gaze, clusters.names) for angles in predictions]
    if ensemble:
        predictions = [mean_prediction(predictions)]
    errors = np.stack([angular_error_degrees(angles, first.gaze) for angles in predictions])
    tabled = [column for column in TABLE_COLUMNS if len(set(first.columns.get(column, ()))) > 1]
    return EstimatorTest(
        estimators=accuracies,
        ensemble=measure_accuracy(predictions[0], first.gaze, clusters.names) if ensemble else None,
        error=repeat_interval(errors, clusters.names),
        images=len(first),
        clusters=clusters,
        training_mean=mean_predictor_error(estimators[0].metadata["mean_gaze"], first.gaze),
        test_mean=mean_predictor_error(first.gaze.mean(axis=0), first.gaze),
        tables={
            column: _rows(first.columns[column], predictions, first.gaze) for column in dict.fromkeys([*tabled, *by])
        },
        unlabelled=first.unlabelled,
        rejected=first.rejected,
        predicted=np.stack(predictions),
        true=first.gaze,
    )


def _rows(column: Sequence[str], predictions: Sequence[Angles], true: Angles) -> list[Row]:
    """Return a row for each value; numbers are in numerical order."""
    values = np.asarray(column)
    rows = []
    # Measure each value with every estimator, and average over the estimators.
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
