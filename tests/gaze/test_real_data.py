"""Estimators on real eyes: the reference metrics of the data, and training on renders."""

import numpy as np
import pytest

from refiner.data.labels.angles import angular_error_degrees
from refiner.data.output.records_writer import write_folder
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.data import LabelledPatches, load_patches
from refiner.gaze.evaluation import evaluate_estimators, mean_predictor_error
from refiner.gaze.prediction import GazeEstimator
from refiner.gaze.training.job import GazeTraining
from refiner.gaze.training.train import train_estimator
from refiner.runs.folder import open_run
from refiner.training.loop import run_training

SETTINGS = {"equalize": True, "batch_size": 64, "ema_decay": 0.9, "precision": "fp32", "log_every": 50}


@pytest.fixture(scope="module")
def one_person(real_data) -> LabelledPatches:
    path = real_data / "mpiigaze_p00_dev"
    return load_patches([path], size=(36, 60), equalize=True, head_pose=False, key="data.train")


def test_mean_predictors_of_the_index(real_data, one_person: LabelledPatches) -> None:
    assert mean_predictor_error(one_person.gaze.mean(axis=0), one_person.gaze) == pytest.approx(8.30, abs=0.005)
    path = real_data / "columbia_dev"
    people = load_patches([path], size=(36, 60), equalize=True, head_pose=False, key="data.train")
    assert len(people) == people.unlabelled == 4980  # images_raw has no rows of its own
    assert mean_predictor_error(people.gaze.mean(axis=0), people.gaze) == pytest.approx(12.0, abs=0.05)


@pytest.mark.parametrize("permuted", [False, True])
def test_real_labels_of_half_the_days(permuted: bool, one_person: LabelledPatches, tmp_path) -> None:
    """About 4 degrees in a few seconds; permuted labels teach the mean and nothing else."""
    days = sorted(set(one_person.columns["day"]))
    side = np.array([days.index(day) % 2 for day in one_person.columns["day"]])
    training, test = (one_person.take(list(np.flatnonzero(side == part))) for part in (0, 1))
    constant = mean_predictor_error(training.gaze.mean(axis=0), test.gaze)
    if permuted:
        training.gaze[:] = np.random.default_rng(0).permutation(training.gaze)
    steps = {"network": "small", "steps": 150, "data": {"held_out": 0}}
    augmentation = {"augmentation": {"strong": 1.0 if permuted else 0.3}}
    configuration = GazeConfiguration.model_validate({**SETTINGS, **steps, **augmentation})
    with open_run(tmp_path / "run", configuration) as folder:
        job = GazeTraining(configuration, folder, training, None, None, device="cpu", inputs={})
        run_training(job, lambda step, steps, means: None, lambda: False)
        job.save_estimator()
    predicted = GazeEstimator.load(tmp_path / "run", device="cpu").predict(test)
    error = angular_error_degrees(predicted, test.gaze).mean()
    assert error == pytest.approx(constant, rel=0.08) if permuted else error < 5.5


def test_renders_teach_something_about_real_eyes(real_data, tmp_path) -> None:
    """Nearest neighbours of a thousand renders beat the mean of their labels, and that of the test's."""
    synthetic = tmp_path / "synthetic"
    write_folder(
        synthetic, rendered_records(EyeParameters(), 1000, seed=1), 1000, labelled=True, report=lambda *_: None
    )
    configuration = GazeConfiguration.model_validate({**SETTINGS, "network": "knn", "data": {"train": synthetic}})
    estimator = GazeEstimator.load(train_estimator(configuration, tmp_path / "run"), device="cpu")
    test = evaluate_estimators([estimator], real_data / "mpiigaze_p00_dev")
    assert test.clusters[1:] == ("day", 20, "these people only")
    assert test.error.mean < test.test_mean < test.training_mean
    assert min(value for value in test.estimators[0].correlation if value is not None) > 0.3
