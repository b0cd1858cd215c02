import math
from pathlib import Path

import numpy as np
import pytest

from refiner.core.errors import DataError
from refiner.data.labels.angles import angular_error_degrees
from refiner.data.labels.tables import read_labels, write_labels
from refiner.gaze.data import LabelledPatches, load_patches
from refiner.gaze.evaluation import evaluate_estimators, mean_predictor_error, measure_accuracy
from refiner.gaze.networks.estimators import GazeNetwork, HeadPose
from refiner.gaze.networks.file import EstimatorFile
from refiner.gaze.prediction import GazeEstimator
from refiner.metrics.intervals import cluster_interval, repeat_interval


def test_accuracy_by_hand() -> None:
    """Yaw is wrong by 3 degrees twice and by 6 once, at pitch 0, where yaw is the angle."""
    true = np.radians([[0.0, 0.0], [0.0, 10.0], [0.0, -10.0]])
    predicted = true + np.radians([[0.0, 3.0], [0.0, 3.0], [0.0, 6.0]])
    found = measure_accuracy(predicted, true)
    assert found.images == 3
    assert found.error.mean == pytest.approx(4)
    assert found.median == pytest.approx(3)
    assert found.within == {"2": 0, "5": pytest.approx(2 / 3), "7": 1, "10": 1}
    assert found.bias == (pytest.approx(0), pytest.approx(4))
    assert found.unbiased == pytest.approx(4 / 3)  # 1, 1 and 2 degrees are left
    assert found.correlation[0] is None
    x, y = np.array([3.0, 13, -4]), np.array([0.0, 10, -10])
    by_hand = ((x - 4) * y).sum() / math.sqrt(((x - 4) ** 2).sum() * (y**2).sum())
    assert found.correlation[1] == pytest.approx(by_hand)


def test_mean_predictor_by_hand() -> None:
    assert mean_predictor_error([0.0, math.radians(5)], np.radians([[0.0, 0.0], [0.0, 20.0]])) == pytest.approx(10)


class Known:
    """An estimator that predicts the truth plus known residuals."""

    size, equalize, head_pose = (16, 24), False, False
    metadata = {"mean_gaze": [0.05, -0.1]}  # noqa: RUF012

    def __init__(self, seed: int, bias: float = 0.02) -> None:
        self.seed, self.bias = seed, bias

    def residual(self, count: int) -> np.ndarray:
        return self.bias + np.random.default_rng(self.seed).normal(0, 0.05, (count, 2))

    def predict(self, patches: LabelledPatches) -> np.ndarray:
        return patches.gaze + self.residual(len(patches))


@pytest.fixture
def truth(gazes: Path) -> np.ndarray:
    return np.array([row["gaze"] for row in read_labels(gazes / "labels.csv").values()])


def test_metrics_are_those_of_plain_arithmetic(gazes: Path, truth: np.ndarray) -> None:
    test = evaluate_estimators([Known(0)], gazes)
    errors = angular_error_degrees(truth + Known(0).residual(60), truth)
    assert test.images == 60
    assert test.clusters[1:] == ("subject", 8, None)
    assert test.error.mean == pytest.approx(errors.mean())
    assert test.error == pytest.approx(test.estimators[0].error)
    assert test.error.low == pytest.approx(cluster_interval(errors, [f"s{i % 8}" for i in range(60)]).low)
    assert test.training_mean == pytest.approx(angular_error_degrees(np.array([[0.05, -0.1]]), truth).mean())
    assert test.test_mean == pytest.approx(angular_error_degrees(truth.mean(axis=0)[None], truth).mean())


def test_the_ensemble_is_tested_as_one_estimator(gazes: Path, truth: np.ndarray) -> None:
    members = [Known(seed) for seed in range(4)]
    test = evaluate_estimators(members, gazes, ensemble=True)
    mean = truth + sum(member.residual(60) for member in members) / 4
    errors = angular_error_degrees(mean, truth)
    assert len(test.estimators) == 4
    assert test.ensemble is not None
    assert test.error == pytest.approx(test.ensemble.error)
    assert test.error.low == pytest.approx(cluster_interval(errors, [f"s{i % 8}" for i in range(60)]).low)
    assert test.error.mean == pytest.approx(errors.mean())
    assert test.error.mean < min(each.error.mean for each in test.estimators)
    assert test.tables["eye"][1].error == pytest.approx(errors[1::2].mean())
    assert evaluate_estimators(members, gazes).ensemble is None


def test_tables_by_column(gazes: Path, truth: np.ndarray) -> None:
    test = evaluate_estimators([Known(0)], gazes, by=["P"])
    assert list(test.tables) == ["subject", "eye", "P"]
    assert [row.value for row in test.tables["P"]] == ["-15", "0", "15"]  # by number
    assert [row.value for row in test.tables["eye"]] == ["left", "right"]
    errors = angular_error_degrees(truth + Known(0).residual(60), truth)
    assert test.tables["eye"][1].error == pytest.approx(errors[1::2].mean())
    assert sum(row.images for row in test.tables["subject"]) == 60


def test_the_interval_of_several_estimators_is_over_people_too(gazes: Path, truth: np.ndarray) -> None:
    """Three equal estimators agree, but say no more of other people than one of them."""
    test = evaluate_estimators([Known(0)] * 3, gazes)
    assert test.predicted.shape == (3, 60, 2)
    assert test.error == pytest.approx(test.estimators[0].error)
    different = evaluate_estimators([Known(seed, bias=0.02 * seed) for seed in range(3)], gazes)
    errors = np.stack([angular_error_degrees(angles, truth) for angles in different.predicted])
    assert different.error == repeat_interval(errors, [f"s{i % 8}" for i in range(60)])
    assert different.error.mean == pytest.approx(np.mean([accuracy.error.mean for accuracy in different.estimators]))


def test_days_of_one_person_say_nothing_about_others(gazes: Path) -> None:
    labels = read_labels(gazes / "labels.csv")
    write_labels(gazes / "labels.csv", {sample: {**row, "subject": "s0"} for sample, row in labels.items()})
    assert evaluate_estimators([Known(0)], gazes).clusters[1:] == ("day", 3, "this person only")


def test_estimators_with_different_head_pose_conditions_are_tested_together(gazes: Path, truth: np.ndarray) -> None:
    conditions: tuple[HeadPose, ...] = (False, True, "yaw")
    networks = [GazeNetwork("small", (16, 24), head_pose=pose).eval().requires_grad_(False) for pose in conditions]
    metadata = {"equalize": False, "mean_gaze": [0, 0]}
    estimators = [GazeEstimator(EstimatorFile(network, metadata), device="cpu") for network in networks]
    test = evaluate_estimators(estimators, gazes)
    patches = load_patches([gazes], size=(16, 24), equalize=False, head_pose=True, key="DATA")
    patches.head_pose[:, 0] = 1.0
    assert np.array_equal(test.predicted[2], estimators[2].predict(patches))
    assert not np.array_equal(test.predicted[1], estimators[1].predict(patches))
    patches.head_pose[:, 1] += 1.0
    assert not np.array_equal(test.predicted[2], estimators[2].predict(patches))


def test_clusters_may_be_chosen(gazes: Path) -> None:
    assert evaluate_estimators([Known(0)], gazes, cluster="day").clusters[1:] == ("day", 3, "these 8 people only")
    with pytest.raises(DataError, match="has no label column night; its columns are P, day, eye, subject"):
        evaluate_estimators([Known(0)], gazes, cluster="night")
    labels = read_labels(gazes / "labels.csv")
    write_labels(gazes / "labels.csv", {sample: {"gaze": row["gaze"]} for sample, row in labels.items()})
    assert evaluate_estimators([Known(0)], gazes).clusters == (None, "images", 60, "these people only")
