"""``refiner inspect``: facts and problems of a data set, a run or a refiner file."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import numpy as np

from refiner.commands.options import ANY_PATH, EXISTING_PATH, json_option
from refiner.commands.reporting import one_line, print_json, progress
from refiner.core.errors import DataError
from refiner.data.formats.registry import FORMATS, Dataset, open_dataset


@click.command()
@click.argument("path", type=EXISTING_PATH, metavar="PATH")
@click.argument("other", type=EXISTING_PATH, required=False, metavar="[OTHER]")
@click.option("--format", "layout", type=click.Choice(list(FORMATS)), help="Layout of the data.  [default: detected]")
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
def command(path: Path, other: Path | None, layout: str | None, sample: int, sheet: Path | None, as_json: bool) -> None:
    """Describe a data set, a run folder or a refiner file, and report problems.

    Given two data sets, renders first and real images second, the command also reports whether they fit each other.
    Each problem comes with the command that fixes it. The contact sheet shows each gaze as a red arrow from the pupil.

    \b
    Example:
      refiner inspect renders photographs --sheet sheet.png
    """
    from refiner.inspection.runs import is_refiner_file, is_run

    if layout is None and (is_refiner_file(path) or is_run(path)):
        if other or sheet:
            raise click.UsageError(f"OTHER and --sheet are for data sets, but {path} is a run or a refiner file")
        _report_run(path, as_json)
    else:
        _report_datasets(path, other, layout, sample, sheet, as_json)


def _report_run(path: Path, as_json: bool) -> None:
    from refiner.inspection.runs import inspect_refiner, inspect_run, is_run
    from refiner.inspection.text import refiner_lines, run_lines

    run = inspect_run(path) if is_run(path) else None
    refiner = inspect_refiner(path) if run is None else None
    if as_json:
        kind = "run" if run else "refiner"
        print_json("inspect", kind=kind, **_plain(dataclasses.asdict(run or refiner)))  # type: ignore[arg-type]
    elif run:
        _print(run_lines(run))
    elif refiner:
        _print(refiner_lines(refiner))


def _report_datasets(
    path: Path, other: Path | None, layout: str | None, sample: int, sheet: Path | None, as_json: bool
) -> None:
    from refiner.images.io import write_image
    from refiner.inspection.contact_sheet import draw_sheet
    from refiner.inspection.datasets import inspect_dataset
    from refiner.inspection.faults import find_faults
    from refiner.inspection.fit import compare
    from refiner.inspection.text import dataset_lines, fit_lines

    # Inspect one or two data sets.
    datasets = [open_for_inspection(place, layout) for place in (path, other) if place]
    reports = []
    with progress("inspecting") as advance:
        for dataset in datasets:
            facts = inspect_dataset(dataset, sample=sample, report=lambda done, total: advance(done, total, ""))
            reports.append((facts, find_faults(facts)))
    # Draw the sheet, and compare the data sets.
    if sheet:
        write_image(sheet, np.concatenate([_padded(picture, datasets) for picture in map(draw_sheet, datasets)]))
    fit = None
    if other:
        places = [(str(place), f"{place.name or 'data'}-fitted") for place in (path, other)]
        fit = compare(reports[0][0].appearance, reports[1][0].appearance, places=places)
    # Print the result.
    if as_json:
        first, *rest = [_dataset_metrics(dataclasses.asdict(facts), findings) for facts, findings in reports]
        metrics = {"other": rest[0], "fit": [dataclasses.asdict(finding) for finding in fit or ()]} if rest else {}
        print_json("inspect", kind="data set", **first, **metrics)
        return
    for facts, findings in reports:
        _print([*dataset_lines(facts, findings), ""])
    if fit is not None:
        _print(fit_lines(reports[0][0].appearance, reports[1][0].appearance, fit))
    if sheet:
        click.echo(f"wrote the contact sheet {sheet}", err=True)


def open_for_inspection(path: Path, layout: str | None) -> Dataset:
    """Open a data set; scenes without data for a crop are opened without one.

    Raises:
        DataError: ``path`` is no data set, or cannot be read either way.
    """
    if layout is None and not any(reader.recognises(path) for reader in FORMATS.values()):
        raise DataError(
            f"{path} is neither a data set (a folder of images, a store or a file of a known layout) nor a run "
            "folder nor a refiner file (.safetensors)"
        )
    dataset = open_dataset(path, format=layout)
    try:
        _ = dataset.ids
    except DataError as error:
        whole = open_dataset(path, format=layout, crop=False)
        try:
            _ = whole.ids
        except DataError:
            raise error from None
        return whole
    return dataset


def _padded(picture: np.ndarray[Any, Any], datasets: list[Dataset]) -> np.ndarray[Any, Any]:
    """Pad a sheet to the full width, so that two sheets can be stacked."""
    from refiner.inspection.contact_sheet import CELL, COLUMNS, GAP

    missing = COLUMNS * (CELL + GAP) - picture.shape[1]
    return np.pad(picture, ((0, 0), (0, missing), (0, 0)), constant_values=255) if len(datasets) > 1 else picture


def _dataset_metrics(facts: dict[str, Any], findings: Iterable[Any]) -> dict[str, Any]:
    """Return facts and findings as plain values, without the angles of single images."""
    facts.pop("angles")
    return {**_plain(facts), "findings": [dataclasses.asdict(finding) for finding in findings]}


def _plain(value: Any) -> Any:
    """Convert to values that JSON can hold; numbers that are not finite become null."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(one_line(line))
