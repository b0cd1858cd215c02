"""Products of a study: labels and histograms of images, head poses, calibration."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refiner.eyes.calibration import Fit
from refiner.eyes.scene.parameters import EyeParameters
from refiner.gaze.data import Patches
from refiner.gaze.prediction import GazeEstimator
from refiner.images.arrays import EQUALIZED_BELOW, equalization
from tools.study.configuration import Study, StudyConfiguration
from tools.study.products.stores import read_label, read_pixels

Fixture = Callable[..., Any]


def test_training_on_shuffled_labels_has_the_same_labels_in_another_order(
    run_study: Fixture, study: Study, tmp_path: Path
) -> None:
    plan, place, _ = run_study(study, tmp_path / "out", ["permuted"], [0])
    permuted = plan.result("permuted", 0, "inductive").inputs["estimator"].inputs["images"]
    before, after = (read_label(task.folder(place.out), "gaze") for task in (permuted.inputs["images"], permuted))
    assert before is not None
    assert after is not None
    assert not np.array_equal(before, after)
    assert np.array_equal(np.sort(before, axis=0), np.sort(after, axis=0))


def test_photographs_carry_no_labels_and_everything_is_equalised(
    run_study: Fixture, study: Study, tmp_path: Path
) -> None:
    plan, place, _ = run_study(study, tmp_path / "out", ["refined"], [0])
    result = plan.result("refined", 0, "inductive")
    with h5py.File(result.inputs["real"].folder(place.out) / "images.h5") as file:
        assert list(file["labels"]) == []
        assert "subjects" not in file
    for role in ("target", "real", "synthetic", "adapted"):
        images = read_pixels(result.inputs[role].folder(place.out))[:, 0]
        assert np.median([equalization(image) for image in images]) < EQUALIZED_BELOW


def test_an_estimator_is_told_the_yaw_of_heads_on_renders_and_photographs(
    run_study: Fixture, read_single: Fixture, values: dict[str, Any], tmp_path: Path
) -> None:
    yaw = {"estimator": {"head_pose": "yaw"}, "against": []}
    values["variants"] = {"raw": {}, "yaw": yaw, "real": {"labels": "real"}, "real_yaw": {"labels": "real", **yaw}}
    values["variants"]["matched_yaw"] = {**yaw, "adaptation": "histogram"}
    study = Study("tiny", tmp_path, StudyConfiguration.model_validate(values))
    plan, place, _ = run_study(study, tmp_path / "out", list(values["variants"]), [0])
    for name in ("yaw", "real_yaw", "matched_yaw"):
        result = read_single(place, f"{name}-0-inductive")
        assert result["settings"]["estimator"]["configuration"]["head_pose"] == "yaw"
        file = place.out / "models" / f"{name}-0-inductive" / "estimator.safetensors"
        assert GazeEstimator.load(file, device="cpu").head_pose == "yaw"
    assert read_single(place, "yaw-0-transductive")["error"] != read_single(place, "raw-0-transductive")["error"]
    known = {
        name: plan.result(name, 0, "inductive").inputs["estimator"].inputs["images"] for name in ("real", "real_yaw")
    }
    poses = {name: read_label(task.folder(place.out), "head_pose") for name, task in known.items()}
    assert poses["real"] is None
    assert poses["real_yaw"] is not None


def test_calibration_is_asked_for_with_the_photographs(
    run_study: Fixture,
    read_single: Fixture,
    values: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def calibrate(real: Patches, base: EyeParameters, *, keep: list[str]) -> Fit:
        asked.append(len(real))
        assert keep == ["gaze.yaw_degrees"]  # what is stated
        assert base.gaze.yaw_degrees == (-5, 5)
        return Fit(base.model_copy(update={"images_per_person": 7}), (0.9,))

    monkeypatch.setattr("refiner.eyes.calibration.calibrate", calibrate)
    values["renderers"]["calibrated"] = {
        "calibrate": True,
        "parameters": {"images_per_person": 4, "gaze": {"yaw_degrees": [-5, 5]}},
    }
    values["variants"] = {"raw": {"renderer": "calibrated"}}
    _, place, _ = run_study(
        Study("tiny", tmp_path, StudyConfiguration.model_validate(values)), tmp_path / "out", ["raw"], [0, 1]
    )
    result = read_single(place, "raw-0-transductive")
    assert result["settings"]["synthetic"]["parameters"] == {"images_per_person": 7, "gaze": {"yaw_degrees": [-5, 5]}}
    halves = [read_single(place, f"raw-{seed}-inductive")["real_count"] for seed in (0, 1)]
    assert sorted(asked) == sorted([60, *halves])  # all images once for both seeds
    assert sum(halves) == 60
