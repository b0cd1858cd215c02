"""``refiner gaze predict``: predict the gaze of a data set or of one image."""

import math
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

import click

from refiner.commands.gaze.arguments import check_order
from refiner.commands.shared.options import ANY_PATH, REJECTED_STATUS, device_option, json_option
from refiner.commands.shared.reporting import print_json, progress
from refiner.core.path_kinds import is_network, path_kind

ORDER = "ESTIMATOR... DATA [OUT.csv]"


@click.command()
@click.argument("paths", type=ANY_PATH, nargs=-1, required=True, metavar=ORDER)
@click.option("--ensemble", is_flag=True, help="Predict the mean of several estimators, or of all in a run.")
@device_option
@json_option
def command(paths: tuple[Path, ...], ensemble: bool, device: str, as_json: bool) -> None:
    """Write the gaze of every image of DATA to a table: file, gaze_pitch_rad, gaze_yaw_rad.

    ESTIMATOR is an estimator file or a run folder. Unusable images are listed in OUT.rejected.csv. If DATA is a single
    image, its gaze is printed, and OUT.csv must be omitted. With --ensemble, several estimators predict together, or
    all estimators of a run with co-teaching.

    \b
    Examples:
      refiner gaze predict runs/gaze real predictions.csv
      refiner gaze predict runs/gaze-0 runs/gaze-1 runs/gaze-2 real predictions.csv --ensemble
      refiner gaze predict runs/gaze eye.png
    """
    estimators, source, destination = _split(paths)
    if len(estimators) > 1 and not ensemble:
        raise click.UsageError(
            f"{len(estimators)} estimators were named; pass --ensemble to predict their mean, or name one"
        )
    from refiner.gaze.ensemble import GazeEnsemble
    from refiner.gaze.prediction import GazeEstimator, predict_dataset, predict_image, rejects_path
    from refiner.images.io import is_image_file

    # A single image is printed and needs no table; a data set needs one.
    single = source.is_file() and is_image_file(source)
    if single and destination is not None:
        raise click.UsageError(f"{source} is a single image, whose gaze is printed; omit OUT.csv")
    if not single and destination is None:
        raise click.UsageError(f"{source} is a data set, whose gaze is written to a table; add OUT.csv")
    loaded = (
        GazeEnsemble.load(estimators, device=device) if ensemble else GazeEstimator.load(estimators[0], device=device)
    )

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


def _split(paths: Sequence[Path]) -> tuple[Sequence[Path], Path, Path | None]:
    """Return the estimators, the data, and the table if it is named: networks come first."""
    networks = list(takewhile(lambda path: is_network(path_kind(path)), paths))
    first = max(1, len(networks))  # a first argument that is no network fails when it is loaded
    rest = paths[first:]
    if not 1 <= len(rest) <= 2:
        raise click.UsageError(f"expected one or more estimators, then the data, then the table: {ORDER}")
    for path in paths[: first + 1]:
        if not path.exists():
            raise click.UsageError(f"path {path} does not exist; the order is: {ORDER}")
    check_order(rest[:1], ORDER)
    return paths[:first], rest[0], rest[1] if len(rest) == 2 else None
