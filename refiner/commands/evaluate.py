"""``refiner evaluate``: metrics of a refiner, and a verdict."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refiner.commands.gaze.rejected import report_rejected
from refiner.commands.shared.evaluation_options import evaluation_options
from refiner.commands.shared.options import EXISTING_PATH, REFINER_PATH, REFUSED_STATUS, json_option
from refiner.commands.shared.reporting import plain_values, print_json, progress

if TYPE_CHECKING:
    from refiner.evaluation.evaluate import Evaluation, Settings


@click.command()
@click.option(
    "--synthetic", type=EXISTING_PATH, required=True, metavar="DATA", help="Renders, with labels if there are any."
)
@click.option(
    "--refined",
    type=REFINER_PATH,
    required=True,
    metavar="DATA_OR_REFINER",
    help="The refined renders, or a refiner.",
)
@click.option("--real", type=EXISTING_PATH, required=True, metavar="DATA", help="Real images.")
@evaluation_options
@click.option("--gate", is_flag=True, help="Exit with status 3 if the verdict is: do not use.")
@json_option
def command(synthetic: Path, refined: Path, real: Path, gate: bool, as_json: bool, settings: "Settings") -> None:
    """Evaluate a refiner: realism, label preservation, downstream utility, and a verdict.

    Each metric has a 95 % interval, over people if the labels of the real images name them. The reference is the same
    metric of real images against other real images, or of labels that nothing moved. The baseline is the metric of the
    unrefined renders.

    \b
    Examples:
      refiner evaluate --synthetic renders --refined refined --real real
      refiner evaluate --synthetic renders --refined runs/eyes --real real --gate
    """
    from refiner.evaluation.evaluate import evaluate

    # Evaluate, and print the result.
    with progress("evaluating") as advance:
        found = evaluate(
            synthetic,
            refined,
            real,
            settings,
            report=lambda stage, done, total: advance(done, total, stage),
        )
    if as_json:
        print_json("evaluate", **_metrics(found), **_inputs(synthetic, refined, real))
    else:
        for line in _lines(found):
            click.echo(line)
    # With --gate the exit status is the verdict, so that a script can stop here.
    if gate and found.verdict.decision == "do not use":
        sys.exit(REFUSED_STATUS)
    missing = dict.fromkeys(found.missing.unexplained, "has no refined image, and rejected.csv does not say why")
    report_rejected(found.rejected | {str(synthetic / name): reason for name, reason in missing.items()})


def _metrics(found: "Evaluation") -> dict[str, Any]:
    """Return verdict and metrics as plain values; unknown bounds are None."""
    metrics: dict[str, Any] = plain_values(_values(found))
    return metrics


def _inputs(synthetic: Path, refined: Path, real: Path) -> dict[str, Any]:
    """Return the names of the data sets, and the digest of the refiner's weights; None if there is no refiner."""
    from refiner.models.files.lookup import is_refiner
    from refiner.models.files.refiner_file import load_refiner

    names = {"synthetic": synthetic.name, "refined": refined.name, "real": real.name}
    return {"data": names, "refiner": load_refiner(refined).digest() if is_refiner(refined) else None}


def _values(found: "Evaluation") -> dict[str, Any]:
    return {
        "verdict": asdict(found.verdict),
        "notes": found.notes,
        "metrics": [
            {
                **{key: getattr(metric, key) for key in ("key", "name", "family", "unit", "is_resolved", "gap_closed")},
                **{
                    key: None if (interval := getattr(metric, key)) is None else interval._asdict()
                    for key in ("value", "reference", "baseline", "gain")
                },
            }
            for metric in found.metrics
        ],
        "images": len(found.drifts),
        "rejected": found.rejected,
        "missing": asdict(found.missing),
    }


def _lines(found: "Evaluation") -> list[str]:
    """Return the verdict, its reasons, and a table of metrics."""
    lines = [f"verdict: {found.verdict.decision}", *(f"  {reason}" for reason in found.verdict.reasons), ""]
    width = max(len(metric.name) for metric in found.metrics)
    # One row for each metric, under a header.
    lines.append(f"{'':{width}}  {'refined':24}  {'reference':24}  {'baseline':24}")
    for metric in found.metrics:
        cells = [metric.text(interval) for interval in (metric.value, metric.reference, metric.baseline)]
        note = "" if metric.is_resolved else "  too uncertain: use more images, of more people or places"
        lines.append(f"{metric.name:{width}}  " + "  ".join(f"{cell:24}" for cell in cells).rstrip() + note)
    # What the metrics do not cover.
    return [*lines, *(["", *found.notes] if found.notes else [])]
