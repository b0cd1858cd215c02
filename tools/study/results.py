"""Results: one small JSON file for each arm, seed and protocol, and the models beside the products."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.devices import resolve_device
from refiner.core.environment import environment
from refiner.core.files import write_text
from refiner.data.labels.angles import Angles
from refiner.eyes.scene.parameters import EyeParameters
from refiner.models.lookup import REFINER_FILE
from refiner.runs.folder import ESTIMATOR_FILE
from tools.study.configuration import Study
from tools.study.plan import Plan
from tools.study.products.accuracy import accuracy_metrics, predictions
from tools.study.tasks import Place, Task, read_done

PARAMETERS_FILE = "parameters.json"
"""The ranges that renders were drawn from."""

OVERVIEW_FILE = "study.json"
"""Beside the results: the arms of the study, and the designs that its results must have."""

FORMAT_VERSION = 1

SCORES = ("c2st_accuracy", "drift", "drift_distance", "distance", "renders_distance", "score")

ANSWERS = 100
"""Tested images whose answers are kept, spread evenly: enough to say how much estimators disagree."""


def result_name(task: Task) -> str:
    """Of the file of a result, and of the folder of its models."""
    return "{arm}-{seed}-{protocol}".format(**task.settings)


def is_finished(task: Task, place: Place) -> bool:
    """Whether a product is there; a result, wherever it was computed, when it follows from the same settings."""
    if task.stage != "result":
        return read_done(task, place.out) is not None
    found = read_result(place.results / f"{result_name(task)}.json")
    return found is not None and found.get("digest") == task.digest


def read_result(path: Path) -> dict[str, Any] | None:
    """A result, None where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("format_version") == FORMAT_VERSION else None


def write_overview(study: Study, plan: Plan, results: Path) -> None:
    """Write what the study is made of beside its results, so that tables can show what was not run, and what is old."""
    configuration = study.configuration
    variants = {
        name: {
            "about": variant.about,
            "against": configuration.against if variant.against is None else variant.against,
            "real": variant.real,
            "family": plan.family(name),
            "steps": plan.steps(name),
            "trajectory": plan.trajectory(name),
            "designs": {protocol: plan.design(name, protocol) for protocol in plan.protocols(name)},
        }
        for name, variant in configuration.variants.items()
    }
    overview = {
        "format_version": FORMAT_VERSION,
        "study": study.name,
        "configuration": study.digest(),
        "slices": list(configuration.target.slices),
        "variants": variants,
    }
    write_text(results / OVERVIEW_FILE, json.dumps(overview, indent=1) + "\n")


def write_result(task: Task, place: Place) -> dict[str, Any]:
    """Test the estimators of an arm, and write the result and the models."""
    settings = task.settings
    folders = {role: needed.folder(place.out) for role, needed in task.inputs.items()}
    tests, group = settings["tests"], settings["group"]
    runs = {role: folders[role] / "run" for role in tests}
    patches, predicted, constant = predictions(folders["target"], runs, tests, group=group, device=place.device)
    scores = _noted(task, place, "scores")
    result = {
        "format_version": FORMAT_VERSION,
        "study": place.study,
        **{key: settings[key] for key in ("variant", "seed", "protocol")},
        "digest": task.digest,
        "design": settings["design"],
        "configuration": place.configuration,
        **accuracy_metrics(patches, predicted, constant, group=group, slices=settings["slices"]),
        "real": _noted(task, place, "real").get("images", 0),
        "scores": {key: scores[key] for key in SCORES if key in scores},
        "answers": _answers(predicted),
        "seconds": _seconds(task, place),
        "settings": _settings(task, folders),
        "environment": _environment(place),
    }
    models = place.out / "models" / result_name(task)
    models.mkdir(parents=True, exist_ok=True)
    for role, run in runs.items():
        shutil.copyfile(run / ESTIMATOR_FILE, models / f"{role}.safetensors")
    if "adapted" in task.inputs and "refiner" in task.inputs["adapted"].inputs:
        refiner = task.inputs["adapted"].inputs["refiner"].folder(place.out)
        shutil.copyfile(refiner / "run" / REFINER_FILE, models / REFINER_FILE)
    write_text(place.results / f"{result_name(task)}.json", json.dumps(_rounded(result), indent=1) + "\n")
    return {}


def _environment(place: Place) -> dict[str, Any]:
    """Of the machine: its processor and versions, and what networks were computed on where that is another device."""
    found = environment()
    used = {"devices": found["devices"]} if resolve_device(place.device) == "cuda" else {}
    return {"processor": found["processor"], "versions": found["versions"], **used}


def _answers(predicted: Angles) -> dict[str, str]:
    """Pitch and yaw of some answers, in degrees, a line each."""
    some = np.degrees(predicted[np.linspace(0, len(predicted) - 1, min(ANSWERS, len(predicted))).astype(int)])
    return {name: " ".join(f"{value:.1f}" for value in some[:, place]) for place, name in enumerate(("pitch", "yaw"))}


def _noted(task: Task, place: Place, role: str) -> dict[str, Any]:
    """What an input has noted of itself; nothing where the arm needs none."""
    return (read_done(task.inputs[role], place.out) or {}) if role in task.inputs else {}


def _seconds(task: Task, place: Place) -> dict[str, float]:
    """What each stage took; stages that were killed, only since then."""
    total: dict[str, float] = {}
    for needed in task.ancestors().values():
        done = read_done(needed, place.out) or {}
        total[needed.stage] = total.get(needed.stage, 0) + done.get("seconds", 0)
    return {stage: round(seconds, 1) for stage, seconds in total.items()}


def _settings(task: Task, folders: Mapping[str, Path]) -> dict[str, Any]:
    """Settings of every stage; of the renderer only what differs from its own ranges, calibrated or not."""
    settings = {needed.stage: dict(needed.settings) for needed in task.ancestors().values()}
    if "synthetic" in folders:
        text = (folders["synthetic"] / PARAMETERS_FILE).read_text(encoding="utf-8")
        parameters = EyeParameters.model_validate_json(text).model_dump(mode="json", exclude_defaults=True)
        settings["synthetic"]["parameters"] = parameters
        settings.pop("calibration", None)
    return settings


def _rounded(value: Any) -> Any:
    """Floats to six digits: enough for every table, and small files."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
