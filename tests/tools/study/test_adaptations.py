"""Adaptations of renders, and the correction of estimators."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from refiner.core.errors import ConfigurationError
from refiner.core.rng import derived_seed, numpy_generator
from refiner.gaze.data import Patches, load_patches
from refiner.gaze.networks.file import load_estimator
from refiner.gaze.prediction import GazeEstimator
from tools.study.configuration import Study, StudyConfiguration
from tools.study.plan import Plan, target_digest
from tools.study.products.adaptations import matched_images
from tools.study.products.stores import open_images, read_pixels
from tools.study.schedule import run_tasks
from tools.study.tasks import missing_tasks

Fixture = Callable[..., Any]


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


@pytest.mark.parametrize("size", [(36, 60), (35, 55)])
@pytest.mark.parametrize(
    ("method", "transform", "arguments"),
    [
        ("histogram_matching", "HistogramMatching", {"blend_ratio": (1, 1)}),
        ("fourier", "FDA", {"beta_limit": (0.03, 0.1)}),
        ("fourier", "FDA", {"beta_limit": (0.3, 0.5)}),
    ],
)
def test_results_are_those_of_albumentations(
    method: str, transform: str, arguments: dict[str, Any], size: tuple[int, int]
) -> None:
    import albumentations

    rng = numpy_generator(4, "test")
    synthetic, real = (rng.normal(mean, 40, (20, 1, *size)).clip(0, 255).astype(np.uint8) for mean in (100, 150))
    library = getattr(albumentations, transform)(p=1, **arguments)
    key = {"HistogramMatching": "hm_metadata", "FDA": "fda_metadata"}[transform]
    different = 0
    matched = matched_images(synthetic, real, method=method, arguments=arguments, seed=3)
    for number, (image, ours) in enumerate(zip(synthetic[:, 0], matched[:, 0], strict=True)):
        seed = derived_seed(3, method, number)
        library.set_random_state(np.random.default_rng(seed), random.Random(seed))
        theirs = library(image=image, **{key: list(real[:, 0])})["image"]
        assert np.abs(theirs.astype(int) - ours).max() <= 1
        different += int((theirs != ours).sum())
    assert different < synthetic.size / 1000  # levels that lie on an integer but for rounding


def test_an_argument_that_is_no_range_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"fourier refuses .*beta is 3"):
        matched_images(_noise(1, 0, 9, 1), _noise(1, 0, 9, 2), method="fourier", arguments={"beta_limit": 3}, seed=0)


def test_one_adaptation_after_another(run_study: Fixture, values: dict[str, Any], tmp_path: Path) -> None:
    fourier = {"method": "fourier", "arguments": {"beta_limit": [0.3, 0.3]}}
    values["adaptations"] |= {"fourier": fourier, "both": {**fourier, "after": "ours"}}
    values["variants"] = {name: {"adaptation": name} for name in ("ours", "fourier", "both")} | {"raw": {}}
    study = Study("after", tmp_path, StudyConfiguration.model_validate(values))
    plan, place, _ = run_study(study, tmp_path / "out", ["ours", "fourier", "both"], [0])
    adapted = {}
    for result in plan.results(["ours", "fourier", "both"], [0]):
        adapted[result.settings["variant"]] = result.inputs["adapted"]
    assert adapted["both"].stage == "transformed"
    assert adapted["both"].inputs["synthetic"].digest == adapted["ours"].digest
    pixels = {name: read_pixels(task.folder(place.out)) for name, task in adapted.items()}
    assert not np.array_equal(pixels["both"], pixels["ours"])
    values["adaptations"]["more"] = {"after": "both"}
    with pytest.raises(ValueError, match=r"adaptations\.more\.after is both, which itself follows"):
        StudyConfiguration.model_validate(values)


def test_a_consistent_refiner_keeps_the_answers_of_another_estimator(
    run_study: Fixture, values: dict[str, Any], tmp_path: Path
) -> None:
    values["adaptations"]["ours"] = {"consistent": True}
    values["estimator"]["overrides"]["head_pose"] = "yaw"
    values["variants"] = {"raw": {}, "refined": {"adaptation": "ours", "protocols": ["transductive"]}}
    consistent = Study("consistent", tmp_path, StudyConfiguration.model_validate(values))
    plan, place, _ = run_study(consistent, tmp_path / "out", ["refined"], [0])
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
    run_study: Fixture, values: dict[str, Any], tmp_path: Path
) -> None:
    values["adaptations"]["ours"] = {"gaze_matched": True}
    values["estimator"]["overrides"]["head_pose"] = "yaw"
    values["variants"] = {"raw": {}, "refined": {"adaptation": "ours", "protocols": ["transductive"]}}
    matched = Study("matched", tmp_path, StudyConfiguration.model_validate(values))
    plan, place, _ = run_study(matched, tmp_path / "out", ["refined"], [0])
    (result,) = plan.results(["refined"], [0])
    refined = result.inputs["adapted"]
    drawn = refined.inputs["refiner"].inputs["synthetic"]
    assert drawn.inputs["synthetic"] == refined.inputs["synthetic"]
    estimators = [task.inputs["estimator"].settings["configuration"].get("seed", 0) for task in (drawn, result)]
    assert estimators[0] != estimators[1]
    some, every = (open_images(task.folder(place.out)) for task in (drawn, refined.inputs["synthetic"]))
    assert 0 < len(some.ids) < len(every.ids) == len(open_images(refined.folder(place.out)).ids)
    assert set(some.ids) < set(every.ids)


def test_centred_answers_have_the_mean_of_the_labels_learnt(
    place_of: Fixture, values: dict[str, Any], tmp_path: Path
) -> None:
    values["estimator"]["overrides"]["head_pose"] = "yaw"
    values["variants"] = {"raw": {}, "corrected": {"bias_corrected": True, "protocols": ["transductive"]}}
    tiny = Study("corrected", tmp_path, StudyConfiguration.model_validate(values))
    plan, place = Plan(tiny, target_digest(tiny.target())), place_of(tiny, tmp_path / "out")
    (result,) = plan.results(["corrected"], [1])
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
    with pytest.raises(ValueError, match=r"adaptations\.histogram: consistent and gaze_matched apply only to"):
        StudyConfiguration.model_validate(values)
    del values["adaptations"]["histogram"]["consistent"]
    values["variants"]["corrected"]["labels"] = "real"
    with pytest.raises(ValueError, match="real labels need no bias correction"):
        StudyConfiguration.model_validate(values)
