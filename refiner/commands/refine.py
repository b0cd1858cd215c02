"""``refiner refine``: refine a folder of renders, or one image."""

import sys
from pathlib import Path
from typing import Any

import click

from refiner.commands.options import (
    ANY_PATH,
    EXISTING_PATH,
    REFINER_PATH,
    REJECTED_STATUS,
    SHARD,
    device_option,
    json_option,
    mask_option,
    on_error_option,
    overwrite_option,
    points_option,
)
from refiner.commands.reporting import one_line, print_json, progress


@click.command()
@click.argument("source", type=EXISTING_PATH, metavar="IN")
@click.argument("destination", type=ANY_PATH, metavar="OUT")
@click.option(
    "--refiner",
    "refiner_path",
    type=REFINER_PATH,
    required=True,
    metavar="FILE_OR_RUN",
    help="The refiner; stand-in is one that comes along, to try.",
)
@device_option
@click.option(
    "--backend",
    type=click.Choice(
        ["auto", "torch", "torch-bf16", "torch-compiled", "torch-compiled-bf16", "openvino", "openvino-bf16", "onnx"]
    ),
    default="auto",
    show_default=True,
    help="What computes: auto tries what is installed, where there is much to do; openvino and onnx are extras.",
)
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes.  [default: one a core for large jobs]")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="This machine, or the Ray cluster that is found (extra ray; all nodes see the same files).",
)
@click.option(
    "--shard",
    type=SHARD,
    metavar="I/N",
    help="Do the I-th of N shares alone, beside runs on other machines; afterwards the command without it gathers.",
)
@overwrite_option
@on_error_option
@click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="Of JPEG and WebP files.")
@click.option(
    "--max-drift",
    type=click.FloatRange(min=0, min_open=True),
    metavar="X",
    help="Reject images whose drift score is larger: pixels that the labelled point, or else the whole image, moved, "
    "and what is lost of its structure; 1 is about 3 degrees of gaze in a 36x60 patch.",
)
@click.option("--keep-rejected", type=ANY_PATH, metavar="DIR", help="Write those images there, instead of nowhere.")
@points_option
@mask_option
@json_option
def command(
    source: Path,
    destination: Path,
    refiner_path: Path,
    device: str,
    backend: str,
    workers: int | None,
    engine: str,
    shard: Any,
    overwrite: bool,
    on_error: str,
    quality: int,
    max_drift: float | None,
    keep_rejected: Path | None,
    points: str | None,
    mask: Path | None,
    as_json: bool,
) -> None:
    """Refine a folder of renders into a folder, or one image into one image.

    Names, sizes, bit depths, channels and file types stay; tables beside the images (.csv, .json) are copied. The
    same command again does only what is missing or has changed. What cannot be used is named in OUT/rejected.csv; how
    far labels may have moved stands in OUT/drift.csv.

    \b
    Example:
      refiner refine renders refined --refiner runs/eyes
      refiner refine renders refined --refiner runs/eyes --max-drift 1 --keep-rejected doubtful
      refiner refine renders refined --refiner runs/eyes --shard 2/8
    """
    if keep_rejected is not None and max_drift is None:
        raise click.UsageError("--keep-rejected needs --max-drift, which says what is rejected")
    from refiner.data.labels.drift import DriftLimit
    from refiner.data.labels.regions import LabelRegion
    from refiner.inference.refine import refine_path

    with progress("refining") as advance:
        summary = refine_path(
            source,
            destination,
            refiner_path,
            device=device,
            backend=backend,
            engine=engine,
            workers=workers,
            shard=shard,
            overwrite=overwrite,
            stop_on_error=on_error == "stop",
            quality=quality,
            limit=DriftLimit(max_drift, keep_rejected),
            region=LabelRegion(points, mask),
            report=lambda done, total: advance(done, total, ""),
        )
    if as_json:
        print_json("refine", **summary._asdict())
    else:
        click.echo(f"{summary.refined} refined, {summary.skipped} finished before, {summary.rejected} rejected")
    if summary.rejected and shard is not None:
        click.echo("the run that gathers, without --shard, names what was rejected in rejected.csv", err=True)
    elif summary.rejected:
        click.echo(one_line(f"see {destination / 'rejected.csv'} for what was rejected and why"), err=True)
    if summary.rejected:
        sys.exit(REJECTED_STATUS)
