"""The demo on rendered hands: depth images, the simulated target sensor, and joints instead of pupils.

Training, refining and evaluation are the same as for eyes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refiner.data.drift.regions import LabelRegion
from refiner.data.drift.scores import score_drift
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
from refiner.evaluation.evaluate import Settings, evaluate
from refiner.hands.joint_estimator import find_joints, fit_joints, share_within
from refiner.hands.rendering import rendered_hands
from refiner.hands.skeleton import HandRanges, target_hands
from refiner.hands.target_sensor import TargetSensor
from refiner.inference.jobs.refine import refine_path
from refiner.metrics.intervals import Interval, seed_interval

SIZE = (64, 64)
"""Height and width of the images."""

SEEDS = (0, 1, 2)
"""Seeds of the joint estimators."""

EVALUATED = 1000
"""Most images of each kind that the verdict is based on."""

WITHIN = 3.0
"""Largest distance, in pixels, at which a joint counts as found: 14 mm."""


@dataclass(frozen=True)
class HandScale:
    """Numbers of images and training steps of the demo."""

    synthetic: int = 3000
    real: int = 1500
    test_images: int = 800
    training_steps: int = 600
    estimator_steps: int = 400


RECIPE: dict[str, Any] = {
    "size": list(SIZE),
    "batch_size": 16,
    "self_regularization_weight": 8.0,
    "motion_weight": 5.0,
    "history_size": 2000,
    "ema_decay": 0.99,
    "log_every": 25,
    "sample_every": 250,
    "checkpoint_every": 250,
    "refiner": {"features": 32, "blocks": 4, "unshuffle": 2, "output": "residual", "keep_background": True},
    "pretraining": {"refiner_steps": 0, "discriminator_steps": 50},
    "refiner_optimizer": {"learning_rate": 5e-4},
    "discriminator_optimizer": {"learning_rate": 5e-4},
}
"""Training settings of the demo; ``configs/hands.yaml`` holds the same, with more steps."""


@dataclass(frozen=True)
class HandOutcome:
    """Metrics of the demo.

    Attributes:
        raw, refined, real: share of the joints of test images found within :data:`WITHIN` pixels, by estimators trained
            on renders, on refined renders and on as many labelled images of the sensor, over the estimators' seeds.
        gain: refined minus raw, paired by seed.
        joints_distance: shift of the joint that refining moves most, averaged over images, in pixels.
        joints_noise: the same shift if nothing moves: between renders and the images that the sensor takes of them.
        verdict: decision of the evaluation, with its first reason.
    """

    raw: Interval
    refined: Interval
    real: Interval
    gain: Interval
    joints_distance: float
    joints_noise: float
    verdict: str


def run_hand_demo(out: Path, *, seed: int, device: str, report: Report, scale: HandScale = HandScale()) -> HandOutcome:
    """Run the demo on hands, or resume it.

    Args:
        out: output folder.
        seed: seed of all random values.
        device: ``auto``, ``cpu`` or ``cuda``.
        report: progress callback.
        scale: numbers of images and training steps.

    Raises:
        OutputError: ``out`` holds something else, or a demo with other settings.
    """
    claim(out, {"hands": True, "seed": seed, **asdict(scale)})

    # Render the synthetic images, and the "real" ones: unlabelled, labelled, and for the test.
    target_sensor = TargetSensor(seed)
    for number, (name, ranges, count, sensor) in enumerate(
        (
            ("synthetic", HandRanges(), scale.synthetic, None),
            ("real", target_hands(), scale.real, target_sensor),
            ("labelled", target_hands(), scale.synthetic, target_sensor),
            ("test", target_hands(), scale.test_images, target_sensor),
        )
    ):
        hands = rendered_hands(ranges, count, seed=4 * seed + number, size=SIZE, sensor=sensor)
        write_records(out / name, hands, count, "rendering hands", report)

    # Train a refiner and refine the synthetic images.
    train_refiner(out, RECIPE, steps=scale.training_steps, seed=seed, device=device, report=report)
    region = LabelRegion("joints")
    refine_path(out / "synthetic", out / "refined", out / "run", device=device, region=region)
    write_sheet(out, SIZE)

    # Measure the benefit.
    outcome = measure(out, scale, seed, region, report)
    write_outcome(out, outcome, seed=seed, scale=scale)
    return outcome


def measure(out: Path, scale: HandScale, seed: int, region: LabelRegion, report: Report) -> HandOutcome:
    """Train joint estimators, test them on images of the sensor, and evaluate the refiner."""
    images = {name: read_images(out / name, SIZE) for name in ("synthetic", "refined", "labelled", "test")}
    joints = {name: read_column(out / name, "joints") for name in ("synthetic", "labelled", "test")}
    joints["refined"] = joints["synthetic"]

    # Train one estimator for each kind of images and each seed.
    shares: dict[str, list[float]] = {"synthetic": [], "refined": [], "labelled": []}
    for round_, estimator_seed in enumerate(SEEDS):
        for position, name in enumerate(shares):
            report("training estimators", len(shares) * round_ + position, len(shares) * len(SEEDS))
            estimator = fit_joints(images[name], joints[name], steps=scale.estimator_steps, seed=estimator_seed)
            shares[name].append(share_within(find_joints(estimator, images["test"]), joints["test"], WITHIN))

    # Evaluate the refiner, and compare the positions of the joints with those under a sensor that moves nothing.
    report("evaluating", 0, 1)
    settings = Settings(region=region, seed=seed, device="cpu", most=EVALUATED)
    verdict = evaluate(out / "synthetic", out / "refined", out / "real", settings).verdict
    sensed = _through_sensor(scale, seed)
    return HandOutcome(
        raw=seed_interval(shares["synthetic"]),
        refined=seed_interval(shares["refined"]),
        real=seed_interval(shares["labelled"]),
        gain=seed_interval([b - a for a, b in zip(shares["synthetic"], shares["refined"], strict=True)]),
        joints_distance=_mean_shift(images["synthetic"], images["refined"], joints["synthetic"]),
        joints_noise=_mean_shift(images["synthetic"], sensed, joints["synthetic"]),
        verdict=f"{verdict.decision}: {verdict.reasons[0]}",
    )


def _mean_shift(before: Tensor, after: Tensor, joints: np.ndarray[Any, Any]) -> float:
    """Return the shift of the joint that moves most, averaged over images, in pixels."""
    return float(np.linalg.norm(score_drift(before, after, points=joints).shifts, axis=1).mean())


def _through_sensor(scale: HandScale, seed: int) -> Tensor:
    """Return the images that the sensor takes of the synthetic hands, (N, 1, H, W), in [-1, 1]."""
    hands = rendered_hands(HandRanges(), scale.synthetic, seed=4 * seed, size=SIZE, sensor=TargetSensor(seed + 1))
    levels = np.stack([record.image for record in hands])
    return torch.from_numpy(levels.astype(np.float32) / np.float32(32767.5) - 1)[:, None]


def hand_table(outcome: HandOutcome, test_note: str) -> Sequence[tuple[str, str]]:
    """Return the rows of the printed summary: name and value."""
    found = f"joints found within {WITHIN:g} px"
    return (
        (f"{found}, trained on raw renders", _percent(outcome.raw)),
        (f"{found}, trained on refined renders", _percent(outcome.refined)),
        ("gain of refining, paired by seed", _percent(outcome.gain)),
        (f"{found}, trained on labels of the sensor", _percent(outcome.real)),
        ("farthest joint moved by refining, mean distance", f"{outcome.joints_distance:.2f} px"),
        ("the same for the simulated target sensor", f"{outcome.joints_noise:.2f} px"),
        ("verdict", outcome.verdict),
        ("tested on", test_note),
    )


def _percent(share: Interval) -> str:
    return f"{100 * share.mean:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}] %"
