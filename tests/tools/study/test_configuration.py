"""Configuration of studies: every file resolves, and unknown or useless settings are refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from refiner.core.errors import ConfigurationError
from tools.study.configuration import Study, StudyConfiguration, read_study
from tools.study.plan import Plan

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("file", sorted((CONFIGS / "study").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_configuration_reads_and_every_arm_of_it_resolves(file: Path) -> None:
    study = read_study(file)
    results = list(Plan(study, "").results())
    assert len({task.digest for task in results}) == len(results)
    assert {task.settings["variant"] for task in results} == set(study.configuration.variants)


def test_short_study_compares_its_arms_by_three_seeds() -> None:
    results = [task.settings for task in Plan(read_study(CONFIGS / "study" / "short.yaml"), "").results()]
    refined = {"refined", "refined_augmented", "matched_augmented"}
    assert {settings["variant"] for settings in results} == {"raw", "augmented", "fourier_augmented", *refined}
    assert {settings["seed"] for settings in results} == {0, 1, 2}
    assert {settings["protocol"] for settings in results} == {"transductive"}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("renderer", "another", "variants.raw.renderer is another, expected one of default"),
        ("adaptation", "none", "variants.raw.adaptation is none, expected one of histogram, ours"),
        ("against", ["itself"], "variants.raw.against is itself, expected one of few, "),
    ],
)
def test_a_name_that_is_not_there_is_an_error(
    values: dict[str, Any], tmp_path: Path, key: str, value: Any, said: str
) -> None:
    values["variants"] = {**values["variants"], "raw": {key: value}}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigurationError, match=said):
        read_study(file)


def test_target_fills_in_environment_variables(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {**study.configuration.model_dump(), "target": {"data": "$STUDY_TEST_DATA/eyes"}}
    moved = Study("tiny", study.folder, StudyConfiguration.model_validate(values))
    with pytest.raises(ConfigurationError, match="STUDY_TEST_DATA/eyes; set that environment variable"):
        moved.target()
    monkeypatch.setenv("STUDY_TEST_DATA", "/data")
    assert moved.target() == Path("/data/eyes")


def test_an_arm_changes_the_estimator_of_the_study(values: dict[str, Any], tmp_path: Path) -> None:
    values["estimator"]["overrides"] |= {"head_pose": True, "standardize": True}
    values["variants"] = {"raw": {}, "yaw": {"estimator": {"head_pose": "yaw", "data": {"held_out": 0.2}}}}
    study = Study("tiny", tmp_path, StudyConfiguration.model_validate(values))
    raw, yaw = (study.estimator(variant, 0) for variant in study.configuration.variants.values())
    assert (raw.head_pose, raw.data.held_out) == (True, 0.3)
    assert (yaw.head_pose, yaw.data.held_out, yaw.standardize) == ("yaw", 0.2, True)
    plan = Plan(study, "")
    first, second = (plan.result(name, 0, "inductive") for name in ("raw", "yaw"))
    assert first.inputs["estimator"].digest != second.inputs["estimator"].digest
    assert first.inputs["synthetic"].digest == second.inputs["synthetic"].digest
    assert plan.design("raw", "inductive") != plan.design("yaw", "inductive")
    assert plan.family("raw") != plan.family("yaw")
    assert second.inputs["estimator"].settings["configuration"]["head_pose"] == "yaw"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": [8, 12]}, r"variants\.raw\.estimator\.size would have no effect: it follows from the study's size"),
        ({"equalize": False}, r"estimator\.equalize would have no effect: it follows from the variant's equalize"),
        ({"augmentation": {"strong": 0.5}}, r"it follows from variants\.raw\.augmented, which is false"),
    ],
)
def test_what_an_arm_cannot_change_of_the_estimator(values: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        StudyConfiguration.model_validate({**values, "variants": {"raw": {"estimator": changes}}})
