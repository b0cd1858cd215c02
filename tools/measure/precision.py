"""Compare training in bf16 and in fp32: python -m tools.measure.precision results/performance/precision.json

The paper's networks are trained on procedural eyes in both precisions from the same seeds. As a control they are
trained in fp32 with one thread, which adds the same numbers in another order: single lines of two curves cannot agree
better than that. Means over the steps and over seeds are free of that noise. In adversarial training the precisions may
differ as much as two seeds do.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from refiner.config.training import TrainingConfiguration
from refiner.core.environment import environment
from refiner.core.files import read_json_lines, write_text
from refiner.data.output.records_writer import write_folder
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters
from refiner.eyes.target_camera import TargetCamera, target_parameters
from refiner.training.train import train

PRECISIONS = ("fp32", "bf16")
CONTROL = "fp32 by one thread"
Array = np.ndarray[Any, np.dtype[np.float64]]
METRICS = ("change", "adversarial", "discriminator_loss", "accuracy_refined", "accuracy_real")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seeds", type=click.IntRange(2), default=10, help="Number of seeds.")
@click.option(
    "--images",
    type=click.IntRange(16),
    default=600,
    help="Number of renders, and of images of the simulated target camera.",
)
@click.option(
    "--steps", type=click.IntRange(4), default=100, help="Steps of pre-training; half as many adversarial steps follow."
)
def main(out: Path, seeds: int, images: int, steps: int) -> None:
    """Train, compare, and write OUT as JSON."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for domain, parameters, camera in (
            ("synthetic", EyeParameters(), None),
            ("real", target_parameters(), TargetCamera(1)),
        ):
            records = rendered_records(parameters, images, seed=5, camera=camera)
            write_folder(folder / domain, records, images, labelled=False, report=lambda done, total: None)
        curves = {name: [_curve(folder, name, seed, steps) for seed in range(seeds)] for name in (*PRECISIONS, CONTROL)}
    facts = {"command": "precision", "environment": environment(), "seeds": seeds, "steps": steps}
    write_text(out, json.dumps({**facts, **_compared(curves, steps)}, indent=1) + "\n")
    print(out)


def _curve(folder: Path, name: str, seed: int, steps: int) -> list[dict[str, float]]:
    """Train once, and return the lines of its metrics."""
    print(name, seed, file=sys.stderr)
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if name == CONTROL else threads)
    configuration = TrainingConfiguration.model_validate(
        {
            "seed": seed,
            "precision": name.split()[0],
            "batch_size": 16,
            "steps": steps // 2,
            "history_size": 160,
            "log_every": 5,
            "sample_every": 10_000,
            "checkpoint_every": 10_000,
            "pretraining": {"refiner_steps": steps, "discriminator_steps": steps // 5},
            "data": {"synthetic": folder / "synthetic", "real": folder / "real", "preflight": "skip"},
        }
    )
    run = folder / f"{name}-{seed}"
    train(configuration, run, device="cpu")
    torch.set_num_threads(threads)
    return list(read_json_lines(run / "metrics.jsonl"))


def _compared(curves: dict[str, list[list[dict[str, float]]]], steps: int) -> dict[str, Any]:
    pretraining = {
        name: np.array([[row["self_regularization"] for row in rows if row["step"] <= steps] for rows in some])
        for name, some in curves.items()
    }
    differences = {
        name: {part: list(ratio) for part, ratio in _ratios(pretraining["fp32"], pretraining[name]).items()}
        for name in ("bf16", CONTROL)
    }
    last = {precision: [rows[-1] for rows in curves[precision]] for precision in PRECISIONS}
    metrics = {
        name: {precision: [row[name] for row in last[precision]] for precision in PRECISIONS} for name in METRICS
    }
    return {"pretraining_differences": differences, "metrics": metrics}


def _ratios(exact: Array, other: Array) -> dict[str, Array]:
    """Compare two curves of pre-training, each (seeds, lines of the log), in each half of the steps.

    ``apart`` is the mean relative difference of single lines. ``level`` is the relative difference of their means.

    Returns:
        Each measure by name, (seeds,).
    """
    half = -(-exact.shape[1] // 2)
    found = {}
    for name, part in (("first half", slice(half)), ("second half", slice(-half, None))):
        found[f"lines of the {name}, apart"] = np.abs(other[:, part] / exact[:, part] - 1).mean(axis=1)
        found[f"level of the {name}, higher by"] = other[:, part].mean(axis=1) / exact[:, part].mean(axis=1) - 1
    return found


if __name__ == "__main__":
    main()
