"""Variants whose mean of several estimators is tested, trained alone or by co-teaching, and refiners with guides."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from refiner.data.labels.angles import angular_error_degrees
from refiner.gaze.data import load_patches
from refiner.gaze.prediction import GazeEstimator
from tools.study.configuration import Study, StudyConfiguration
from tools.study.halves import part_numbers
from tools.study.products.stores import open_images
from tools.study.tasks import Place

Fixture = Callable[..., Any]


@pytest.fixture
def study(values: dict[str, Any], tmp_path: Path) -> Study:
    """Two estimators alone and together; two steps of co-teaching."""
    values["estimator"]["overrides"] |= {"steps": 5, "head_pose": "yaw", "co_teaching": {"warm_up": 0.4}}
    several = {"augmented": True, "members": 2}
    values["variants"] = {"raw": {"augmented": True}, "alone": several, "together": {**several, "co_taught": True}}
    values["protocols"] = ["inductive"]
    return Study("members", tmp_path, StudyConfiguration.model_validate(values))


def mean_error(study: Study, place: Place, name: str, files: list[str]) -> float:
    """Return the error of the mean prediction of models on the second half of the target."""
    estimators = [GazeEstimator.load(place.out / "models" / name / file, device="cpu") for file in files]
    patches = load_patches([study.target()], size=study.configuration.size, equalize=True, head_pose=True, key="target")
    tested = patches.take(part_numbers(patches.columns["subject"])["second"])
    mean = np.mean([estimator.predict(tested) for estimator in estimators], axis=0)
    return float(angular_error_degrees(mean, tested.gaze).mean())


def test_the_mean_of_the_members_is_tested(
    run_study: Fixture, read_single: Fixture, study: Study, tmp_path: Path
) -> None:
    plan, place, _ = run_study(study, tmp_path / "out", None, [0])
    files = {
        "raw": ["estimator.safetensors"],
        "alone": ["estimator.safetensors", "member-2.safetensors"],
        "together": ["estimator.safetensors", "estimator_2.safetensors"],
    }
    errors = {}
    for name, members in files.items():
        result = f"{name}-0-inductive"
        assert sorted(path.name for path in (place.out / "models" / result).glob("*.safetensors")) == members
        errors[name] = read_single(place, result)["error"]["mean"]
        assert errors[name] == pytest.approx(mean_error(study, place, result, members), abs=1e-4)
    assert len(set(errors.values())) == 3

    # Co-teaching sees the images of adaptation, with head poses and without gaze.
    run = plan.result("together", 0, "inductive").inputs["estimator"]
    settings = yaml.safe_load((run.folder(place.out) / "run" / "config.yaml").read_text())
    unlabelled = run.inputs["unlabelled"].folder(place.out)
    assert settings["data"]["unlabelled"] == [str((unlabelled / "images.h5").resolve())]
    images = open_images(unlabelled)
    assert {name for number in images.ids for name in images.read(number).labels} == {"head_pose"}
    assert len(images.ids) == read_single(place, "together-0-inductive")["real_count"]


def test_several_guides_hold_a_refiner(run_study: Fixture, values: dict[str, Any], tmp_path: Path) -> None:
    values["adaptations"]["held"] = {"consistent": True, "guides": 2, "overrides": {"consistency": "centred"}}
    values["variants"] = {"raw": {}, "held": {"adaptation": "held"}}
    study = Study("guides", tmp_path, StudyConfiguration.model_validate(values))
    plan, place, _ = run_study(study, tmp_path / "out", ["held"], [0])
    refiner = plan.result("held", 0, "transductive").inputs["adapted"].inputs["refiner"]
    settings = yaml.safe_load((refiner.folder(place.out) / "run" / "config.yaml").read_text())
    guides = settings["data"]["estimator"]
    assert len(set(guides)) == 2
    digests = {
        GazeEstimator.load(Path(guide), device="cpu").metadata["training"]["configuration"]["seed"] for guide in guides
    }
    assert digests == {1000, 101_000}
    assert settings["consistency"] == "centred"


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ({"co_taught": True}, "co_taught needs the labels of renders and members: 2 or more"),
        ({"co_taught": True, "members": 2, "labels": "real"}, "co_taught needs the labels of renders"),
        ({"members": 2, "bias_corrected": True}, "test one estimator; set members: 1"),
    ],
)
def test_members_that_mean_nothing_are_refused(values: dict[str, Any], variant: dict[str, Any], words: str) -> None:
    values["variants"]["raw"] = variant
    with pytest.raises(ValueError, match=words):
        StudyConfiguration.model_validate(values)
