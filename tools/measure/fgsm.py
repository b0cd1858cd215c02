"""Measure the robustness of gaze estimators to a perturbation of one gradient step, on the models of a study.

    python -m tools.measure.fgsm runs/study/baselines/models --data DATA --variants raw,refined --out results/fgsm.json

Every pixel of a real image moves by a few grey levels in the direction that raises the angular error fastest. The
perturbation needs the weights of the estimator; the result says how steep the estimator is.

Source: Goodfellow et al. 2015, arXiv:1412.6572, section 4.
"""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from refiner.core.files import write_text
from refiner.data.labels.angles import angular_error_degrees
from refiner.gaze.data import LabelledPatches, load_patches
from refiner.gaze.prediction import GazeEstimator
from refiner.metrics.intervals import seed_interval
from refiner.runs.folder import ESTIMATOR_FILE

BATCH = 256


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("models", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="Labelled real images.")
@click.option(
    "--variants", default="raw,augmented,refined,refined_augmented", help="Variants whose models are tested, all seeds."
)
@click.option("--levels", default="1,2,4", help="Grey levels that pixels move by.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="JSON file of the result.")
def main(models: Path, data: Path, variants: str, levels: str, out: Path) -> None:
    """Test the estimators of some variants."""
    steps = [0, *map(int, levels.split(","))]
    found: dict[str, Any] = {}
    for variant in variants.split(","):
        files = sorted(models.glob(f"{variant}-[0-9]*-transductive/{ESTIMATOR_FILE}"))
        if not files:
            raise click.ClickException(f"{models} holds no model of {variant}")
        errors = np.array([probe(file, data, steps) for file in files])  # (seeds, steps)
        found[variant] = {
            str(step): seed_interval(column.tolist())._asdict() for step, column in zip(steps, errors.T, strict=True)
        }
        summary = ", ".join(
            f"{step} levels {np.mean(column):.2f}" for step, column in zip(steps, errors.T, strict=True)
        )
        click.echo(f"{variant}, {len(files)} seeds: {summary} degrees")
    write_text(out, json.dumps({"command": "fgsm", "levels": steps, "errors": found}, indent=1) + "\n")


def probe(file: Path, data: Path, steps: list[int]) -> list[float]:
    """Return the mean angular error of one estimator, in degrees, for each number of grey levels."""
    estimator = GazeEstimator.load(file, device="cpu")
    posed = bool(estimator.head_pose)
    patches = load_patches([data], size=estimator.size, equalize=estimator.equalize, head_pose=posed, key="--data")
    images, gaze, pose = patches.tensors()
    levels = images.float() / 127.5 - 1
    # The direction of each pixel, in batches.
    directions = torch.cat(
        [
            uphill(estimator.network, levels[at], gaze[at], None if pose is None else pose[at])
            for at in (slice(start, start + BATCH) for start in range(0, len(levels), BATCH))
        ]
    )
    return [_error(estimator, (levels + step / 127.5 * directions).clamp(-1, 1), patches) for step in steps]


def uphill(network: Any, images: Tensor, gaze: Tensor, pose: Tensor | None) -> Tensor:
    """Return the sign of the gradient of the squared error with respect to each pixel."""
    images = images.clone().requires_grad_()
    answers = network(images, pose) if pose is not None else network(images)
    (gradient,) = torch.autograd.grad((answers - gaze).square().sum(), images)
    return gradient.sign()


@torch.inference_mode()
def _error(estimator: GazeEstimator, images: Tensor, patches: LabelledPatches) -> float:
    pose = None if patches.head_pose is None else torch.from_numpy(patches.head_pose.astype(np.float32))
    found = [
        estimator.network(images[at], pose[at]) if pose is not None else estimator.network(images[at])
        for at in (slice(start, start + BATCH) for start in range(0, len(images), BATCH))
    ]
    return float(angular_error_degrees(torch.cat(found).double().numpy(), patches.gaze).mean())


if __name__ == "__main__":
    main()
