"""Adaptations by refiner files that train no network, stored or drawn anew for every batch, and their models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from refiner import Refiner
from refiner.commands import main
from refiner.core.errors import ConfigurationError
from refiner.data.labels.angles import angular_error_degrees
from refiner.gaze.data import load_patches
from refiner.gaze.prediction import GazeEstimator
from refiner.images.arrays import equalize
from tools.study.configuration import Study, StudyConfiguration
from tools.study.plan import Plan
from tools.study.products.stores import read_pixels

Fixture = Callable[..., Any]


@pytest.fixture
def statistics(values: dict[str, Any], tmp_path: Path) -> Study:
    """Fourier domain adaptation by the file of the package, stored and redrawn."""
    fourier = {"base": str(Path(values["refiner"]["base"]).parent / "fourier.yaml")}
    settings = {"examples": 7, "beta": [0.2, 0.3]}
    values["adaptations"] |= {"fourier": {**fourier, "overrides": {"fourier": settings}}}
    values["adaptations"] |= {"both": {**values["adaptations"]["fourier"], "after": "ours"}}
    stored = {"adaptation": "fourier", "augmented": True}
    values["variants"] = {"raw": {"augmented": True}, "stored": stored, "redrawn": {**stored, "redrawn": True}}
    values["variants"] |= {"both": {"adaptation": "both", "redrawn": True}}
    values["protocols"] = ["inductive"]
    return Study("statistics", tmp_path, StudyConfiguration.model_validate(values))


def test_a_refiner_file_without_training_is_fitted_applied_and_redrawn(
    run_study: Fixture, read_single: Fixture, statistics: Study, tmp_path: Path
) -> None:
    plan, place, _ = run_study(statistics, tmp_path / "out", ["stored", "redrawn"], [0, 1])
    result = plan.result("stored", 1, "inductive")
    adapted = result.inputs["adapted"]
    renders, stored = (read_pixels(task.folder(place.out)) for task in (adapted.inputs["synthetic"], adapted))
    models = place.out / "models" / "stored-1-inductive"
    refiner = Refiner.load(models / "refiner.safetensors", device="cpu")
    expected = [equalize(image) for image in refiner(list(renders[:, 0]))]
    assert np.array_equal(stored[:, 0], np.stack(expected))
    assert not np.array_equal(stored, renders)
    run = adapted.inputs["refiner"].folder(place.out) / "run"
    fitted = yaml.safe_load((run / "config.yaml").read_text())
    settings = {"beta": [0.2, 0.3], "examples": 7, "camera": False}
    assert (fitted["method"], fitted["fourier"], fitted["seed"]) == ("fourier", settings, 1)

    # The redrawn estimator trains on the renders, with the same refiner.
    redrawn = plan.result("redrawn", 1, "inductive")
    configuration = yaml.safe_load((redrawn.inputs["estimator"].folder(place.out) / "run" / "config.yaml").read_text())
    assert configuration["augmentation"]["refiner"] == str((run / "refiner.safetensors").resolve())
    assert configuration["augmentation"]["strong"] == 1
    assert configuration["data"]["train"] == [
        str((adapted.inputs["synthetic"].folder(place.out) / "images.h5").resolve())
    ]
    assert redrawn.inputs["scores"].digest == result.inputs["scores"].digest
    one, other = (read_single(place, f"{name}-1-inductive") for name in ("stored", "redrawn"))
    assert one["scores"] == other["scores"]
    assert one["error"] != other["error"]
    _check_ensemble(place, statistics)


def _check_ensemble(place: Any, study: Study) -> None:
    """The mean of the seeds' answers is the ensemble that the command tests."""
    files = [place.out / "models" / f"redrawn-{seed}-inductive" / "estimator.safetensors" for seed in (0, 1)]
    command = ["gaze", "evaluate", *map(str, files), str(study.target()), "--ensemble", "--device", "cpu", "--json"]
    tested = CliRunner().invoke(main, command)
    assert tested.exit_code == 0, tested.output
    patches = load_patches(
        [study.target()], size=study.configuration.size, equalize=True, head_pose=False, key="target"
    )
    mean = np.mean([GazeEstimator.load(file, device="cpu").predict(patches) for file in files], axis=0)
    error = angular_error_degrees(mean, patches.gaze).mean()
    assert json.loads(tested.stdout)["ensemble"]["error"]["mean"] == pytest.approx(error, abs=0.01)


def test_statistics_are_no_checkpoints(statistics: Study) -> None:
    plan = Plan(statistics, "")
    names = list(statistics.configuration.variants)
    assert [plan.steps(name) for name in names] == [None] * 4
    assert [plan.trajectory(name) for name in names] == [None] * 4
    assert plan.design("stored", "inductive") != plan.design("redrawn", "inductive")


def test_redrawn_follows_a_stored_adaptation(statistics: Study) -> None:
    """Of two adaptations the first is stored, and the second is drawn anew."""
    result = Plan(statistics, "").result("both", 0, "inductive")
    estimator, adapted = result.inputs["estimator"], result.inputs["adapted"]
    assert estimator.inputs["images"] == adapted.inputs["synthetic"]
    assert estimator.inputs["images"].stage == "refined"
    assert estimator.inputs["refiner"] == adapted.inputs["refiner"]
    assert adapted.inputs["refiner"].settings["configuration"]["method"] == "fourier"


def test_settings_without_effect_are_refused(values: dict[str, Any], statistics: Study, tmp_path: Path) -> None:
    values["variants"]["raw"]["redrawn"] = True
    with pytest.raises(ValueError, match=r"variants\.raw\.redrawn needs renders and an adaptation of method: refiner"):
        StudyConfiguration.model_validate(values)
    values["variants"]["raw"]["redrawn"] = False
    values["variants"]["stored"] = {"adaptation": "histogram", "redrawn": True}
    with pytest.raises(ValueError, match=r"variants\.stored\.redrawn needs"):
        StudyConfiguration.model_validate(values)
    values["variants"]["stored"] = {"adaptation": "fourier"}
    values["adaptations"]["fourier"]["gaze_matched"] = True
    matched = Study("matched", tmp_path, StudyConfiguration.model_validate(values))
    with pytest.raises(ConfigurationError, match="but method fourier trains no network"):
        Plan(matched, "").result("stored", 0, "inductive")
