"""The demo on scenes of objects in colour: COCO annotations, and a network for masks instead of an eye's gaze.

Training, refining and evaluation are the same as for eyes. Training does not read the labels of the "real" images; only
the test does, on scenes unseen in training.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from refiner.demos.common import Report, claim, train_refiner, write_outcome, write_records, write_sheet
from refiner.evaluation.evaluate import Evaluation, Settings, evaluate
from refiner.inference.jobs.refine import refine_path
from refiner.metrics.intervals import Interval
from refiner.objects.records import INFO, SIZE, rendered_scenes
from refiner.objects.scene import SceneRanges, target_scenes
from refiner.objects.target_camera import ObjectCamera
from refiner.report.writing import write_pages

OUTCOME_FILE = "outcome.json"

TRIALS = 100
"""Guesses in the visual Turing test."""


@dataclass(frozen=True)
class ObjectScale:
    """Numbers of images and training steps of the demo."""

    synthetic: int = 1200
    real: int = 800
    test_images: int = 400
    training_steps: int = 400


SCALE = ObjectScale()
"""Scale of the demo: five minutes on two cores."""

RECIPE: dict[str, Any] = {
    "size": list(SIZE),
    "channels": 3,
    "batch_size": 4,
    "discriminator_updates": 2,
    "self_regularization": "standardized",
    "self_regularization_weight": 2.0,
    "motion_weight": 1.0,
    "history_size": 800,
    "ema_decay": 0.98,
    "log_every": 20,
    "sample_every": 200,
    "checkpoint_every": 100,
    "refiner": {"features": 32, "blocks": 2, "unshuffle": 2, "output": "residual"},
    "pretraining": {"refiner_steps": 0, "discriminator_steps": 60},
    "refiner_optimizer": {"learning_rate": 7e-4},
    "discriminator_optimizer": {"learning_rate": 1e-3},
}
"""Training settings of the demo; ``configs/objects.yaml`` holds the same."""


@dataclass(frozen=True)
class ObjectOutcome:
    """Metrics of the demo.

    Attributes:
        raw, refined: mean IoU on test images, percent, of networks trained on raw and on refined renders.
        gain: refined minus raw.
        objects_lost: share of the objects of which less than half is left after refining.
        objects_noise: the same share for renders with noise, in which nothing was lost.
        decision, reasons: the verdict.
    """

    raw: Interval
    refined: Interval
    gain: Interval
    objects_lost: Interval
    objects_noise: Interval
    decision: str
    reasons: list[str]


def run_object_demo(out: Path, *, seed: int, device: str, report: Report) -> ObjectOutcome:
    """Run the demo on objects, or resume it.

    Args:
        out: output folder.
        seed: seed of all random values.
        device: ``auto``, ``cpu`` or ``cuda``.
        report: progress callback.

    Raises:
        OutputError: the folder holds something else, or a demo with other settings.
    """
    scale = SCALE
    claim(out, {"objects": True, "seed": seed, **asdict(scale)})
    if (out / OUTCOME_FILE).exists():
        return read_outcome(out)

    # Render the synthetic images, and the "real" ones for training and test.
    for number, (name, ranges, count) in enumerate(
        (
            ("synthetic", SceneRanges(), scale.synthetic),
            ("real", target_scenes(), scale.real),
            ("test", target_scenes(), scale.test_images),
        ),
        start=3 * seed,
    ):
        camera = None if name == "synthetic" else ObjectCamera(number)
        scenes = rendered_scenes(ranges, count, seed=number, size=SIZE, camera=camera)
        write_records(out / name, scenes, count, "rendering scenes", report, info=INFO)

    # Train a refiner and refine the synthetic images; their annotations are copied.
    train_refiner(out, RECIPE, steps=scale.training_steps, seed=seed, device=device, report=report)
    refine_path(
        out / "synthetic",
        out / "refined",
        out / "run",
        device=device,
        report=lambda done, total: report("refining", done, total),
    )
    write_sheet(out, SIZE, columns=6, channels=3)

    # Evaluate the refined images, and write the report.
    settings = Settings(labelled=out / "test", task="mask", seed=seed, device=device)
    found = evaluate(out / "synthetic", out / "refined", out / "real", settings, report=report)
    report("writing the report", 0, 1)
    write_pages(out, found, out / "run", out / "synthetic", out / "real", settings=settings, trials=TRIALS)
    write_outcome(out, outcome_of(found), seed=seed, scale=scale)
    return read_outcome(out)


def outcome_of(found: Evaluation) -> ObjectOutcome:
    """Return the metrics of the demo from its evaluation."""
    metrics = {metric.key: metric for metric in found.metrics}
    iou, lost = metrics["mask_iou"], metrics["objects_lost"]
    assert iou.baseline is not None, "heads are trained on the renders too"
    assert iou.gain is not None, "heads are compared"
    assert lost.reference is not None, "noise is the reference"
    verdict = found.verdict
    return ObjectOutcome(
        iou.baseline, iou.value, iou.gain, lost.value, lost.reference, verdict.decision, verdict.reasons
    )


def read_outcome(out: Path) -> ObjectOutcome:
    """Read the metrics of a finished demo."""
    values = json.loads((out / OUTCOME_FILE).read_text(encoding="utf-8"))
    intervals = {name: Interval(*values[name]) for name in ("raw", "refined", "gain", "objects_lost", "objects_noise")}
    return ObjectOutcome(**intervals, decision=values["decision"], reasons=values["reasons"])


def object_table(outcome: ObjectOutcome, test_note: str) -> Sequence[tuple[str, str]]:
    """Return the rows of the printed summary: name and value."""
    return (
        ("mean IoU of masks, trained on raw renders", f"{outcome.raw} %"),
        ("mean IoU of masks, trained on refined renders", f"{outcome.refined} %"),
        ("gain of refining", f"{outcome.gain} %"),
        ("objects lost by refining", _percent(outcome.objects_lost)),
        ("the same for noise, which moves nothing", _percent(outcome.objects_noise)),
        ("verdict", f"{outcome.decision}: {outcome.reasons[0]}"),
        ("tested on", test_note),
    )


def _percent(share: Interval) -> str:
    return f"{Interval(*(100 * value for value in share))} %"
