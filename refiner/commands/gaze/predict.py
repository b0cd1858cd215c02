"""``refiner gaze predict``: predict the gaze of a data set or of one image."""

import math
import sys
from pathlib import Path

import click

from refiner.commands.gaze.arguments import check_order
from refiner.commands.options import ANY_PATH, EXISTING_PATH, REJECTED_STATUS, device_option, json_option
from refiner.commands.reporting import print_json, progress


@click.command()
@click.argument("estimator", type=EXISTING_PATH, metavar="ESTIMATOR")
@click.argument("source", type=EXISTING_PATH, metavar="DATA")
@click.argument("destination", required=False, type=ANY_PATH, metavar="[OUT.csv]")
@device_option
@json_option
def command(estimator: Path, source: Path, destination: Path | None, device: str, as_json: bool) -> None:
    """Write the gaze of every image of DATA to a table: file, gaze_pitch_rad, gaze_yaw_rad.

    ESTIMATOR is an estimator file or a run folder. Unusable images are listed in OUT.rejected.csv. If DATA is a single
    image, its gaze is printed, and OUT.csv must be omitted.

    \b
    Examples:
      refiner gaze predict runs/gaze real predictions.csv
      refiner gaze predict runs/gaze eye.png
    """
    from refiner.gaze.prediction import GazeEstimator, predict_dataset, predict_image, rejects_path
    from refiner.images.io import is_image_file

    check_order([source], "ESTIMATOR DATA [OUT.csv]")
    # A single image is printed and needs no table; a data set needs one.
    single = source.is_file() and is_image_file(source)
    if single and destination is not None:
        raise click.UsageError(f"{source} is a single image, whose gaze is printed; omit OUT.csv")
    if not single and destination is None:
        raise click.UsageError(f"{source} is a data set, whose gaze is written to a table; add OUT.csv")
    loaded = GazeEstimator.load(estimator, device=device)

    # Print the gaze of a single image.
    if destination is None:
        pitch, yaw = (float(angle) for angle in predict_image(loaded, source))
        if as_json:
            print_json("gaze predict", file=str(source), gaze_pitch_rad=pitch, gaze_yaw_rad=yaw)
        else:
            degrees = f"({math.degrees(pitch):.2f}, {math.degrees(yaw):.2f})"
            click.echo(f"pitch {pitch:.4f}, yaw {yaw:.4f} radians: {degrees} degrees")
        return

    # Write the table of a data set.
    with progress("predicting") as advance:
        summary = predict_dataset(loaded, source, destination, report=advance)
    if as_json:
        print_json("gaze predict", **summary._asdict())
    else:
        click.echo(f"{summary.predicted} predicted, {summary.rejected} rejected")
    if summary.rejected:
        click.echo(f"{rejects_path(destination)} lists the rejected images", err=True)
        sys.exit(REJECTED_STATUS)
