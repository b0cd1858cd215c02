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
@click.option("--renders", type=EXISTING_PATH, required=True, metavar="DATA", help="Renders, with labels where known.")
@click.option(
    "--refined", type=REFINER_PATH, required=True, metavar="DATA_OR_REFINER", help="The same refined, or a refiner."
)
@click.option("--photographs", type=EXISTING_PATH, required=True, metavar="DATA", help="What they should look like.")
@evaluation_options
@click.option("--gate", is_flag=True, help="Exit with status 3 when the verdict is: do not use.")
@json_option
def command(renders: Path, refined: Path, photographs: Path, gate: bool, as_json: bool, settings: "Settings") -> None:
    """Judge a refiner: realism, label preservation, usefulness, each with an interval, and a verdict.

    Beside each figure stands its floor, the same of photographs against other photographs or of labels that nothing
    moved, and its ceiling, that of the renders as they are.

    \b
    Example:
      refiner evaluate --renders renders --refined refined --photographs photographs
      refiner evaluate --renders renders --refined runs/eyes --photographs photographs --gate
    """
    from refiner.evaluation.evaluate import evaluate

    with progress("evaluating") as advance:
        found = evaluate(
            renders,
            refined,
            photographs,
            settings,
            report=lambda stage, done, total: advance(done, total, stage),
        )
    if as_json:
        print_json("evaluate", **_figures(found))
    else:
        for line in _lines(found):
            click.echo(line)
    if gate and found.verdict.decision == "do not use":
        sys.exit(REFUSED_STATUS)


def _figures(found: "Evaluation") -> dict[str, Any]:
    return {
        "verdict": asdict(found.verdict),
        "figures": [
            {
                **{key: getattr(figure, key) for key in ("key", "name", "family", "unit", "is_resolved")},
                **{
                    key: None if (interval := getattr(figure, key)) is None else interval._asdict()
                    for key in ("value", "floor", "ceiling", "gain")
                },
            }
            for figure in found.figures
        ],
        "images": len(found.drifts),
        "rejected": found.rejected,
    }


def _lines(found: "Evaluation") -> list[str]:
    """The verdict, its reasons, and a table."""
    lines = [f"verdict: {found.verdict.decision}", *(f"  {reason}" for reason in found.verdict.reasons), ""]
    width = max(len(figure.name) for figure in found.figures)
    lines.append(f"{'':{width}}  {'refined':24}  {'floor':24}  {'renders':24}")
    for figure in found.figures:
        cells = [figure.text(interval) for interval in (figure.value, figure.floor, figure.ceiling)]
        note = "" if figure.is_resolved else "  too wide to say: give more images"
        lines.append(f"{figure.name:{width}}  " + "  ".join(f"{cell:24}" for cell in cells).rstrip() + note)
    return lines
