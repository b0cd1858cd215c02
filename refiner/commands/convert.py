"""``refiner convert``: any supported data set into a folder of patches with labels."""

import sys
from pathlib import Path

import click

from refiner.commands.options import (
    ANY_PATH,
    EXISTING_FOLDER,
    REJECTED_STATUS,
    Size,
    json_option,
    on_error_option,
    overwrite_option,
)
from refiner.commands.reporting import print_json, progress


@click.command()
@click.argument("source", type=EXISTING_FOLDER, metavar="IN")
@click.argument("destination", type=ANY_PATH, metavar="OUT")
@click.option("--format", "layout", type=click.Choice(["unityeyes", "folder"]), help="Layout of IN.  [default: look]")
@click.option("--size", type=Size(), help="Height x width of the patches, as in 36x60.")
@click.option("--grey", is_flag=True, help="Take the luma of colour images.")
@click.option("--equalize", is_flag=True, help="Equalise histograms, as MPIIGaze's patches are.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Convert only N images, spread over IN.")
@overwrite_option
@on_error_option
@json_option
def command(
    source: Path,
    destination: Path,
    layout: str | None,
    size: tuple[int, int] | None,
    grey: bool,
    equalize: bool,
    limit: int | None,
    overwrite: bool,
    on_error: str,
    as_json: bool,
) -> None:
    """Convert a data set into a folder of PNG patches with labels.csv.

    A folder of UnityEyes renders (.jpg + .json) is cut to eye patches at the scale of MPIIGaze's; a plain folder
    keeps its tree.

    \b
    Example:
      refiner convert unityeyes/imgs renders --size 36x60 --grey --equalize
    """
    from refiner.conversion import Conversion, convert

    with progress("converting") as advance:
        written, rejected = convert(
            source,
            destination,
            Conversion(size, grey, equalize),
            format=layout,
            limit=limit,
            overwrite=overwrite,
            stop_on_error=on_error == "stop",
            report=lambda done, total: advance(done, total, ""),
        )
    if as_json:
        print_json("convert", written=written, rejected=rejected)
    else:
        click.echo(f"{written} written, {rejected} rejected")
    if rejected:
        click.echo(f"see {destination / 'rejected.csv'} for what was rejected and why", err=True)
        sys.exit(REJECTED_STATUS)
