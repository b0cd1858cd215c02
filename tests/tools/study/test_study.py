"""The study: what arms need, that it goes on where it was killed, what its results and its page say."""

import fcntl
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "configs"
from refiner.core.errors import ConfigurationError, DataError, TrainingError
from refiner.core.files import locked
from refiner.core.rng import numpy_generator
from refiner.eyes.calibration import Fit
from refiner.eyes.scene.parameters import EyeParameters
from refiner.gaze.data import Patches, load_patches
from refiner.gaze.networks.file import load_estimator
from refiner.gaze.prediction import GazeEstimator
from refiner.images.arrays import EQUALIZED_BELOW, equalization
from tools.study.commands import main
from tools.study.configuration import Study, StudyConfiguration, read_study
from tools.study.plan import Plan, part_numbers, target_digest
from tools.study.products import stages
from tools.study.products.adaptations import matched_images
from tools.study.products.scores import measure_scores, two_sample_accuracy
from tools.study.products.stores import open_images, read_label, read_pixels
from tools.study.report.figures import error_dots, photograph_curve
from tools.study.report.outcomes import read_outcomes
from tools.study.report.page import PROBE, fill_tables, write_page
from tools.study.report.proxies import measured_proxies, rank_correlation
from tools.study.report.tables import all_tables
from tools.study.results import is_finished, write_overview
from tools.study.schedule import run_tasks
from tools.study.tasks import Place, Task, missing_tasks

VARIANTS: dict[str, Any] = {
    "raw": {"against": []},
    "refined": {"adaptation": "ours", "augmented": True},
    "matched": {"adaptation": "histogram"},
    "few": {"adaptation": "histogram", "real": 10, "protocols": ["inductive"], "seeds": [1]},
    "permuted": {"labels": "permuted"},
    "real": {"labels": "real"},
}


@pytest.fixture
def values(gazes: Path) -> dict[str, Any]:
    """A study that takes seconds: two steps of everything."""
    networks = {"discriminator": {"width": 0.25}, "refiner": {"features": 4, "blocks": 1}}
    few = {"steps": 2, "batch_size": 4, "history_size": 4, "precision": "fp32"}
    pretraining = {"pretraining": {"refiner_steps": 1, "discriminator_steps": 1}}
    estimator = {"steps": 3, "batch_size": 6, "precision": "fp32", "data": {"held_out": 0.3}}
    return {
        "target": {"data": str(gazes), "group": "subject", "slices": {"straight": {"P": [0]}, "none": {"P": [7]}}},
        "size": [16, 24],
        "synthetic": 40,
        "seeds": [0, 1],
        "against": ["raw"],
        "refiner": {"base": str(CONFIGS / "eyes.yaml"), "overrides": {**few, **networks, **pretraining}},
        "estimator": {"base": str(CONFIGS / "gaze.yaml"), "overrides": estimator},
        "scores": {"steps": 3, "images": 16},
        "renderers": {"default": {"parameters": {"images_per_person": 4}}},
        "adaptations": {
            "ours": {},
            "histogram": {"method": "histogram_matching"},
        },
        "variants": VARIANTS,
    }


@pytest.fixture
def study(values: dict[str, Any], tmp_path: Path) -> Study:
    return Study("tiny", tmp_path, StudyConfiguration.model_validate(values))


def place_of(study: Study, out: Path) -> Place:
    return Place(study.name, study.digest(), study.target(), out, out / "results", "cpu")


def run(study: Study, out: Path, variants: list[str], seeds: list[int] | None = None) -> tuple[Plan, Place, int]:
    """Everything in this process; gives the number of tasks that were done."""
    plan, place = Plan(study, target_digest(study.target())), place_of(study, out)
    write_overview(study, plan, place.results)
    tasks = missing_tasks(plan.results(variants, seeds), lambda task: is_finished(task, place))
    said: list[float | str] = []
    assert run_tasks(tasks, place, workers=0, report=lambda task, outcome: said.append(outcome)) == 0, said
    return plan, place, len(tasks)


def read(place: Place, name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((place.results / f"{name}.json").read_text())
    return result


# --- configuration and plan ----------------------------------------------------------------------------------------


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
        ("renderer", "another", "arms.raw.renderer is another, expected one of default"),
        ("adaptation", "none", "arms.raw.adaptation is none, expected one of histogram, ours"),
        ("against", ["itself"], "arms.raw.against is itself, expected one of few, "),
    ],
)
def test_a_name_that_is_not_there_is_an_error(
    values: dict[str, Any], tmp_path: Path, key: str, value: Any, said: str
) -> None:
    values["variants"] = {**VARIANTS, "raw": {key: value}}
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


def test_seeds_come_one_after_another_and_arms_share_what_is_equal(study: Study) -> None:
    plan = Plan(study, "")
    results = list(plan.results())
    assert [task.settings["seed"] for task in results] == sorted(task.settings["seed"] for task in results)
    assert ("few", 0) not in {(task.settings["variant"], task.settings["seed"]) for task in results}
    wanted = missing_tasks(plan.results(["raw", "permuted"], [3]), lambda task: False)
    stages = [task.stage for task in wanted]
    assert stages.count("synthetic") == 1
    assert stages.count("estimator") == 2  # the same in both protocols
    assert stages.count("result") == 4
    places = {task.digest: number for number, task in enumerate(wanted)}
    assert all(places[entry.digest] < places[task.digest] for task in wanted for entry in task.inputs.values())


def test_labels_of_photographs_reach_tests_and_the_ceiling_alone(study: Study) -> None:
    plan = Plan(study, "")
    for name in ("refined", "matched"):
        result = plan.result(name, 0, "inductive")
        for task in result.inputs["estimator"].ancestors().values():
            assert task.stage != "labelled"
            if "target" in task.inputs:
                assert task.stage == "real"
                assert task.settings["part"] == "first"
        assert result.settings["tests"] == {"estimator": "second"}


def test_a_calibrated_renderer_knows_the_photographs_of_its_protocol_alone(
    values: dict[str, Any], tmp_path: Path
) -> None:
    values["renderers"]["calibrated"] = {"calibrate": True}
    values["variants"] = {"raw": {"renderer": "calibrated", "real": 5}}
    study = Study("tiny", tmp_path, StudyConfiguration.model_validate(values))
    ancestors = Plan(study, "").result("raw", 4, "inductive").inputs["synthetic"].ancestors().values()
    real = next(task for task in ancestors if task.stage == "real")
    assert real.settings == {"part": "first", "count": 5, "seed": 4, "group": "subject"}


def test_design_leaves_out_the_seed_and_nothing_else(study: Study, values: dict[str, Any], tmp_path: Path) -> None:
    plan = Plan(study, "")
    assert plan.design("raw", "inductive") != plan.design("raw", "transductive")
    assert (
        plan.result("raw", 3, "inductive").settings["design"] == plan.result("raw", 4, "inductive").settings["design"]
    )
    values["estimator"]["overrides"]["steps"] = 4
    changed = Plan(Study("tiny", tmp_path, StudyConfiguration.model_validate(values)), "")
    assert changed.design("raw", "inductive") != plan.design("raw", "inductive")


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
        ({"size": [8, 12]}, r"arms\.raw\.estimator\.size would have no effect: it follows from the study's size"),
        ({"equalize": False}, r"estimator\.equalize would have no effect: it follows from the arm's equalize"),
        ({"augmentation": {"strong": 0.5}}, r"it follows from arms\.raw\.augmented, which is false"),
    ],
)
def test_what_an_arm_cannot_change_of_the_estimator(values: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        StudyConfiguration.model_validate({**values, "variants": {"raw": {"estimator": changes}}})


def test_halves_take_every_other_group() -> None:
    assert part_numbers(["b", "a", "c", "b", "d"]) == {"all": [0, 1, 2, 3, 4], "first": [1, 2], "second": [0, 3, 4]}
    with pytest.raises(DataError, match="of one group"):
        part_numbers(["a", "a"])


# --- adaptation and scores -----------------------------------------------------------------------------------------


def _noise(count: int, low: int, high: int, seed: int) -> Patches:
    return numpy_generator(seed, "test").integers(low, high, (count, 1, 16, 24)).astype(np.uint8)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("histogram_matching", {"blend_ratio": (0.5, 1)}), ("fourier", {"beta_limit": (0.2, 0.4)})],
)
def test_matching_follows_from_seed_and_number(method: str, arguments: dict[str, Any]) -> None:
    synthetic, real = _noise(6, 0, 100, 1), _noise(5, 150, 255, 2)

    def matched(count: int, seed: int) -> Patches:
        return matched_images(synthetic[:count], real, method=method, arguments=arguments, seed=seed)

    assert matched(6, 3).shape == synthetic.shape
    assert matched(6, 3).mean() > synthetic.mean() + 20  # towards the brighter photographs
    assert np.array_equal(matched(6, 3)[:2], matched(2, 3))
    assert not np.array_equal(matched(6, 3), matched(6, 4))


def test_one_adaptation_after_another(values: dict[str, Any], tmp_path: Path) -> None:
    fourier = {"method": "fourier", "arguments": {"beta_limit": [0.3, 0.3]}}
    values["adaptations"] |= {"fourier": fourier, "both": {**fourier, "after": "ours"}}
    values["variants"] = {name: {"adaptation": name} for name in ("ours", "fourier", "both")} | {"raw": {}}
    study = Study("after", tmp_path, StudyConfiguration.model_validate(values))
    plan, place, _ = run(study, tmp_path / "out", ["ours", "fourier", "both"], [0])
    adapted = {}
    for result in plan.results(["ours", "fourier", "both"], [0]):
        adapted[result.settings["variant"]] = result.inputs["adapted"]
    assert adapted["both"].stage == "matched"
    assert adapted["both"].inputs["synthetic"].digest == adapted["ours"].digest
    pixels = {name: read_pixels(task.folder(place.out)) for name, task in adapted.items()}
    assert not np.array_equal(pixels["both"], pixels["ours"])
    values["adaptations"]["more"] = {"after": "both"}
    with pytest.raises(ValueError, match=r"adaptations\.more\.after: both comes after another already"):
        StudyConfiguration.model_validate(values)


def test_a_consistent_refiner_keeps_the_answers_of_another_estimator(values: dict[str, Any], tmp_path: Path) -> None:
    values["adaptations"]["ours"] = {"consistent": True}
    values["estimator"]["overrides"]["head_pose"] = "yaw"
    values["variants"] = {"raw": {}, "refined": {"adaptation": "ours", "protocols": ["transductive"]}}
    consistent = Study("consistent", tmp_path, StudyConfiguration.model_validate(values))
    plan, place, _ = run(consistent, tmp_path / "out", ["refined"], [0])
    (result,) = plan.results(["refined"], [0])
    tested = result.inputs["estimator"]
    refiner = tested.inputs["images"].inputs["refiner"]
    judge = refiner.inputs["estimator"]
    assert judge.settings["configuration"]["seed"] != tested.settings["configuration"].get("seed", 0)
    assert judge.inputs["images"] == refiner.inputs["synthetic"]
    configuration = yaml.safe_load((refiner.folder(place.out) / "run" / "config.yaml").read_text())
    assert configuration["data"]["estimator"] == str((judge.folder(place.out) / "run").resolve())
    assert load_estimator(judge.folder(place.out) / "run").network.head_pose is False


def test_a_gaze_matched_refiner_sees_renders_of_the_photographs_gaze_and_refines_all(
    values: dict[str, Any], tmp_path: Path
) -> None:
    values["adaptations"]["ours"] = {"gaze_matched": True}
    values["estimator"]["overrides"]["head_pose"] = "yaw"
    values["variants"] = {"raw": {}, "refined": {"adaptation": "ours", "protocols": ["transductive"]}}
    matched = Study("matched", tmp_path, StudyConfiguration.model_validate(values))
    plan, place, _ = run(matched, tmp_path / "out", ["refined"], [0])
    (result,) = plan.results(["refined"], [0])
    refined = result.inputs["adapted"]
    drawn = refined.inputs["refiner"].inputs["synthetic"]
    assert drawn.inputs["synthetic"] == refined.inputs["synthetic"]
    estimators = [task.inputs["estimator"].settings["configuration"].get("seed", 0) for task in (drawn, result)]
    assert estimators[0] != estimators[1]
    some, every = (open_images(task.folder(place.out)) for task in (drawn, refined.inputs["synthetic"]))
    assert 0 < len(some.ids) < len(every.ids) == len(open_images(refined.folder(place.out)).ids)
    assert set(some.ids) < set(every.ids)


def test_centred_answers_have_the_mean_of_the_labels_learnt(values: dict[str, Any], tmp_path: Path) -> None:
    values["estimator"]["overrides"]["head_pose"] = "yaw"
    values["variants"] = {"raw": {}, "centred": {"centred": True, "protocols": ["transductive"]}}
    tiny = Study("centred", tmp_path, StudyConfiguration.model_validate(values))
    plan, place = Plan(tiny, target_digest(tiny.target())), place_of(tiny, tmp_path / "out")
    (result,) = plan.results(["centred"], [1])
    assert run_tasks(missing_tasks([result], lambda task: False), place, workers=0, report=lambda *_: None) == 0
    corrected = result.inputs["estimator"]
    moved, plain = (task.folder(place.out) / "run" for task in (corrected, corrected.inputs["estimator"]))
    store = result.inputs["target"].folder(place.out) / "images.h5"
    patches = load_patches([store], size=tiny.configuration.size, equalize=False, head_pose=True, key="target")
    answers = {run: GazeEstimator.load(run).predict(patches) for run in (moved, plain)}
    mean = GazeEstimator.load(plain).metadata["mean_gaze"]
    assert answers[moved].mean(axis=0) == pytest.approx(mean, abs=1e-5)
    assert np.ptp(answers[moved] - answers[plain], axis=0) == pytest.approx([0, 0], abs=1e-5)  # by a constant
    assert abs(answers[plain].mean(axis=0) - mean).max() > 1e-3
    values["adaptations"]["histogram"]["consistent"] = True
    with pytest.raises(ValueError, match=r"adaptations\.histogram: consistent and gaze_matched are of refiners"):
        StudyConfiguration.model_validate(values)
    del values["adaptations"]["histogram"]["consistent"]
    values["variants"]["centred"]["labels"] = "real"
    with pytest.raises(ValueError, match="real labels need no centring"):
        StudyConfiguration.model_validate(values)


def test_histogram_matching_gives_the_photograph_s_levels() -> None:
    matched = matched_images(
        _noise(3, 0, 256, 1),
        _noise(1, 40, 60, 2),
        method="histogram_matching",
        arguments={"blend_ratio": (1, 1)},
        seed=0,
    )
    assert matched.min() >= 40
    assert matched.max() < 60


def test_an_argument_that_albumentations_refuses_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="FDA refuses"):
        matched_images(_noise(1, 0, 9, 1), _noise(1, 0, 9, 2), method="fourier", arguments={"beta_limit": 3}, seed=0)


def test_two_samples_are_told_apart_only_where_they_differ() -> None:
    dark, also_dark, bright = _noise(80, 0, 120, 1), _noise(70, 0, 120, 2), _noise(90, 130, 255, 3)
    assert two_sample_accuracy(dark, bright, steps=30, images=60, seed=0) == 1.0
    assert abs(two_sample_accuracy(dark, also_dark, steps=30, images=60, seed=0) - 0.5) < 0.25


def test_drift_is_that_of_the_pupils() -> None:
    y, x = np.mgrid[:36, :60]
    centres = numpy_generator(0, "test").uniform((24, 14), (36, 22), (12, 2))
    discs = np.stack([np.hypot(x - cx, y - cy) < 5 for cx, cy in centres])
    synthetic = np.where(discs, 40, 180).astype(np.uint8)[:, None]
    moved = np.roll(synthetic, (1, 2), axis=(2, 3))
    scores = measure_scores(synthetic, moved, synthetic, centres, steps=1, images=24, seed=0)
    assert scores.drift == pytest.approx((2, 1), abs=0.05)
    assert scores.drift_distance == pytest.approx(math.sqrt(5), abs=0.05)
    assert measure_scores(synthetic, moved, synthetic, None, steps=1, images=24, seed=0).drift is None


# --- a whole study -------------------------------------------------------------------------------------------------


def test_a_study_from_renders_to_its_page(study: Study, tmp_path: Path) -> None:
    _, place, done = run(study, tmp_path / "out", list(VARIANTS))
    assert done > 50
    result = read(place, "refined-0-inductive")
    assert result["images"] == sum(count for count, _ in result["groups"].values())
    assert result["real"] + result["images"] == 60
    assert set(result["slices"]) == {"straight"}  # no image has P 7
    assert 0 <= result["scores"]["c2st_accuracy"] <= 1
    assert result["scores"]["distance"] > 0
    assert read(place, "raw-0-inductive")["scores"]["distance"] == result["scores"]["renders_distance"]
    assert [len(line.split()) for line in result["answers"].values()] == [result["images"]] * 2
    assert result["seconds"]["refiner"] > 0
    assert result["settings"]["estimator"]["configuration"]["steps"] == 3
    models = place.out / "models" / "refined-0-inductive"
    assert {path.name for path in models.iterdir()} == {"estimator.safetensors", "refiner.safetensors"}
    assert GazeEstimator.load(models / "estimator.safetensors").equalize
    assert read(place, "raw-0-transductive")["real"] == 0
    assert read(place, "few-1-inductive")["real"] == 10
    assert read(place, "real-0-transductive")["images"] == 60  # each half by the other's estimator

    page = tmp_path / "results.md"
    page.write_text("before\n<!-- table: tiny inductive -->\nold\n<!-- end -->\nafter\n")
    shutil.copytree(place.results, tmp_path / "results" / "tiny")
    written, unused = write_page(tmp_path / "results", page)
    text = page.read_text()
    assert text.startswith("before\n<!-- table: tiny inductive -->\n| arm |")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "tiny transductive differences" in unused
    assert "tiny inductive" not in unused
    pictures = {path: path.read_text() for path in written if path.suffix == ".svg"}
    assert {path.name for path in pictures} == {"transductive.svg", "inductive.svg", "inductive-photographs.svg"}
    write_page(tmp_path / "results", page)
    assert page.read_text() == text
    assert {path: path.read_text() for path in pictures} == pictures


def test_finished_results_are_known_wherever_products_are(study: Study, tmp_path: Path) -> None:
    plan, place, _ = run(study, tmp_path / "out", ["permuted"], [0])
    elsewhere = Place(place.study, place.configuration, place.target, tmp_path / "new", place.results, "cpu")
    wanted = list(plan.results(["permuted"], [0, 1]))
    done = {task.settings["seed"] for task in wanted if is_finished(task, elsewhere)}
    assert done == {0}
    file = place.results / "permuted-0-inductive.json"
    file.write_text(file.read_text().replace(wanted[1].digest, "0" * 64))  # as of other settings
    assert [is_finished(task, elsewhere) for task in wanted[:2]] == [True, False]


def test_training_on_shuffled_labels_has_the_same_labels_in_another_order(study: Study, tmp_path: Path) -> None:
    plan, place, _ = run(study, tmp_path / "out", ["permuted"], [0])
    permuted = plan.result("permuted", 0, "inductive").inputs["estimator"].inputs["images"]
    before, after = (read_label(task.folder(place.out), "gaze") for task in (permuted.inputs["images"], permuted))
    assert before is not None
    assert after is not None
    assert not np.array_equal(before, after)
    assert np.array_equal(np.sort(before, axis=0), np.sort(after, axis=0))


def test_photographs_carry_no_labels_and_everything_is_equalised(study: Study, tmp_path: Path) -> None:
    plan, place, _ = run(study, tmp_path / "out", ["refined"], [0])
    result = plan.result("refined", 0, "inductive")
    with h5py.File(result.inputs["real"].folder(place.out) / "images.h5") as file:
        assert list(file["labels"]) == []
        assert "subjects" not in file
    for role in ("target", "real", "synthetic", "adapted"):
        images = read_pixels(result.inputs[role].folder(place.out))[:, 0]
        assert np.median([equalization(image) for image in images]) < EQUALIZED_BELOW


def test_an_estimator_is_told_the_yaw_of_heads_on_renders_and_photographs(
    values: dict[str, Any], tmp_path: Path
) -> None:
    yaw = {"estimator": {"head_pose": "yaw"}, "against": []}
    values["variants"] = {"raw": {}, "yaw": yaw, "real": {"labels": "real"}, "real_yaw": {"labels": "real", **yaw}}
    values["variants"]["matched_yaw"] = {**yaw, "adaptation": "histogram"}
    study = Study("tiny", tmp_path, StudyConfiguration.model_validate(values))
    plan, place, _ = run(study, tmp_path / "out", list(values["variants"]), [0])
    for name in ("yaw", "real_yaw", "matched_yaw"):
        result = read(place, f"{name}-0-inductive")
        assert result["settings"]["estimator"]["configuration"]["head_pose"] == "yaw"
        file = place.out / "models" / f"{name}-0-inductive" / "estimator.safetensors"
        assert GazeEstimator.load(file, device="cpu").head_pose == "yaw"
    assert read(place, "yaw-0-transductive")["error"] != read(place, "raw-0-transductive")["error"]
    known = {
        name: plan.result(name, 0, "inductive").inputs["estimator"].inputs["images"] for name in ("real", "real_yaw")
    }
    poses = {name: read_label(task.folder(place.out), "head_pose") for name, task in known.items()}
    assert poses["real"] is None
    assert poses["real_yaw"] is not None


def test_calibration_is_asked_for_with_the_photographs(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    _, place, _ = run(
        Study("tiny", tmp_path, StudyConfiguration.model_validate(values)), tmp_path / "out", ["raw"], [0, 1]
    )
    result = read(place, "raw-0-transductive")
    assert result["settings"]["synthetic"]["parameters"] == {"images_per_person": 7, "gaze": {"yaw_degrees": [-5, 5]}}
    assert sorted(asked) == sorted([60, read(place, "raw-0-inductive")["real"]])  # once for both seeds


# --- faults --------------------------------------------------------------------------------------------------------


def test_a_task_that_fails_stops_only_what_needs_it(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(task: Task, place: Place) -> dict[str, Any]:
        raise TrainingError("the loss is not finite")

    monkeypatch.setitem(stages.STAGES, "refiner", fail)
    plan, place = Plan(study, target_digest(study.target())), place_of(study, tmp_path)
    tasks = missing_tasks(plan.results(["raw", "refined"], [0]), lambda task: False)
    said: dict[str, list[float | str]] = {}
    failures = run_tasks(tasks, place, workers=0, report=lambda task, out: said.setdefault(task.stage, []).append(out))
    assert said["refiner"] == ["the loss is not finite"] * 2
    assert said["refined"] == ["not begun, for what it needs has failed"] * 2
    assert failures == 2 + 2 + 2 + 2 + 2  # refiner, refined, scores, estimator, result
    assert read(place, "raw-0-inductive")["variant"] == "raw"


def test_killed_it_goes_on(values: dict[str, Any], tmp_path: Path) -> None:
    values["variants"] = {"refined": {"adaptation": "ours", "protocols": ["transductive"], "against": []}}
    values["against"] = []
    values["refiner"]["overrides"] |= {"steps": 200, "checkpoint_every": 20}
    file, out = tmp_path / "study.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(values))
    arguments = ["run", str(file), "--out", str(out), "--seeds", "0", "--workers", "1"]
    command = [sys.executable, "-m", "tools.study", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT) as process:
        _wait_for(lambda: any(out.glob("refiner/*/run/checkpoints/step-*.pt")))
        process.kill()
    (folder,) = out.glob("refiner/*/run")
    _wait_for(lambda: _is_free(folder / ".lock"))  # the worker does not outlive its parent
    assert not (folder.parent / "done.json").exists()
    rendered = [path.stat().st_mtime_ns for path in out.glob("renders/*/done.json")]
    again = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(again.stdout)["count"] == 1
    assert "synthetic" not in again.stderr
    assert [path.stat().st_mtime_ns for path in out.glob("renders/*/done.json")] == rendered
    assert [path.name for path in out.glob("results/refined*.json")] == ["refined-0-transductive.json"]
    assert not (folder / "checkpoints").exists()


def test_the_program_lists_refuses_and_reports(values: dict[str, Any], tmp_path: Path, outcomes: Path) -> None:
    file, out = tmp_path / "study.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(values))
    options = [str(file), "--out", str(out)]

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments)

    listed = call("list", *options, "--variants", "few,raw")
    assert "few" in listed.output
    assert "0? 1?" in listed.output
    assert "refined" not in listed.output
    assert call("run", *options, "--variants", "unknown").exit_code == 2
    assert call("run", *options, "--seeds", "one").exit_code == 2
    with locked(out / "lock", refusal=""):
        second = call("run", *options)
    assert second.exit_code == 1
    assert "another process works there" in second.output
    done = call("run", *options, "--variants", "permuted", "--seeds", "5", "--workers", "0")
    assert done.exit_code == 0, done.output
    assert "?" not in call("list", *options, "--variants", "permuted", "--seeds", "5").output
    assert call("run", *options, "--variants", "permuted", "--seeds", "5").output.startswith(
        "2 results wanted, nothing"
    )
    reported = call("report", str(outcomes))
    assert str(outcomes.with_suffix(".md")) in reported.output


def _wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited for a minute")


def _is_free(lock: Path) -> bool:
    with lock.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


# --- the page ------------------------------------------------------------------------------------------------------


@pytest.fixture
def outcomes(tmp_path: Path) -> Path:
    """Results as they would be committed: three seeds of two arms, one of a third, none of a fourth."""
    folder = tmp_path / "results"
    variants = {
        "raw": {"against": [], "real": None},
        "refined": {"against": ["raw"], "real": None},
        "few": {"against": ["raw"], "real": 25},
        "later": {"against": ["raw"], "real": None},
    }
    for name, variant in variants.items():
        variant |= {
            "about": f"arm {name}",
            "family": "refined" if name == "few" else name,
            "designs": {"inductive": name},
        }
    overview = {"format_version": 1, "study": "eyes", "slices": ["straight"], "variants": variants}
    (folder / "eyes").mkdir(parents=True)
    (folder / "eyes" / "study.json").write_text(json.dumps(overview))
    errors = {"raw": [9.0, 10.0, 11.0], "refined": [8.0, 9.1, 9.9], "few": [9.5]}
    for variant, by_seed in errors.items():
        for seed, error in enumerate(by_seed):
            _write_result(folder / "eyes", variant, seed, error)
    return folder


def _write_result(folder: Path, variant: str, seed: int, error: float, design: str | None = None) -> None:
    metrics = {
        "images": 40,
        "error": {"mean": error, "low": error - 1, "high": error + 1},
        "median": error - 0.5,
        "within": {"2": 0.1, "5": 0.25, "7": 0.5, "10": 0.75},
        "unbiased": 5.0,
        "bias": [1.0, -2.0],
        "correlation": [0.5, None],
        "training_mean_error": 9.0,
        "test_mean_error": 8.3,
    }
    result = {
        "format_version": 1,
        **{"variant": variant, "seed": seed, "protocol": "inductive", "design": design or variant},
        **metrics,
        "slices": {"straight": {**metrics, "error": {"mean": error / 2, "low": 0, "high": 1}}},
        "scores": {"c2st_accuracy": 0.8, "drift": [0.1, -0.2], "drift_distance": 0.3},
        "real": 25 if variant == "few" else 700,
        "seconds": {"synthetic": 20.0, "refiner": 100.0 + seed, "refined": 5.0, "estimator": 30.0},
    }
    (folder / f"{variant}-{seed}-inductive.json").write_text(json.dumps(result))


def row(table: str, start: str) -> list[str]:
    """Cells of the row that begins so."""
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_tables_hold_means_intervals_and_verdicts(outcomes: Path) -> None:
    (outcome,) = read_outcomes(outcomes)
    tables = dict(all_tables(outcome))
    # Student's t of two degrees of freedom is 4.303: 10 +- 4.303 x 1 / sqrt(3).
    assert row(tables["eyes inductive"], "`raw`")[1:5] == ["3", "10.00 [7.52, 12.48]", "9.50", "25%"]
    assert row(tables["eyes inductive"], "`raw`")[-2:] == ["+1.0 / -2.0", "0.50 / –"]
    assert row(tables["eyes inductive"], "`later`")[1] == "not run"
    # Pairs differ by -1, -0.9, -1.1: -1 +- 4.303 x 0.1 / sqrt(3).
    expected = ["`refined`", "`raw`", "3", "-1.00 [-1.25, -0.75]", "-10%", "helps"]
    assert row(tables["eyes inductive differences"], "`refined`")[:-2] == expected
    unbiased = row(tables["eyes inductive differences"], "`refined`")[-2:]
    assert unbiased == ["0.00 [0.00, 0.00]", "not resolved"]  # 5.0 in every result
    assert row(tables["eyes inductive differences"], "`few`")[5] == "one seed"
    assert row(tables["eyes inductive cost"], "`raw`")[1:] == ["106 [105, 107]", "30 [30, 30]", "156 [155, 157]"]
    assert row(tables["eyes inductive cost"], "`few`")[1:] == ["105", "30", "155"]
    assert "`later`" not in tables["eyes inductive differences"]
    assert row(tables["eyes inductive straight differences"], "`refined`")[3] == "-0.50 [-0.62, -0.38]"
    assert row(tables["eyes inductive slices"], "`raw`")[1] == "5.00 [3.76, 6.24]"
    assert row(tables["eyes inductive scores"], "`few`")[1:6] == ["80%", "+0.10 / -0.20", "0.30", "–", "–"]
    assert row(tables["eyes inductive photographs"], "25")[1:] == ["`few`", "1", "9.50"]
    assert row(tables["eyes inductive photographs"], "700")[2] == "3"


def test_seeds_disagree_by_the_angle_between_their_answers(outcomes: Path) -> None:
    for seed, pitch in enumerate(("1.0 1.0", "1.0 -1.0", "1.0 3.0")):
        path = outcomes / "eyes" / f"raw-{seed}-inductive.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "answers": {"pitch": pitch, "yaw": "0.0 0.0"}}))
    (outcome,) = read_outcomes(outcomes)
    assert outcome.disagreement("raw", "inductive") == pytest.approx((1 + 1 + 2) / 3)  # halves of 2, 2 and 4 degrees
    assert outcome.disagreement("refined", "inductive") is None
    assert row(dict(all_tables(outcome))["eyes inductive scores"], "`raw`")[5] == "1.33"


def test_rank_correlation_is_of_the_order_alone() -> None:
    values = np.arange(8.0)
    assert rank_correlation(np.stack([values, values**3], axis=1)).mean == pytest.approx(1)
    assert rank_correlation(np.stack([values, -np.exp(values)], axis=1)).mean == pytest.approx(-1)
    swapped = rank_correlation(np.array([(0, 1), (1, 0), (2, 2), (3, 3), (4, 4)], float))
    assert swapped.mean == pytest.approx(0.9)  # 1 - 6 x 2 / (5 x 24)
    assert -1 <= swapped.low < swapped.mean < swapped.high <= 1


def test_proxies_are_ranked_over_arms_without_the_control(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e", "permuted"]
    variants = {name: {"about": "", "against": [], "real": None, "family": name, "designs": {"inductive": name}}
            for name in names}  # fmt: skip
    (tmp_path / "eyes").mkdir()
    overview = {"format_version": 1, "study": "eyes", "slices": [], "variants": variants}
    (tmp_path / "eyes" / "study.json").write_text(json.dumps(overview))
    for number, name in enumerate(names):
        _write_result(tmp_path / "eyes", name, 0, 5.0 + number)
        path = tmp_path / "eyes" / f"{name}-0-inductive.json"
        scores = {"c2st_accuracy": 0.9 - 0.1 * number, "drift": None, "drift_distance": None, "distance": float(number)}
        path.write_text(json.dumps({**json.loads(path.read_text()), "scores": scores}))
    found = {proxy.name: proxy for proxy in measured_proxies(read_outcomes(tmp_path)[0], "inductive")}
    assert set(found) == {"told from photographs", "distance to photographs"}
    assert [proxy.variants for proxy in found.values()] == [5, 5]
    assert found["distance to photographs"].correlation.mean == pytest.approx(1)
    assert found["told from photographs"].correlation.mean == pytest.approx(-1)


def test_the_score_chooses_among_checkpoints_of_one_training(tmp_path: Path) -> None:
    variants = {
        name: {"about": "", "against": [], "real": None, "family": name, "designs": {"inductive": name},
               "steps": steps, "trajectory": trajectory}
        for name, steps, trajectory in (("a", 250, "x"), ("b", 500, "x"), ("c", 1500, "x"), ("other", 500, "y"))
    }  # fmt: skip
    (tmp_path / "eyes").mkdir()
    overview = {"format_version": 1, "study": "eyes", "slices": [], "variants": variants}
    (tmp_path / "eyes" / "study.json").write_text(json.dumps(overview))
    for name, error, score in (("a", 8.0, 0.9), ("b", 7.0, 0.8), ("c", 6.8, 0.85), ("other", 1.0, 0.1)):
        _write_result(tmp_path / "eyes", name, 3, error)
        path = tmp_path / "eyes" / f"{name}-3-inductive.json"
        found = json.loads(path.read_text())
        path.write_text(json.dumps({**found, "scores": {**found["scores"], "score": score}}))
    (outcome,) = read_outcomes(tmp_path)
    (choice,) = outcome.choices("inductive")
    assert (choice.seed, choice.chosen, choice.best, choice.error, choice.least) == (3, 500, 1500, 7.0, 6.8)
    assert row(dict(all_tables(outcome))["eyes inductive checkpoints"], "3")[-1] == "+3%"


def test_arms_that_differ_in_steps_alone_are_one_training(values: dict[str, Any], tmp_path: Path) -> None:
    values["adaptations"] = {
        **values["adaptations"],
        "longer": {"overrides": {"steps": 4}},
        "other": {"overrides": {"steps": 4, "self_regularization_weight": 7}},
    }
    variants = {name: {"adaptation": name} for name in ("ours", "longer", "other", "histogram")}
    values["variants"] = {"raw": {}, **variants}
    plan = Plan(Study("tiny", tmp_path, StudyConfiguration.model_validate(values)), "target")
    assert plan.trajectory("ours") == plan.trajectory("longer") != plan.trajectory("other")
    assert [plan.steps(name) for name in values["variants"]] == [None, 2, 4, 4, None]
    assert plan.trajectory("raw") is plan.trajectory("histogram") is None


def test_results_of_an_arm_that_was_changed_are_left_out(outcomes: Path) -> None:
    _write_result(outcomes / "eyes", "raw", 1, 99.0, design="an older one")
    (outcome,) = read_outcomes(outcomes)
    assert outcome.errors("raw", "inductive") == {0: 9.0, 2: 11.0}
    difference = outcome.difference("refined", "raw", "inductive")
    assert difference is not None
    assert difference.seeds == 2


def test_hurting_and_unresolved_differences_are_said(outcomes: Path) -> None:
    for seed, error in enumerate([10.0, 11.1, 11.9]):
        _write_result(outcomes / "eyes", "refined", seed, error)
    for seed, error in enumerate([8.0, 12.0, 10.0]):
        _write_result(outcomes / "eyes", "few", seed, error)
    (outcome,) = read_outcomes(outcomes)
    said = [outcome.difference(variant, "raw", "inductive") for variant in ("refined", "few")]
    assert [difference and difference.verdict for difference in said] == ["hurts", "not resolved"]


def test_pictures_show_every_arm_that_was_run(outcomes: Path) -> None:
    (outcome,) = read_outcomes(outcomes)
    dots, curve = error_dots(outcome, "inductive"), photograph_curve(outcome, "inductive")
    assert all(f">{variant}</text>" in dots for variant in ("raw", "refined", "few"))
    assert "later" not in dots
    assert dots.count('r="2"') == 7
    assert dots.count("<path") == 3  # raw's interval goes on at both ends, refined's at the lower
    assert ">25</text>" in curve
    assert ">700</text>" in curve
    assert not any(word in dots + curve for word in ("nan", "inf<"))


def test_a_page_is_begun_where_there_is_none(outcomes: Path) -> None:
    page = outcomes.with_suffix(".md")
    _, unused = write_page(outcomes, page)
    assert unused == []
    assert page.read_text().count("<!-- table:") == 7


def test_the_probe_of_one_step_has_a_table(outcomes: Path) -> None:
    rise = {"0": {"mean": 8.5, "low": 7.4, "high": 9.7}, "2": {"mean": 12.9, "low": 11.4, "high": 14.3}}
    (outcomes / PROBE).write_text(json.dumps({"levels": [0, 2], "errors": {"raw": rise}}))
    page = outcomes.with_suffix(".md")
    page.write_text("<!-- table: fgsm -->\n<!-- end -->\n")
    write_page(outcomes, page)
    assert "| `raw` | 8.50 [7.40, 9.70] | 12.90 [11.40, 14.30] |" in page.read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!-- table: other -->\n<!-- end -->", "asks for the table other; there are one"),
        ("<!-- table: one -->\n<!-- table: one -->\n<!-- end -->", "one is not ended"),
        ("<!-- table: one -->\n", "tables that are not ended"),
    ],
)
def test_faulty_markers_are_named(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        fill_tables(text, {"one": "| 1 |"}, "page.md")


def test_without_results_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds study\.json"):
        read_outcomes(tmp_path)
