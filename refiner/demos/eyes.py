"""The demo on rendered eyes, without a download: render, train a refiner, refine, measure.

The "real" images come from the simulated target camera. They show other people, with other geometry and texture, and
are softer and noisier than the renders. Training does not read their labels. Only the test does, on people unseen in
training.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refiner.data.drift.scores import measure_drift
from refiner.data.labels.angles import angular_error_degrees
from refiner.demos.common import (
    Report,
    claim,
    read_column,
    read_images,
    train_refiner,
    write_outcome,
    write_records,
    write_sheet,
)
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters, LightRanges, OpticsRanges, SkinRanges
from refiner.eyes.target_camera import TargetCamera, target_parameters
from refiner.gaze.networks.fit import fit_estimator, predict_gaze
from refiner.images.arrays import to_planes, to_uint8
from refiner.inference.jobs.refine import refine_path
from refiner.metrics.intervals import Interval, seed_interval

SIZE = (36, 60)
"""Height and width of the images."""

SEEDS = (0, 1, 2, 3, 4)
"""Seeds of the gaze estimators."""

VIEWS = 4
"""Views of a person in the demo. Many people teach an estimator more than many views."""


@dataclass(frozen=True)
class Scale:
    """Numbers of images and training steps of a demo."""

    synthetic: int
    real: int
    test_images: int
    training_steps: int
    estimator_steps: int


SHORT = Scale(synthetic=3000, real=1500, test_images=1000, training_steps=700, estimator_steps=400)
"""Scale of the demo: two minutes on two cores."""
LONG = Scale(synthetic=8000, real=4000, test_images=2000, training_steps=3000, estimator_steps=1000)
"""Scale of the demo with ``--long``: half an hour."""

RECIPE: dict[str, Any] = {
    "batch_size": 16,
    "self_regularization_weight": 4.0,
    "history_size": 2000,
    "ema_decay": 0.98,
    "log_every": 25,
    "sample_every": 200,
    "checkpoint_every": 100,
    "adaptation": "histogram",
    "histogram": {"camera": True},
    "refiner": {"features": 32, "blocks": 4, "unshuffle": 2, "output": "residual", "smooth_change": True},
    "pretraining": {"refiner_steps": 0, "discriminator_steps": 50},
    "refiner_optimizer": {"learning_rate": 1e-3},
    "discriminator_optimizer": {"learning_rate": 1e-3},
}
"""Training settings of the demo: tone, blur and noise of real images, then a half-resolution network that trains in a
minute on two cores.

``configs/demo.yaml`` holds the same settings.
"""


@dataclass(frozen=True)
class Outcome:
    """Metrics of the demo.

    Attributes:
        raw, refined: mean angular error on test images, degrees, of estimators trained on raw and on refined renders,
            over the estimators' seeds.
        gain: raw minus refined, paired by seed.
        baseline: error of always predicting the mean gaze of the renders, degrees.
        pupil_vector: mean shift (x, y) of the pupils by refining, in pixels.
        pupil_distance: mean length of that shift, in pixels.
        pupil_noise: mean length of the shift that is measured if nothing moves: between renders and the images that the
            simulated target camera takes of them.
    """

    raw: Interval
    refined: Interval
    gain: Interval
    baseline: float
    pupil_vector: tuple[float, float]
    pupil_distance: float
    pupil_noise: float


def clean_renderer() -> EyeParameters:
    """Return ranges of sharp, well-lit and evenly exposed eyes, as most renderers make them."""
    return EyeParameters(
        images_per_person=VIEWS,
        skin=SkinRanges(luminance=(0.45, 0.8)),
        light=LightRanges(
            direct=(0.5, 0.8), ambient=(0.5, 0.7), elevation_degrees=(20.0, 60.0), azimuth_degrees=(-40.0, 40.0)
        ),
        optics=OpticsRanges(blur_mm=(0.1, 0.2), exposure=(0.95, 1.1), contrast=(1.0, 1.1)),
    )


def run_demo(out: Path, *, long: bool, seed: int, device: str, report: Report) -> Outcome:
    """Run the demo on eyes, or resume it.

    Args:
        out: output folder.
        long: use :data:`LONG` instead of :data:`SHORT`, for a better result.
        seed: seed of all random values.
        device: ``auto``, ``cpu`` or ``cuda``.
        report: progress callback.

    Raises:
        OutputError: ``out`` holds something else, or a demo with other settings.
    """
    scale = LONG if long else SHORT
    claim(out, {"seed": seed, **asdict(scale)})

    # Render the synthetic images, and the "real" ones for training and test.
    camera = TargetCamera(seed)
    eyes, people = clean_renderer(), target_parameters().model_copy(update={"images_per_person": VIEWS})
    _render(out / "synthetic", eyes, scale.synthetic, 3 * seed, None, report)
    _render(out / "real", people, scale.real, 3 * seed + 1, camera, report)
    _render(out / "test", people, scale.test_images, 3 * seed + 2, camera, report)

    # Train a refiner and refine the synthetic images.
    train_refiner(out, RECIPE, steps=scale.training_steps, seed=seed, device=device, report=report)
    refine_path(
        out / "synthetic",
        out / "refined",
        out / "run",
        device=device,
        report=lambda done, total: report("refining", done, total),
    )
    write_sheet(out, SIZE, views=VIEWS)

    # Measure the benefit.
    outcome = measure(out, scale, camera, report)
    write_outcome(out, outcome, seed=seed, scale=scale)
    return outcome


def _render(
    folder: Path, eyes: EyeParameters, count: int, seed: int, camera: TargetCamera | None, report: Report
) -> None:
    records = rendered_records(eyes, count, seed=seed, camera=camera)
    stage = "rendering synthetic images" if camera is None else "rendering real images"
    write_records(folder, records, count, stage, report)


def measure(out: Path, scale: Scale, camera: TargetCamera, report: Report) -> Outcome:
    """Train gaze estimators on raw and on refined renders, and test them on images of the target camera."""
    images = {name: read_images(out / name, SIZE) for name in ("synthetic", "refined", "test")}
    gaze = {name: read_column(out / name, "gaze") for name in ("synthetic", "test")}

    # Train one estimator for each kind of images and each seed.
    errors: dict[str, list[float]] = {"synthetic": [], "refined": []}
    for number, seed in enumerate(SEEDS):
        for name in errors:
            report("training estimators", 2 * number + (name == "refined"), 2 * len(SEEDS))
            estimator = fit_estimator(images[name], gaze["synthetic"], steps=scale.estimator_steps, seed=seed)
            predicted = predict_gaze(estimator, images["test"])
            errors[name].append(float(angular_error_degrees(predicted, gaze["test"]).mean()))
    report("training estimators", 2 * len(SEEDS), 2 * len(SEEDS))
    mean_gaze = np.broadcast_to(gaze["synthetic"].mean(axis=0), gaze["test"].shape)

    # Compare the positions of the pupils before and after refining, and with a camera that moves nothing.
    pupils = read_column(out / "synthetic", "pupil")
    drift = measure_drift(images["synthetic"], images["refined"], pupils)
    reference = measure_drift(images["synthetic"], _through_camera(images["synthetic"], camera), pupils)
    return Outcome(
        raw=seed_interval(errors["synthetic"]),
        refined=seed_interval(errors["refined"]),
        gain=seed_interval([a - b for a, b in zip(errors["synthetic"], errors["refined"], strict=True)]),
        baseline=float(angular_error_degrees(mean_gaze, gaze["test"]).mean()),
        pupil_vector=drift.vector,
        pupil_distance=drift.distance,
        pupil_noise=reference.distance,
    )


def _through_camera(images: Tensor, camera: TargetCamera) -> Tensor:
    """Return the images (N, 1, H, W) that the camera takes of renders."""
    taken = [to_planes(camera(to_uint8(image), number), 1) for number, image in enumerate(images.numpy())]
    return torch.from_numpy(np.stack(taken))


def table(outcome: Outcome, test_note: str) -> Sequence[tuple[str, str]]:
    """Return the rows of the printed summary: name and value."""
    return (
        ("gaze error, trained on raw renders", f"{outcome.raw} degrees"),
        ("gaze error, trained on refined renders", f"{outcome.refined} degrees"),
        ("gain of refining, paired by seed", f"{outcome.gain} degrees"),
        ("gaze error of predicting the mean", f"{outcome.baseline:.2f} degrees"),
        ("pupil moved by refining, mean (x, y)", "({:+.2f}, {:+.2f}) px".format(*outcome.pupil_vector)),
        ("pupil moved by refining, mean distance", f"{outcome.pupil_distance:.2f} px"),
        ("the same for the simulated target camera", f"{outcome.pupil_noise:.2f} px"),
        ("tested on", test_note),
    )
