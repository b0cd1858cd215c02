"""Everything at once on rendered eyes, without a download: render, train, refine, measure.

The "photographs" come from a stand-in camera: eyes of other people, of other geometry and texture, behind a
softer, noisier camera than the renders. They are unlabelled in training; the labels that the stand-in knows are
used for the test alone, on people that training has not seen.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refiner.config.training import TrainingConfiguration
from refiner.core.errors import OutputError
from refiner.core.files import write_text
from refiner.data.domains import load_domain
from refiner.data.labels.angles import angular_error_degrees
from refiner.data.labels.records import Record, column_values
from refiner.data.labels.tables import LABELS_FILE, read_labels
from refiner.data.output.records_writer import write_folder
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters, LightRanges, OpticsRanges, SkinRanges
from refiner.eyes.target_camera import TargetCamera, target_parameters
from refiner.gaze.networks.fit import fit_estimator, predict_gaze
from refiner.images.arrays import contact_sheet, to_planes, to_uint8
from refiner.images.io import Image, write_image
from refiner.images.registration import measure_drift
from refiner.inference.refine import refine_path
from refiner.metrics.intervals import Interval, seed_interval
from refiner.training.train import train

Report = Callable[[str, int, int], None]
"""Told the stage, and how many of how many are done."""

SIZE = (36, 60)
"""Height and width of the eyes."""

SEEDS = (0, 1, 2, 3, 4)
"""Seeds of the gaze estimators."""

VIEWS = 4
"""Views of a person in the demo: many people teach more than many views."""


@dataclass(frozen=True)
class Scale:
    """How much work a demo is."""

    synthetic: int
    real: int
    test_images: int
    training_steps: int
    estimator_steps: int


SHORT = Scale(synthetic=3000, real=1500, test_images=1000, training_steps=700, estimator_steps=400)
LONG = Scale(synthetic=8000, real=4000, test_images=2000, training_steps=3000, estimator_steps=1000)


@dataclass(frozen=True)
class Outcome:
    """What came out.

    Attributes:
        raw, refined: mean angular error on test photographs, degrees, over estimator seeds.
        gain: raw minus refined, paired by seed.
        baseline: error of always predicting the mean gaze of the renders.
        pupil_vector: mean shift (x, y) of the pupils by refining, in pixels.
        pupil_distance: mean length of that shift.
        pupil_noise: the same length where nothing moved: renders against renders through the camera.
    """

    raw: Interval
    refined: Interval
    gain: Interval
    baseline: float
    pupil_vector: tuple[float, float]
    pupil_distance: float
    pupil_noise: float


def clean_renderer() -> EyeParameters:
    """Eyes as renderers make them: sharp, well lit, exposed alike; the defaults vary all that already."""
    return EyeParameters(
        images_per_person=VIEWS,
        skin=SkinRanges(luminance=(0.45, 0.8)),
        light=LightRanges(
            direct=(0.5, 0.8), ambient=(0.5, 0.7), elevation_degrees=(20.0, 60.0), azimuth_degrees=(-40.0, 40.0)
        ),
        optics=OpticsRanges(blur_mm=(0.1, 0.2), exposure=(0.95, 1.1), contrast=(1.0, 1.1)),
    )


def demo_configuration(out: Path, scale: Scale, seed: int) -> TrainingConfiguration:
    """The recipe of the demo: a half-resolution refiner that trains in a minute on two cores."""
    return TrainingConfiguration.model_validate(
        {
            **RECIPE,
            "seed": seed,
            "steps": scale.training_steps,
            # The gap in exposure, which the pre-flight would name, is what the demo is about.
            "data": {"synthetic": out / "synthetic", "real": out / "real", "preflight": "skip"},
        }
    )


RECIPE: dict[str, Any] = {
    "batch_size": 16,
    "self_regularization_weight": 4.0,
    "history_size": 2000,
    "ema_decay": 0.98,
    "log_every": 25,
    "sample_every": 200,
    "checkpoint_every": 100,
    "refiner": {"features": 32, "blocks": 4, "unshuffle": 2, "output": "residual"},
    "pretraining": {"refiner_steps": 0, "discriminator_steps": 50},
    "refiner_optimizer": {"learning_rate": 1e-3},
    "discriminator_optimizer": {"learning_rate": 1e-3},
}
"""Training settings of the demo; ``configs/demo.yaml`` holds the same."""


def run_demo(out: Path, *, long: bool, seed: int, device: str, report: Report) -> Outcome:
    """Run the demo, or go on where it was stopped.

    Args:
        out: folder of everything it makes.
        long: take half an hour instead of two minutes, for a better result.
        seed: everything follows from it.
        device: ``auto``, ``cpu`` or ``cuda``.
        report: told about the progress.

    Raises:
        OutputError: ``out`` holds something else, or a demo with other settings.
    """
    scale = LONG if long else SHORT
    claim(out, {"seed": seed, **asdict(scale)})
    camera = TargetCamera(seed)
    eyes, people = clean_renderer(), target_parameters().model_copy(update={"images_per_person": VIEWS})
    _render(out / "synthetic", eyes, scale.synthetic, 3 * seed, None, report)
    _render(out / "real", people, scale.real, 3 * seed + 1, camera, report)
    _render(out / "test", people, scale.test_images, 3 * seed + 2, camera, report)
    configuration = demo_configuration(out, scale, seed)
    train(configuration, out / "run", device=device, report=lambda step, steps, _: report("training", step, steps))
    refine_path(
        out / "synthetic",
        out / "refined",
        out / "run",
        device=device,
        report=lambda done, total: report("refining", done, total),
    )
    write_sheet(out)
    outcome = measure(out, scale, camera, report)
    write_text(out / "outcome.json", json.dumps(asdict(outcome) | {"seed": seed, "scale": asdict(scale)}, indent=2))
    return outcome


def claim(out: Path, settings: dict[str, Any]) -> None:
    """Make ``out`` the folder of a demo, or find it that of one with the same settings.

    Raises:
        OutputError: it holds something else.
    """
    file, text = out / "demo.json", json.dumps(settings)
    if file.exists():
        if file.read_text(encoding="utf-8") != text:
            raise OutputError(f"{out}: holds a demo with other settings; choose another folder")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: is there already and holds no demo; choose another folder")
    else:
        write_text(file, text)


def _render(
    folder: Path, eyes: EyeParameters, count: int, seed: int, camera: TargetCamera | None, report: Report
) -> None:
    records = rendered_records(eyes, count, seed=seed, camera=camera)
    write_records(folder, records, count, "rendering" if camera is None else "photographing", report)


def write_records(folder: Path, records: Iterator[Record], count: int, what: str, report: Report) -> None:
    """Write a folder unless it is whole, which its labels, written last, tell."""
    if (folder / LABELS_FILE).exists():
        return
    for leftover in folder.glob("*.png"):
        leftover.unlink()
    write_folder(folder, records, count, labelled=True, report=lambda done, total: report(what, done, total))


def write_sheet(
    out: Path, size: tuple[int, int] = SIZE, *, columns: int = 10, pairs: int = 3, views: int = VIEWS
) -> Path:
    """Write ``before_after.png``: rows of renders, each above the same refined, then photographs.

    Args:
        out: folder of the demo.
        size: (height, width) of the images.
        columns, pairs: images in a row, and rows of renders.
        views: images of one person, of which one is shown.
    """
    synthetic, refined, real = (read_all(out / name, size) for name in ("synthetic", "refined", "real"))
    rows: list[list[Image]] = []
    for pair in range(pairs):
        chosen = slice(pair * columns * views, (pair + 1) * columns * views, views)
        rows += [[to_uint8(image) for image in images[chosen].numpy()] for images in (synthetic, refined)]
    for row in range(2):
        chosen = slice(row * columns * views, (row + 1) * columns * views, views)
        rows.append([to_uint8(image) for image in real[chosen].numpy()])
    path = out / "before_after.png"
    write_image(path, contact_sheet(rows, scale=2))
    return path


def measure(out: Path, scale: Scale, camera: TargetCamera, report: Report) -> Outcome:
    """Train gaze estimators on raw and on refined renders, test them on the stand-in's photographs."""
    images = {name: read_all(out / name, SIZE) for name in ("synthetic", "refined", "test")}
    labels = {name: read_labels(out / name / LABELS_FILE) for name in ("synthetic", "test")}
    gaze = {name: _column(labels[name].values(), "gaze") for name in labels}
    errors: dict[str, list[float]] = {"synthetic": [], "refined": []}
    for done, seed in enumerate(SEEDS):
        for name in errors:
            report("estimating", 2 * done + (name == "refined"), 2 * len(SEEDS))
            estimator = fit_estimator(images[name], gaze["synthetic"], steps=scale.estimator_steps, seed=seed)
            predicted = predict_gaze(estimator, images["test"])
            errors[name].append(float(angular_error_degrees(predicted, gaze["test"]).mean()))
    report("estimating", 2 * len(SEEDS), 2 * len(SEEDS))
    mean = np.broadcast_to(gaze["synthetic"].mean(axis=0), gaze["test"].shape)
    pupils = _column(labels["synthetic"].values(), "pupil")
    drift = measure_drift(images["synthetic"], images["refined"], pupils)
    still = measure_drift(images["synthetic"], _photographed(images["synthetic"], camera), pupils)
    return Outcome(
        raw=seed_interval(errors["synthetic"]),
        refined=seed_interval(errors["refined"]),
        gain=seed_interval([a - b for a, b in zip(errors["synthetic"], errors["refined"], strict=True)]),
        baseline=float(angular_error_degrees(mean, gaze["test"]).mean()),
        pupil_vector=drift.vector,
        pupil_distance=drift.distance,
        pupil_noise=still.distance,
    )


def _photographed(images: Tensor, camera: TargetCamera) -> Tensor:
    """Each image through the stand-in camera, which moves nothing."""
    taken = [to_planes(camera(to_uint8(image), number), 1) for number, image in enumerate(images.numpy())]
    return torch.from_numpy(np.stack(taken))


def read_all(folder: Path, size: tuple[int, int]) -> Tensor:
    """All images of a folder, (N, 1, H, W), in [-1, 1]."""
    domain = load_domain(folder, key=folder.name, size=size, channels=1)
    return domain.batch(torch.arange(len(domain)).numpy())


def _column(labels: Any, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = column_values(labels, name)
    assert values is not None, f"rendered eyes have {name}"
    return values


def table(outcome: Outcome, scale_note: str) -> Sequence[tuple[str, str]]:
    """Rows of the summary: what, and its figure."""
    return (
        ("gaze error, trained on raw renders", f"{outcome.raw} degrees"),
        ("gaze error, trained on refined renders", f"{outcome.refined} degrees"),
        ("gain of refining, paired by seed", f"{outcome.gain} degrees"),
        ("gaze error of predicting the mean", f"{outcome.baseline:.2f} degrees"),
        ("pupil moved by refining, mean (x, y)", "({:+.2f}, {:+.2f}) px".format(*outcome.pupil_vector)),
        ("pupil moved by refining, mean distance", f"{outcome.pupil_distance:.2f} px"),
        ("the same by the stand-in camera alone", f"{outcome.pupil_noise:.2f} px"),
        ("tested on", scale_note),
    )
