"""Whether training in bf16 is training in fp32: python tools/precision.py docs/performance/precision.json

The paper's networks learn on procedural eyes in both precisions, from the same seeds. While the refiner is pre-trained
the two curves must be one; once the players play, they may differ by what another seed changes.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np

from refiner.configuration import TrainingConfiguration
from refiner.eyes import EyeParameters, StandInCamera, stand_in_parameters
from refiner.eyes.writing import rendered_records, write_folder
from refiner.files import read_json_lines, write_text
from refiner.hardware import environment
from refiner.training import train

PRECISIONS = ("fp32", "bf16")
FIGURES = ("change", "adversarial", "discriminator_loss", "accuracy_refined", "accuracy_real")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seeds", type=click.IntRange(2), default=3, help="Number of them.")
@click.option("--images", type=click.IntRange(16), default=600, help="Renders, and photographs of the stand-in.")
@click.option("--steps", type=click.IntRange(10), default=100, help="Of pre-training; half as many of the game.")
def main(out: Path, seeds: int, images: int, steps: int) -> None:
    """Train, compare, and write OUT."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for domain, parameters, camera in (
            ("renders", EyeParameters(), None),
            ("photographs", stand_in_parameters(), StandInCamera(1)),
        ):
            records = rendered_records(parameters, images, seed=5, camera=camera)
            write_folder(folder / domain, records, images, labelled=False, report=lambda done, total: None)
        curves = {
            precision: [_curve(folder, precision, seed, steps) for seed in range(seeds)] for precision in PRECISIONS
        }
    facts = {"command": "precision", "environment": environment(), "seeds": seeds, "steps": steps}
    write_text(out, json.dumps({**facts, **_compared(curves, steps)}, indent=1) + "\n")
    print(f"{out}: written")


def _curve(folder: Path, precision: str, seed: int, steps: int) -> list[dict[str, float]]:
    """The metrics of a run."""
    print(precision, seed, file=sys.stderr)
    configuration = TrainingConfiguration.model_validate(
        {
            "seed": seed,
            "precision": precision,
            "batch_size": 16,
            "steps": steps // 2,
            "history_size": 160,
            "log_every": 5,
            "sample_every": 10_000,
            "checkpoint_every": 10_000,
            "pretraining": {"refiner_steps": steps, "discriminator_steps": steps // 5},
            "data": {"renders": folder / "renders", "photographs": folder / "photographs", "preflight": "skip"},
        }
    )
    run = folder / f"{precision}-{seed}"
    train(configuration, run, device="cpu")
    return list(read_json_lines(run / "metrics.jsonl"))


def _compared(curves: dict[str, list[list[dict[str, float]]]], steps: int) -> dict[str, Any]:
    pretraining = []
    for full, half in zip(*(curves[precision] for precision in PRECISIONS), strict=True):
        pairs = [(a["self_regularization"], b["self_regularization"]) for a, b in zip(full, half) if a["step"] <= steps]
        pretraining.append(float(np.mean([abs(b - a) / a for a, b in pairs])))
    last = {precision: [rows[-1] for rows in curves[precision]] for precision in PRECISIONS}
    figures = {
        name: {precision: [row[name] for row in last[precision]] for precision in PRECISIONS} for name in FIGURES
    }
    return {"pretraining_difference": pretraining, "figures": figures}


if __name__ == "__main__":
    main()
