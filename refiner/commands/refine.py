"""``refiner refine``: refine a folder of renders, a store, or one image."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refiner.commands.shared.options import (
    ANY_PATH,
    EXISTING_PATH,
    REFINER_PATH,
    REJECTED_STATUS,
    SHARD,
    device_option,
    exclude_option,
    include_option,
    json_option,
    mask_option,
    on_error_option,
    overwrite_option,
    points_option,
)
from refiner.commands.shared.reporting import one_line, print_json, print_left_out, progress

if TYPE_CHECKING:
    from refiner.core.parallel.shards import Shard
    from refiner.inference.jobs.refine import Summary


@click.command()
@click.argument("source", type=EXISTING_PATH, metavar="IN")
@click.argument("destination", type=ANY_PATH, metavar="OUT")
@click.option(
    "--refiner",
    "refiner_path",
    type=REFINER_PATH,
    required=True,
    metavar="FILE_OR_RUN",
    help="Refiner to use: a refiner file, a run folder, hf://OWNER/NAME, or demo, a small one that ships with the "
    "package.",
)
@device_option
@click.option(
    "--backend",
    type=click.Choice(
        ["auto", "torch", "torch-bf16", "torch-compiled", "torch-compiled-bf16", "openvino", "openvino-bf16", "onnx"]
    ),
    default="auto",
    show_default=True,
    help="Inference library. For large jobs on the CPU, auto benchmarks the installed ones and uses the fastest. "
    "openvino and onnx need the extra of that name.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Number of worker processes.  [default: up to one per core, depending on the size of the job]",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Run on this machine, or on a Ray cluster whose nodes share the file system (needs the extra ray).",
)
@click.option(
    "--shard",
    type=SHARD,
    metavar="I/N",
    help="Process shard I of N. When all shards are done, run once without --shard to merge.",
)
@click.option(
    "--versions",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Number of refined versions of each image, by a refiner that draws at random (fourier or histogram, as method "
    "or as adaptation). Version 0 is OUT; the others are OUT_v1, OUT_v2 and so on, each with all labels.",
)
@overwrite_option
@on_error_option
@click.option(
    "--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="Quality of JPEG and WebP files."
)
@click.option(
    "--max-drift",
    type=click.FloatRange(min=0, min_open=True),
    metavar="X",
    help="Reject images with a drift score above X, or of unknown drift. The score is the distance that the labelled "
    "point (or the whole image) moved, in pixels of a 36x60 patch, plus a penalty for lost structure. In an eye patch "
    "of any size, 1 is about 3 degrees of gaze. With annotated objects, the worst object counts, or new structure "
    "outside them.",
)
@click.option(
    "--drop-objects",
    is_flag=True,
    help="With --max-drift: do not reject an image for its objects, but write the annotations without those whose "
    "drift score is above X. OUT/dropped_objects.csv lists them.",
)
@click.option(
    "--keep-rejected",
    type=ANY_PATH,
    metavar="DIR",
    help="Folder or store for images rejected by --max-drift.  [default: do not keep them]",
)
@points_option
@mask_option
@include_option
@exclude_option
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
    versions: int,
    overwrite: bool,
    on_error: str,
    quality: int,
    max_drift: float | None,
    drop_objects: bool,
    keep_rejected: Path | None,
    points: str | None,
    mask: Path | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make renders look like real images, and measure how far their labels moved.

    IN is a folder (searched recursively), an HDF5 store, or one image. OUT is of the same kind. Refined images keep
    their names, sizes, bit depths, channels and file types. Label images, such as masks, are never refined. They are
    copied byte for byte, as are annotations and all other files. Files that belong to a rejected image, by their names,
    go where the image goes; a file about several images is copied as it is.

    Finished images are skipped: run the same command again to resume, or to refine images that are new or changed.
    OUT/rejected.csv lists the images that were rejected, with the reasons. OUT/drift.csv says how far the label of each
    image may have moved, and each of its annotated objects. A store OUT.h5 has the table OUT.rejected.csv next to it,
    and the drift among its labels.

    \b
    Examples:
      refiner refine renders refined --refiner runs/eyes
      refiner refine renders refined --refiner runs/eyes --max-drift 1 --keep-rejected doubtful
      refiner refine renders.h5 refined.h5 --refiner runs/eyes --backend openvino
      refiner refine scenes refined --refiner runs/scenes --max-drift 1 --drop-objects
      refiner refine renders refined --refiner runs/eyes --shard 2/8
      refiner refine renders refined --refiner runs/fourier --versions 3
      refiner refine eye.png refined.png --refiner demo
    """
    # Check the options before anything slow is imported.
    if keep_rejected is not None and max_drift is None:
        raise click.UsageError("--keep-rejected needs --max-drift; without a limit no image is rejected for drift")
    if drop_objects and max_drift is None:
        raise click.UsageError("--drop-objects needs --max-drift, the drift score above which an object is dropped")
    from refiner.core.devices import keep_freed_memory
    from refiner.data.drift.regions import LabelRegion
    from refiner.data.drift.table import DriftLimit
    from refiner.data.folders.selection import Selection
    from refiner.inference.jobs.refine import refine_path
    from refiner.inference.jobs.versions import version_outputs

    keep_freed_memory()
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
            versions=versions,
            overwrite=overwrite,
            stop_on_error=on_error == "stop",
            quality=quality,
            limit=DriftLimit(max_drift, keep_rejected, drop_objects),
            region=LabelRegion(points, mask),
            selection=Selection(include, exclude),
            report=advance,
        )
    outputs = [output.path for output in version_outputs(source, destination, DriftLimit(), versions)]
    _print_summary(summary, outputs, shard, as_json=as_json)
    if print_left_out(summary.left_out) or summary.rejected:
        sys.exit(REJECTED_STATUS)


def _print_summary(summary: "Summary", outputs: Sequence[Path], shard: "Shard | None", *, as_json: bool) -> None:
    """Print the numbers of images, and say where the rejected ones are listed."""
    from refiner.data.output.destination import rejects_list

    if as_json:
        left_out, paths = [asdict(report) for report in summary.left_out], [str(path) for path in outputs]
        print_json("refine", **{**summary._asdict(), "left_out": left_out, "outputs": paths})
    else:
        copied = f", {summary.copied} other files copied" if summary.copied else ""
        click.echo(f"{summary.refined} refined, {summary.skipped} skipped, {summary.rejected} rejected{copied}")
        if len(outputs) > 1:
            click.echo(one_line(f"{len(outputs)} versions: {', '.join(map(str, outputs))}"))
    # A single shard does not write the list of rejected images.
    if summary.rejected and shard is not None:
        click.echo("the run without --shard will list the rejected images in rejected.csv", err=True)
    elif summary.rejected:
        lists = [str(rejects_list(path)) for path in outputs if len(outputs) == 1 or rejects_list(path).exists()]
        click.echo(one_line(f"see {', '.join(lists)} for the rejected images and the reasons"), err=True)
