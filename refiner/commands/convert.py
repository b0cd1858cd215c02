"""``refiner convert``: any supported data set into a folder of images with labels, or a store."""

import math
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from refiner.commands.shared.options import (
    ANY_PATH,
    EXISTING_PATH,
    REJECTED_STATUS,
    Size,
    exclude_option,
    format_option,
    include_option,
    json_option,
    on_error_option,
    overwrite_option,
)
from refiner.commands.shared.reporting import one_line, print_json, print_left_out, progress
from refiner.core.environment import processor

if TYPE_CHECKING:
    from refiner.data.convert_summary import ConversionSummary


class Crop(Size):
    """``none``, or ``HxW``."""

    name = "none|HxW"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return ``none``, or parse (height, width)."""
        return value if value == "none" else super().convert(value, parameter, context)


class Split(click.ParamType[dict[str, float]]):
    """``train=0.8,test=0.2``."""

    name = "NAME=SHARE,..."

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Parse the share of each split."""
        from refiner.data.splits import parse_split

        try:
            return value if isinstance(value, dict) else parse_split(value)
        except ValueError as error:
            self.fail(str(error), parameter, context)


class Boxes(click.ParamType[tuple[str, str]]):
    """``NAME:xywh`` or ``NAME:xyxy``."""

    name = "NAME:FORMAT"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Parse the name of a label and the format of its boxes."""
        if isinstance(value, tuple):
            return value
        label, _, box = value.rpartition(":")
        if not label or box not in ("xywh", "xyxy"):
            self.fail(
                f"{value!r} does not tell the format; write NAME:xywh for [x, y, width, height], or NAME:xyxy for "
                "[x1, y1, x2, y2]",
                parameter,
                context,
            )
        return label, box


@click.command()
@click.argument("source", type=EXISTING_PATH, metavar="IN")
@click.argument("destination", type=ANY_PATH, metavar="OUT")
@format_option
@click.option(
    "--to",
    type=click.Choice(["folder", "coco", "yolo", "imagefolder"]),
    help="Format of the labels in a folder; folder is labels.csv.  [default: the format of IN, if it can be written]",
)
@click.option("--size", type=Size(), help="Height x width of the output images, as in 36x60.")
@click.option("--crop", type=Crop(), help="Crop this size from the centre before resizing. none: convert whole frames.")
@click.option("--grey", is_flag=True, help="Convert colour images to grey (luma).")
@click.option("--equalize", is_flag=True, help="Equalise histograms, as in MPIIGaze.")
@click.option(
    "--points",
    multiple=True,
    metavar="NAME",
    help="Label that holds a point [x, y] or several, in pixels, and moves with the images; may be repeated.",
)
@click.option(
    "--boxes",
    type=Boxes(),
    multiple=True,
    help="Label that holds boxes, as [x, y, width, height] (xywh) or as two corners (xyxy); may be repeated.",
)
@click.option("--keep", multiple=True, metavar="NAME", help="Label that is no position in the image; may be repeated.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Convert only N images, spread evenly over IN.")
@click.option("--split", type=Split(), help="Names of splits and their shares, as in train=0.8,test=0.2.")
@click.option(
    "--by",
    type=click.Choice(["subject", "id"]),
    help="Unit of a split: whole subjects, or images.  [default: subject, if known]",
)
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Number of processes.  [default: one per core]")
@include_option
@exclude_option
@overwrite_option
@on_error_option
@json_option
def command(
    source: Path,
    destination: Path,
    format: str | None,
    size: tuple[int, int] | None,
    crop: tuple[int, int] | Literal["none"] | None,
    grey: bool,
    equalize: bool,
    points: tuple[str, ...],
    boxes: tuple[tuple[str, str], ...],
    keep: tuple[str, ...],
    to: str | None,
    limit: int | None,
    split: dict[str, float] | None,
    by: str | None,
    workers: int | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    overwrite: bool,
    on_error: str,
    as_json: bool,
) -> None:
    """Convert a data set into a folder of lossless images with their labels, or into a store (OUT.h5).

    IN is a folder of images, a store, or a data set in another format (see --format). Labels are read from labels.csv,
    COCO, YOLO, ImageFolder, SOLO and BOP. They are written in the format in which they came, or in that of --to.

    Frames of UnityEyes and NYU hand are cropped to the eye and the hand; right eyes of MPIIGaze are mirrored. The same
    command resumes an interrupted conversion.

    --size and --crop move labels in pixels with the images: boxes, outlines, masks and keypoints of objects, lists of
    [x, y], and pairs of columns such as nose_x and nose_y. Labels that may or may not be positions have to be declared
    with --points, --boxes or --keep.

    Label images, such as masks, and other files beside the images go along into a folder unchanged. If --size or --crop
    changes the images, label images follow without new values, and the other files are left out, counted and named.

    Images that cannot be used are listed in OUT/rejected.csv, or in OUT.rejected.csv for a store.

    \b
    Examples:
      refiner convert unityeyes/imgs renders.h5 --size 36x60 --grey --equalize
      refiner convert MPIIGaze eyes --split train=0.8,test=0.2 --by subject
      refiner convert renders renders.h5 --size 48x64 --points corner --boxes face:xywh --keep material
      refiner convert renders.h5 renders
      refiner convert blenderproc/coco_data yolo --to yolo --size 240x320
    """
    from refiner.data.conversion import Conversion
    from refiner.data.convert import convert
    from refiner.data.folders.selection import Selection
    from refiner.data.labels.coordinates import Declared

    # Check the options that depend on each other, then convert.
    if by and not split:
        raise click.UsageError("--by needs --split; give both")
    declared = Declared(tuple(sorted(points)), tuple(sorted(boxes)), tuple(sorted(keep)))
    cut = None if crop == "none" else crop
    selection = Selection(include, exclude)
    conversion = Conversion(size, cut, grey, equalize, whole=crop == "none", declared=declared, selection=selection)
    with progress("converting") as advance:
        summaries = convert(
            source,
            destination,
            conversion,
            format=format,
            to=to,
            limit=limit,
            split=split,
            by=by,
            workers=workers or processor()["cores"],
            overwrite=overwrite,
            stop_on_error=on_error == "stop",
            attributes={"command": shlex.join(["refiner", *sys.argv[1:]])},
            report=advance,
        )
    if as_json:
        print_json("convert", splits={name: asdict(summary) for name, summary in summaries.items()})
    else:
        for name, summary in summaries.items():
            _print_summary(name, summary)
    if _print_losses(destination, summaries):
        sys.exit(REJECTED_STATUS)


def _print_losses(destination: Path, summaries: Mapping[str, "ConversionSummary"]) -> bool:
    """Say what is missing from the splits; the result tells whether anything is."""
    from refiner.data.convert import split_path
    from refiner.data.output.destination import rejects_list

    # Say where the rejected images are listed, then what was left out.
    rejected = [name for name, summary in summaries.items() if summary.rejected]
    if rejected:
        lists = [str(rejects_list(split_path(destination, name))) for name in rejected]
        click.echo(one_line(f"{', '.join(lists)} lists the rejected images and the reasons"), err=True)
    lost = [print_left_out(summary.left_out) for summary in summaries.values()]
    return any(lost) or bool(rejected)


def _print_summary(name: str, summary: "ConversionSummary") -> None:
    before = ", finished before" if summary.finished_before else ""
    click.echo(f"{name}{name and ': '}{summary.written:,} written, {summary.rejected:,} rejected{before}")
    if summary.label_files and summary.label_format != "folder":
        click.echo(f"  labels: {summary.label_format} ({', '.join(summary.label_files)})")
    if summary.carried:
        click.echo(f"  {summary.carried:,} label images and other files beside the images")
    # Show the most frequent kinds of images, and the ranges of the labels.
    for kind, count in list(summary.kinds.items())[:5]:
        click.echo(f"  {count:,} of {kind}")
    for column, (least, greatest) in summary.ranges.items():
        degrees = f" ({math.degrees(least):+.1f} to {math.degrees(greatest):+.1f} degrees)"
        click.echo(f"  {column}  {least:.4g} to {greatest:.4g}{degrees if column.endswith('_rad') else ''}")
    for reason, count in summary.reasons.items():
        click.echo(one_line(f"  rejected {count:,}: {reason}"), err=True)
