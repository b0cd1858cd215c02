"""``refiner gaze match``: select renders whose gaze is distributed like that of real images."""

from pathlib import Path

import click

from refiner.commands.gaze.arguments import check_order
from refiner.commands.gaze.rejected import report_rejected
from refiner.commands.shared.options import (
    ANY_PATH,
    EXISTING_PATH,
    device_option,
    json_option,
    overwrite_option,
    seed_option,
)
from refiner.commands.shared.reporting import print_json, progress


@click.command()
@click.argument("estimator", type=EXISTING_PATH, metavar="ESTIMATOR")
@click.argument("synthetic", type=EXISTING_PATH, metavar="SYNTHETIC")
@click.argument("real", type=EXISTING_PATH, metavar="REAL")
@click.argument("destination", type=ANY_PATH, metavar="OUT")
@seed_option
@device_option
@overwrite_option
@json_option
def command(
    estimator: Path,
    synthetic: Path,
    real: Path,
    destination: Path,
    seed: int,
    device: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Select renders whose gaze is distributed like that of real images, and write them to OUT.

    SYNTHETIC is labelled with gaze. The gaze of REAL is predicted by ESTIMATOR, a file or a run folder; its labels are
    not read. OUT is a folder or a store (.h5).

    Train the refiner on OUT, and refine all renders with it. If the synthetic gaze range is wider than the real one,
    the discriminator can tell the domains by it, and the refiner learns to change the visible gaze.

    \b
    Examples:
      refiner gaze train gaze --train renders
      refiner gaze match runs/gaze renders real matched.h5
      refiner train eyes --synthetic matched.h5 --real real
    """
    from refiner.gaze.matching import match_synthetic

    check_order([synthetic, real], "ESTIMATOR SYNTHETIC REAL OUT")
    with progress("matching") as advance:
        found = match_synthetic(
            estimator,
            synthetic,
            real,
            destination,
            seed=seed,
            device=device,
            overwrite=overwrite,
            report=advance,
        )
    # Print the numbers of renders and real images.
    if as_json:
        print_json("gaze match", out=str(destination), **found._asdict())
    else:
        click.echo(
            f"{destination}: selected {found.selected} of {found.synthetic} renders to match the gaze of {found.real} "
            "real images"
        )
    report_rejected(found.rejected)
