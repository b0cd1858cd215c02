"""Stages: the functions that make each product. A stage writes into its product's folder and returns metrics.

Training and rendering resume after a kill. The other stages take seconds and start again.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from refiner.config.training import TrainingConfiguration
from refiner.core.files import write_text
from refiner.core.rng import numpy_generator
from refiner.data.output.records_writer import write_store as write_synthetic
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters
from refiner.gaze.bias_correction import save_corrected
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.matching import draw_like, known_angles
from refiner.gaze.networks.file import load_estimator
from refiner.gaze.prediction import GazeEstimator
from refiner.gaze.training.train import train_estimator
from refiner.images.arrays import equalize
from refiner.models.files.lookup import REFINER_FILE
from refiner.runs.folder import ESTIMATOR_FILE
from refiner.training.train import train
from tools.study.products.adaptations import equalized_images, matched_images, refined_images
from tools.study.products.real_images import (
    make_labelled,
    make_real,
    make_target,
    make_unlabelled,
    seen_images,
)
from tools.study.products.scores import measure_scores
from tools.study.products.stores import (
    IMAGES_FILE,
    open_images,
    read_label,
    read_pixels,
    write_changed,
    write_permuted,
    write_store,
)
from tools.study.results import PARAMETERS_FILE, write_result
from tools.study.tasks import Place, Task, input_folders, write_done

Metrics = dict[str, Any]


def perform(task: Task, place: Place) -> float:
    """Make a product and mark it as finished; return the seconds it took."""
    start = time.perf_counter()
    metrics = STAGES[task.stage](task, place)
    seconds = time.perf_counter() - start
    write_done(task, place.out, metrics, seconds)
    shutil.rmtree(
        task.folder(place.out) / "run" / "checkpoints", ignore_errors=True
    )  # tens of megabytes, not needed again
    return seconds


# --- renders -------------------------------------------------------------------------------------------------------


def make_calibration(task: Task, place: Place) -> Metrics:
    """Fit the renderer's ranges to real images."""
    from refiner.eyes.calibration import calibrate

    base = EyeParameters.model_validate(task.settings["parameters"])
    real = read_pixels(input_folders(task, place)["real"])
    fit = calibrate(real, base, keep=task.settings["keep"])
    write_text(task.folder(place.out) / PARAMETERS_FILE, fit.parameters.model_dump_json(indent=1) + "\n")
    return {"likeness": fit.likeness}


def make_synthetic(task: Task, place: Place) -> Metrics:
    """Render labelled eyes, equalized if the real images are."""
    settings, folder = task.settings, task.folder(place.out)
    values = settings.get("parameters")
    if values is None:
        values = json.loads((input_folders(task, place)["calibration"] / PARAMETERS_FILE).read_text(encoding="utf-8"))
    parameters = EyeParameters.model_validate(values)
    height, width = settings["size"]

    def records(first: int, end: int) -> Any:
        for record in rendered_records(parameters, end, seed=settings["seed"], size=(height, width), first=first):
            yield replace(record, image=equalize(record.image)) if settings["equalize"] else record

    write_synthetic(
        folder / IMAGES_FILE,
        records,
        settings["count"],
        job=task.digest,
        overwrite=False,
        report=lambda done, total: None,
    )
    write_text(folder / PARAMETERS_FILE, parameters.model_dump_json(indent=1) + "\n")
    return {}


def make_gaze_matched(task: Task, place: Place) -> Metrics:
    """Choose renders whose gaze, and head pose if the estimator takes it, is distributed as in the real images."""
    inputs, seed = input_folders(task, place), task.settings["draw"]
    estimator = GazeEstimator.load(inputs["estimator"] / "run", device=place.device)
    real = seen_images(task, place, head_pose=bool(estimator.head_pose))
    synthetic = open_images(inputs["synthetic"])
    gaze, head_pose = (read_label(inputs["synthetic"], name) for name in ("gaze", "head_pose"))
    assert gaze is not None
    chosen = draw_like(
        known_angles(estimator, gaze, head_pose),
        known_angles(estimator, estimator.predict(real), real.head_pose),
        numpy_generator(seed, "drawn"),
    )
    write_store(
        task.folder(place.out), [synthetic.read(synthetic.ids[number]) for number in chosen], source="synthetic"
    )
    return {"images": len(chosen)}


# --- adaptation ----------------------------------------------------------------------------------------------------


def make_refiner(task: Task, place: Place) -> Metrics:
    """Train a refiner in a run folder, or fit one that trains no network; resumes from its checkpoint."""
    inputs = input_folders(task, place)
    data: dict[str, Any] = {name: str((inputs[name] / IMAGES_FILE).resolve()) for name in ("synthetic", "real")}
    guides = [str((folder / "run").resolve()) for role, folder in inputs.items() if role.startswith("estimator")]
    if guides:
        data["estimator"] = guides if len(guides) > 1 else guides[0]
    configuration = TrainingConfiguration.model_validate({**task.settings["configuration"], "data": data})
    run = task.folder(place.out) / "run"
    train(configuration, run, device=place.device)
    return {"steps": configuration.total_steps}


def make_refined(task: Task, place: Place) -> Metrics:
    """Refine the renders with the refiner that was trained on them."""
    inputs = input_folders(task, place)
    images = refined_images(read_pixels(inputs["synthetic"]), inputs["refiner"] / "run", device=place.device)
    _write_adapted(task, place, images)
    return {}


def make_transformed(task: Task, place: Place) -> Metrics:
    """Match each render to a random real image."""
    inputs, settings = input_folders(task, place), task.settings
    images = matched_images(
        read_pixels(inputs["synthetic"]),
        read_pixels(inputs["real"]),
        method=settings["method"],
        arguments=settings["arguments"],
        seed=settings["seed"],
    )
    _write_adapted(task, place, images)
    return {}


def _write_adapted(task: Task, place: Place, images: Any) -> None:
    """Write the renders with new pixels, equalized again if the test images are."""
    changed = equalized_images(images) if task.settings["equalize"] else images
    write_changed(task.folder(place.out), input_folders(task, place)["synthetic"], changed)


def make_permuted(task: Task, place: Place) -> Metrics:
    """Shuffle the gaze of the images, so that only its mean can be learnt."""
    rng = numpy_generator(task.settings["seed"], "permuted-labels")
    write_permuted(task.folder(place.out), input_folders(task, place)["images"], rng)
    return {}


# --- estimator, scores, result -------------------------------------------------------------------------------------


def make_estimator(task: Task, place: Place) -> Metrics:
    """Train a gaze estimator in a run folder; resumes from its checkpoint."""
    settings, inputs = dict(task.settings["configuration"]), input_folders(task, place)
    images = (inputs["images"] / IMAGES_FILE).resolve()
    settings["data"] = {**settings.get("data", {}), "train": [str(images)]}
    if "unlabelled" in inputs:
        settings["data"]["unlabelled"] = [str((inputs["unlabelled"] / IMAGES_FILE).resolve())]
    if "refiner" in inputs:
        refiner = (inputs["refiner"] / "run" / REFINER_FILE).resolve()
        settings["augmentation"] = {**settings["augmentation"], "refiner": str(refiner)}
    run = task.folder(place.out) / "run"
    train_estimator(GazeConfiguration.model_validate(settings), run, device=place.device)
    return {}


def make_corrected(task: Task, place: Place) -> Metrics:
    """Correct an estimator so that its mean answer over the real images is the mean of its training labels."""
    run = task.folder(place.out) / "run"
    run.mkdir(parents=True, exist_ok=True)
    file = load_estimator(input_folders(task, place)["estimator"] / "run")
    estimator = GazeEstimator(file, device=place.device)
    answers = estimator.predict(seen_images(task, place, head_pose=bool(estimator.head_pose)))
    return {"shift_degrees": np.degrees(save_corrected(run / ESTIMATOR_FILE, file, answers)).tolist()}


def make_scores(task: Task, place: Place) -> Metrics:
    """Measure the label-free scores of adapted renders."""
    inputs = input_folders(task, place)
    synthetic, adapted, real = (read_pixels(inputs[name]) for name in ("synthetic", "adapted", "real"))
    scores = measure_scores(synthetic, adapted, real, read_label(inputs["synthetic"], "pupil"), **task.settings)
    return asdict(scores)


STAGES: dict[str, Callable[[Task, Place], Metrics]] = {
    "target": make_target,
    "real": make_real,
    "labelled": make_labelled,
    "unlabelled": make_unlabelled,
    "calibration": make_calibration,
    "synthetic": make_synthetic,
    "gaze_matched": make_gaze_matched,
    "refiner": make_refiner,
    "refined": make_refined,
    "transformed": make_transformed,
    "permuted": make_permuted,
    "estimator": make_estimator,
    "corrected": make_corrected,
    "scores": make_scores,
    "result": write_result,
}
