"""``refiner evaluate``: is a refiner to be trusted? Figures, and a verdict."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refiner.commands.evaluation_options import evaluation_options
from refiner.commands.options import EXISTING_PATH, REFINER_PATH, REFUSED_STATUS, json_option
from refiner.commands.reporting import print_json, progress

if TYPE_CHECKING:
    from refiner.evaluation.evaluate import Evaluation, Settings


@click.command()
@click.option(
    "--synthetic", type=EXISTING_PATH, required=True, metavar="DATA", help="Renders, with labels where known."
)
@click.option(
    "--refined", type=REFINER_PATH, required=True, metavar="DATA_OR_REFINER", help="The same refined, or a refiner."
)
@click.option("--real", type=EXISTING_PATH, required=True, metavar="DATA", help="What they should look like.")
@evaluation_options
@click.option("--gate", is_flag=True, help="Exit with status 3 when the verdict is: do not use.")
@json_option
def command(synthetic: Path, refined: Path, real: Path, gate: bool, as_json: bool, settings: "Settings") -> None:
    """Judge a refiner: realism, label preservation, usefulness, each with an interval, and a verdict.

    Beside each figure stands its floor, the same of photographs against other photographs or of labels that nothing
    moved, and its ceiling, that of the renders as they are.

    \b
    Example:
      refiner evaluate --synthetic renders --refined refined --real photographs
      refiner evaluate --synthetic renders --refined runs/eyes --real photographs --gate
    """
    from refiner.evaluation.evaluate import evaluate

    with progress("evaluating") as advance:
        found = evaluate(
            synthetic,
            refined,
            real,
            settings,
            report=lambda stage, done, total: advance(done, total, stage),
        )
    if as_json:
        print_json("evaluate", **_metrics(found))
    else:
        for line in _lines(found):
            click.echo(line)
    if gate and found.verdict.decision == "do not use":
        sys.exit(REFUSED_STATUS)


def _metrics(found: "Evaluation") -> dict[str, Any]:
    return {
        "verdict": asdict(found.verdict),
        "metrics": [
            {
                **{key: getattr(metric, key) for key in ("key", "name", "family", "unit", "is_resolved")},
                **{
                    key: None if (interval := getattr(metric, key)) is None else interval._asdict()
                    for key in ("value", "reference", "baseline", "gain")
                },
            }
            for metric in found.metrics
        ],
        "images": len(found.drifts),
        "rejected": found.rejected,
    }


def _lines(found: "Evaluation") -> list[str]:
    """The verdict, its reasons, and a table."""
    lines = [f"verdict: {found.verdict.decision}", *(f"  {reason}" for reason in found.verdict.reasons), ""]
    width = max(len(metric.name) for metric in found.metrics)
    lines.append(f"{'':{width}}  {'refined':24}  {'reference':24}  {'synthetic':24}")
    for metric in found.metrics:
        cells = [metric.text(interval) for interval in (metric.value, metric.reference, metric.baseline)]
        note = "" if metric.is_resolved else "  too wide to say: give more images"
        lines.append(f"{metric.name:{width}}  " + "  ".join(f"{cell:24}" for cell in cells).rstrip() + note)
    return lines
