"""The demo on hands: renders of depth, a stand-in sensor, and joints instead of pupils. The same core as for eyes."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refiner.config.training import TrainingConfiguration
from refiner.core.files import write_text
from refiner.data.labels.records import column_values
from refiner.data.labels.regions import LabelRegion
from refiner.data.labels.tables import LABELS_FILE, read_labels
from refiner.demos.eyes import Report, claim, read_all, write_records, write_sheet
from refiner.evaluation.evaluate import Settings, evaluate
from refiner.hands.joint_estimator import find_joints, fit_joints, share_within
from refiner.hands.rendering import rendered_hands
from refiner.hands.skeleton import HandRanges, target_hands
from refiner.hands.target_sensor import TargetSensor
from refiner.images.registration import score_drift
from refiner.inference.refine import refine_path
from refiner.metrics.intervals import Interval, seed_interval
from refiner.training.train import train

SIZE = (64, 64)
"""Height and width of the images."""

SEEDS = (0, 1, 2)
"""Of the estimators."""

JUDGED = 1000
"""Images of each kind that the verdict looks at."""

WITHIN = 3.0
"""Pixels from a joint within which it counts as found: 14 mm."""


@dataclass(frozen=True)
class HandScale:
    """How much work the demo is."""

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
    """What came out.

    Attributes:
        raw, refined, real: share of the joints of test images found within :data:`WITHIN` pixels, by estimators that
            have learnt from renders, from refined ones, and from as many labelled images of the sensor, over seeds.
        gain: refined less raw, paired by seed.
        joints_distance: mean shift of the joint that moved farthest in each image, in pixels.
        joints_noise: the same where nothing moved: renders through the sensor.
        verdict: of the evaluation, with the first reason.
    """

    raw: Interval
    refined: Interval
    real: Interval
    gain: Interval
    joints_distance: float
    joints_noise: float
    verdict: str


def run_hand_demo(out: Path, *, seed: int, device: str, report: Report, scale: HandScale = HandScale()) -> HandOutcome:
    """Run the demo, or go on where it was stopped.

    Args:
        out: folder of everything it makes.
        seed: everything follows from it.
        device: ``auto``, ``cpu`` or ``cuda``.
        report: told about the progress.
        scale: how much work it is.

    Raises:
        OutputError: ``out`` holds something else, or a demo with other settings.
    """
    claim(out, {"hands": True, "seed": seed, **asdict(scale)})
    sensor = TargetSensor(seed)
    for number, (name, ranges, count, seen_by) in enumerate(
        (
            ("synthetic", HandRanges(), scale.synthetic, None),
            ("real", target_hands(), scale.real, sensor),
            ("labelled", target_hands(), scale.synthetic, sensor),
            ("test", target_hands(), scale.test_images, sensor),
        )
    ):
        hands = rendered_hands(ranges, count, seed=4 * seed + number, size=SIZE, sensor=seen_by)
        write_records(out / name, hands, count, "rendering hands", report)
    configuration = demo_configuration(out, scale, seed)
    train(configuration, out / "run", device=device, report=lambda step, steps, _: report("training", step, steps))
    region = LabelRegion("joints")
    refine_path(out / "synthetic", out / "refined", out / "run", device=device, region=region)
    write_sheet(out, SIZE, views=1)
    outcome = measure(out, scale, seed, region, report)
    write_text(out / "outcome.json", json.dumps(asdict(outcome) | {"seed": seed, "scale": asdict(scale)}, indent=2))
    return outcome


def demo_configuration(out: Path, scale: HandScale, seed: int) -> TrainingConfiguration:
    """The recipe of the demo."""
    data = {"synthetic": out / "synthetic", "real": out / "real", "preflight": "skip"}
    return TrainingConfiguration.model_validate({**RECIPE, "seed": seed, "steps": scale.training_steps, "data": data})


def measure(out: Path, scale: HandScale, seed: int, region: LabelRegion, report: Report) -> HandOutcome:
    """Train estimators, test them on the sensor's images, and judge the refiner by its joints."""
    images = {name: read_all(out / name, SIZE) for name in ("synthetic", "refined", "labelled", "test")}
    joints = {name: _joints(out / name) for name in ("synthetic", "labelled", "test")}
    joints["refined"] = joints["synthetic"]
    shares: dict[str, list[float]] = {"synthetic": [], "refined": [], "labelled": []}
    for round_, estimator_seed in enumerate(SEEDS):
        for place, name in enumerate(shares):
            report("estimating", len(shares) * round_ + place, len(shares) * len(SEEDS))
            estimator = fit_joints(images[name], joints[name], steps=scale.estimator_steps, seed=estimator_seed)
            shares[name].append(share_within(find_joints(estimator, images["test"]), joints["test"], WITHIN))
    report("judging", 0, 1)
    settings = Settings(region=region, seed=seed, device="cpu", most=JUDGED)
    judged = evaluate(out / "synthetic", out / "refined", out / "real", settings).verdict
    taken = _taken(out, scale, seed)
    return HandOutcome(
        raw=seed_interval(shares["synthetic"]),
        refined=seed_interval(shares["refined"]),
        real=seed_interval(shares["labelled"]),
        gain=seed_interval([b - a for a, b in zip(shares["synthetic"], shares["refined"], strict=True)]),
        joints_distance=_moved(images["synthetic"], images["refined"], joints["synthetic"]),
        joints_noise=_moved(images["synthetic"], taken, joints["synthetic"]),
        verdict=f"{judged.decision}: {judged.reasons[0]}",
    )


def _moved(before: Tensor, after: Tensor, joints: np.ndarray[Any, Any]) -> float:
    return float(np.linalg.norm(score_drift(before, after, points=joints).shifts, axis=1).mean())


def _taken(out: Path, scale: HandScale, seed: int) -> Tensor:
    """The renders through the sensor, which moves nothing."""
    hands = rendered_hands(HandRanges(), scale.synthetic, seed=4 * seed, size=SIZE, sensor=TargetSensor(seed + 1))
    levels = np.stack([record.image for record in hands])
    return torch.from_numpy(levels.astype(np.float32) / np.float32(32767.5) - 1)[:, None]


def _joints(folder: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = column_values(read_labels(folder / LABELS_FILE).values(), "joints")
    assert values is not None, "rendered hands have joints"
    return values


def hand_table(outcome: HandOutcome, note: str) -> Sequence[tuple[str, str]]:
    """Rows of the summary: what, and its figure."""
    found = f"joints found within {WITHIN:g} px"
    return (
        (f"{found}, trained on raw renders", _percent(outcome.raw)),
        (f"{found}, trained on refined renders", _percent(outcome.refined)),
        ("gain of refining, paired by seed", _percent(outcome.gain)),
        (f"{found}, trained on labels of the sensor", _percent(outcome.real)),
        ("farthest joint moved by refining, mean distance", f"{outcome.joints_distance:.2f} px"),
        ("the same by the stand-in sensor alone", f"{outcome.joints_noise:.2f} px"),
        ("verdict", outcome.verdict),
        ("tested on", note),
    )


def _percent(share: Interval) -> str:
    return f"{100 * share.mean:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}] %"
