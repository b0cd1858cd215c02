"""Results: a JSON file for each variant, seed and protocol while a study runs, then one file of all of them."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.devices import resolve_device
from refiner.core.environment import environment
from refiner.core.files import write_text
from refiner.eyes.scene.parameters import EyeParameters
from refiner.gaze.networks.file import member_paths
from refiner.models.files.lookup import REFINER_FILE
from refiner.runs.folder import ESTIMATOR_FILE
from tools.study.configuration import Study
from tools.study.plan import Plan
from tools.study.products.accuracy import Predictions, accuracy_metrics, predictions
from tools.study.results_file import Key, read_results_file, result_key, write_results_file
from tools.study.tasks import Place, Task, read_done

PARAMETERS_FILE = "parameters.json"
"""Ranges that renders were drawn from, in the folder of the renders."""

SINGLE_RESULTS = "results"
"""Folder below a study's OUT, with a file for each result."""

SCORES = ("c2st_accuracy", "drift", "drift_distance", "distance", "synthetic_distance", "score")
"""Label-free scores that a result keeps."""

ANSWERS = 100
"""Number of predictions that a result keeps, spread evenly over the test images, to compare estimators. Of a half it is
about this number."""


class FinishedResults:
    """The results that a study already has: those of its results file, and single ones that were not collected yet."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._collected: dict[Key, dict[str, Any]] = {}
        if place.results.exists():
            self._collected = read_results_file(place.results).results

    def has(self, task: Task) -> bool:
        """Check whether a product is finished. A result counts wherever it was computed, if its digest is right."""
        if task.stage != "result":
            return read_done(task, self.place.out) is not None
        collected = self._collected.get(result_key(task.settings))
        if collected is not None and collected["digest"] == task.digest:
            return True
        single = read_single(_single_file(self.place, task.settings))
        return single is not None and single.get("digest") == task.digest


def collect_results(study: Study, plan: Plan, place: Place) -> None:
    """Write the results file: the results it had, and the single ones.

    A single result replaces a collected one, unless only the collected one follows from the present configuration.
    """
    overview = study_overview(study, plan)
    results = read_results_file(place.results).results if place.results.exists() else {}
    for path in sorted((place.out / SINGLE_RESULTS).glob("*.json")):
        single = read_single(path)
        if single is None:
            continue
        collected = results.get(result_key(single))
        if collected is None or _is_current(single, overview) or not _is_current(collected, overview):
            results[result_key(single)] = single
    write_results_file(place.results, overview, results.values())


def _is_current(result: dict[str, Any], overview: dict[str, Any]) -> bool:
    designs = overview["variants"].get(result["variant"], {}).get("designs", {})
    return bool(designs.get(result["protocol"]) == result["design"])


def read_single(path: Path) -> dict[str, Any] | None:
    """Read a single result; None if there is no readable one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def study_overview(study: Study, plan: Plan) -> dict[str, Any]:
    """Return what tables need to know of a study: its variants, and the designs of their current results."""
    configuration = study.configuration
    variants = {
        name: {
            "about": variant.about,
            "against": configuration.against if variant.against is None else variant.against,
            "real_count": variant.real_count,
            "family": plan.family(name),
            "steps": plan.steps(name),
            "trajectory": plan.trajectory(name),
            "designs": {protocol: plan.design(name, protocol) for protocol in plan.protocols(name)},
        }
        for name, variant in configuration.variants.items()
    }
    return {
        "study": study.name,
        "configuration": study.digest(),
        "slices": list(configuration.target.slices),
        "variants": variants,
    }


def write_result(task: Task, place: Place) -> dict[str, Any]:
    """Test the estimators of a variant, and write the result and the models."""
    # Predict on the test images.
    settings = task.settings
    folders = {role: needed.folder(place.out) for role, needed in task.inputs.items()}
    tests, group = settings["tests"], settings["group"]
    runs = {role: folders[role] / "run" for role in tests}
    split = settings.get("split", 0)
    tested = predictions(folders["target"], runs, tests, group=group, split=split, device=place.device)
    # Gather metrics, and what the inputs have noted.
    scores = _noted(task, place, "scores")
    result = {
        **{key: settings[key] for key in ("variant", "seed", "protocol")},
        "digest": task.digest,
        "design": settings["design"],
        **accuracy_metrics(tested, group=group, slices=settings["slices"]),
        "real_count": _noted(task, place, "real").get("images", 0),
        "scores": {key: scores[key] for key in SCORES if key in scores},
        "answers": _answers(tested),
        "seconds": _seconds(task, place),
        "settings": _settings(task, folders),
        "environment": _environment(place),
    }
    # Keep the models, and write the result last.
    models = place.out / "models" / result_name(settings)
    models.mkdir(parents=True, exist_ok=True)
    for role, run in runs.items():
        for number, path in enumerate(member_paths(run), 1):
            name = role if number == 1 else f"{role}_{number}"
            shutil.copyfile(path if path.is_file() else path / ESTIMATOR_FILE, models / f"{name}.safetensors")
    if "adapted" in task.inputs and "refiner" in task.inputs["adapted"].inputs:
        refiner = task.inputs["adapted"].inputs["refiner"].folder(place.out)
        shutil.copyfile(refiner / "run" / REFINER_FILE, models / REFINER_FILE)
    write_text(_single_file(place, settings), json.dumps(_rounded(result), indent=1) + "\n")
    return {}


def result_name(settings: Mapping[str, Any]) -> str:
    """Return the name of the file of a result, and of the folder of its models."""
    return "{variant}-{seed}-{protocol}".format(**settings)


def _single_file(place: Place, settings: Mapping[str, Any]) -> Path:
    return place.out / SINGLE_RESULTS / f"{result_name(settings)}.json"


def _environment(place: Place) -> dict[str, Any]:
    """Return the processor, the versions, and the devices of the networks if they are not the processor."""
    found = environment()
    used = {"devices": found["devices"]} if resolve_device(place.device) == "cuda" else {}
    return {"processor": found["processor"], "versions": found["versions"], **used}


def _answers(tested: Predictions) -> dict[str, str]:
    """Return pitch and yaw of some predictions, in degrees, a line each; of a half, also the numbers of the images.

    The numbers show which images two halves have in common.
    """
    count = len(tested.numbers)
    places, images = np.linspace(0, count - 1, min(ANSWERS, count)).astype(int), {}
    if count < tested.whole:
        spread = np.linspace(0, tested.whole - 1, min(2 * ANSWERS, tested.whole)).astype(int)
        places = np.flatnonzero(np.isin(tested.numbers, spread))
        images = {"images": " ".join(map(str, np.asarray(tested.numbers)[places]))}
    lines = zip(("pitch", "yaw"), np.degrees(tested.predicted[places]).T, strict=True)
    return {name: " ".join(f"{value:.1f}" for value in line) for name, line in lines} | images


def _noted(task: Task, place: Place, role: str) -> dict[str, Any]:
    """Return the note of an input; empty if the variant has no such input."""
    return (read_done(task.inputs[role], place.out) or {}) if role in task.inputs else {}


def _seconds(task: Task, place: Place) -> dict[str, float]:
    """Return the seconds of each stage; those of a stage that was killed count from its last start."""
    total: dict[str, float] = {}
    for needed in task.ancestors().values():
        done = read_done(needed, place.out) or {}
        total[needed.stage] = total.get(needed.stage, 0) + done.get("seconds", 0)
    return {stage: round(seconds, 1) for stage, seconds in total.items()}


def _settings(task: Task, folders: Mapping[str, Path]) -> dict[str, Any]:
    """Return the settings of every stage, and the ranges of the renderer that are not its defaults."""
    settings = stage_settings(task)
    if "synthetic" in folders:
        text = (folders["synthetic"] / PARAMETERS_FILE).read_text(encoding="utf-8")
        parameters = EyeParameters.model_validate_json(text).model_dump(mode="json", exclude_defaults=True)
        settings["synthetic"]["parameters"] = parameters
    return settings


def stage_settings(task: Task) -> dict[str, Any]:
    """Return the settings of every stage that a result follows from; calibration is in the renderer's ranges."""
    settings = {needed.stage: dict(needed.settings) for needed in task.ancestors().values()}
    if "synthetic" in settings:
        settings.pop("calibration", None)
    return settings


def _rounded(value: Any) -> Any:
    """Round floats to six digits, which is enough for all tables."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
