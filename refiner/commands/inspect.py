"""``refiner inspect``: facts and problems of a data set, a run or a refiner file."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refiner.commands.shared.options import (
    ANY_PATH,
    EXISTING_PATH,
    exclude_option,
    format_option,
    include_option,
    json_option,
)
from refiner.commands.shared.reporting import one_line, plain_values, print_json, progress

if TYPE_CHECKING:
    from refiner.data.folders.selection import Selection


@click.command()
@click.argument("path", type=EXISTING_PATH, metavar="PATH")
@click.argument("other", type=EXISTING_PATH, required=False, metavar="[OTHER]")
@format_option
@include_option
@exclude_option
@click.option(
    "--sample",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    metavar="N",
    help="Number of images to inspect, spread evenly over the data set; 0 inspects all.",
)
@click.option(
    "--sheet",
    type=ANY_PATH,
    metavar="PNG",
    help="Write a contact sheet of images with their labels.",
)
@json_option
def command(
    path: Path,
    other: Path | None,
    format: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    sample: int,
    sheet: Path | None,
    as_json: bool,
) -> None:
    """Describe a data set, a run folder or a refiner file, and report problems.

    Given two data sets, renders first and real images second, the command also reports whether they fit each other.
    Each problem comes with the command that fixes it. The contact sheet shows boxes, masks and keypoints in the colour
    of their class, and each gaze as a red arrow from the pupil.

    \b
    Example:
      refiner inspect renders real --sheet sheet.png
    """
    from refiner.data.folders.selection import Selection
    from refiner.inspection.runs import is_refiner_file, is_run

    if format is None and (is_refiner_file(path) or is_run(path)):
        if other or sheet:
            raise click.UsageError(f"OTHER and --sheet are for data sets, but {path} is a run or a refiner file")
        _report_run(path, as_json)
    else:
        _report_datasets(path, other, format, Selection(include, exclude), sample, sheet, as_json)


def _report_run(path: Path, as_json: bool) -> None:
    from refiner.inspection.runs import inspect_refiner, inspect_run, is_run
    from refiner.inspection.text import refiner_lines, run_lines

    # A path that is no run is a refiner file.
    run = inspect_run(path) if is_run(path) else None
    refiner = inspect_refiner(path) if run is None else None
    if as_json:
        kind = "run" if run else "refiner"
        print_json("inspect", kind=kind, **plain_values(dataclasses.asdict(run or refiner)))  # type: ignore[arg-type]
    elif run:
        _print(run_lines(run))
    elif refiner:
        _print(refiner_lines(refiner))


def _report_datasets(
    path: Path,
    other: Path | None,
    format: str | None,
    selection: "Selection",
    sample: int,
    sheet: Path | None,
    as_json: bool,
) -> None:
    from refiner.images.io import write_image
    from refiner.inspection.datasets import inspect_dataset, open_for_inspection
    from refiner.inspection.faults import find_faults
    from refiner.inspection.fit import compare
    from refiner.inspection.overlays.contact_sheet import draw_sheets
    from refiner.inspection.text import dataset_lines, fit_lines

    # Inspect one or two data sets.
    paths = [path, other] if other else [path]
    datasets = [open_for_inspection(each, format, selection) for each in paths]
    reports = []
    with progress("inspecting") as advance:
        for dataset in datasets:
            facts = inspect_dataset(dataset, sample=sample, report=advance)
            reports.append((facts, find_faults(facts)))
    # Draw the sheet, and compare the data sets.
    if sheet:
        write_image(sheet, draw_sheets(datasets))
    fit = None
    if other:
        copies = [(str(each), f"{each.name or 'data'}-fitted") for each in paths]
        fit = compare(reports[0][0].appearance, reports[1][0].appearance, paths=copies)
    # Print the result.
    if as_json:
        first, *rest = [_dataset_metrics(dataclasses.asdict(facts), findings) for facts, findings in reports]
        metrics: dict[str, Any] = {}
        if rest:
            metrics = {"other": rest[0], "fit": [dataclasses.asdict(finding) for finding in fit or ()]}
        print_json("inspect", kind="data set", **first, **metrics)
        return
    for facts, findings in reports:
        _print([*dataset_lines(facts, findings), ""])
    if fit is not None:
        _print(fit_lines(reports[0][0].appearance, reports[1][0].appearance, fit))
    if sheet:
        click.echo(f"wrote the contact sheet {sheet}", err=True)


def _dataset_metrics(facts: dict[str, Any], findings: Iterable[Any]) -> dict[str, Any]:
    """Return facts and findings as plain values, without the angles of single images."""
    facts.pop("angles")
    return {**plain_values(facts), "findings": [dataclasses.asdict(finding) for finding in findings]}


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(one_line(line))
