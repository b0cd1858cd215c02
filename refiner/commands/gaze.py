"""``refiner gaze``: train, evaluate, use and centre the gaze estimator, the downstream task."""

import logging
import math
import sys
from pathlib import Path

import click

from refiner.commands.gaze_text import test_lines, test_metrics
from refiner.commands.options import (
    ANY_PATH,
    EXISTING_PATH,
    REJECTED_STATUS,
    device_option,
    json_option,
    overwrite_option,
    seed_option,
    set_option,
)
from refiner.commands.reporting import print_json, progress

log = logging.getLogger(__name__)

_SHOWN_REJECTS = 5


@click.group()
def command() -> None:
    """Train, evaluate and use a gaze estimator: do refined renders train a better one?"""


@command.command()
@click.argument(
    "configuration", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[CONFIG]"
)
@click.option("--run", type=ANY_PATH, metavar="DIR", help="Run folder.  [default: runs/<name of CONFIG>, or runs/gaze]")
@set_option
@device_option
@click.option("--seed", type=click.IntRange(0), help="Short for --set seed=SEED.")
@click.option("--new", is_flag=True, help="Throw away the run that is there, and start over.")
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration, and stop.")
def train(
    configuration: Path | None,
    run: Path | None,
    overrides: tuple[str, ...],
    device: str,
    seed: int | None,
    new: bool,
    dry_run: bool,
) -> None:
    """Train a gaze estimator on labelled images, or go on where it was stopped.

    CONFIG is a YAML file such as configs/gaze.yaml; without one every setting has its default. Metrics, checkpoints
    and estimator.safetensors are written to the run folder. The same command again goes on where the run was stopped,
    to the same bits.

    \b
    Example:
      refiner gaze train configs/gaze.yaml --set data.train=refined
      refiner gaze train configs/gaze.yaml --set "data.train=[renders, refined]" --seed 1 --run runs/gaze-1
    """
    from refiner.config.yaml_files import read_configuration, write_configuration
    from refiner.gaze.config import GazeConfiguration

    if seed is not None:
        overrides = (*overrides, f"seed={seed}")
    resolved = read_configuration(configuration, GazeConfiguration, overrides=overrides)
    if dry_run:
        click.echo(write_configuration(resolved), nl=False)
        return
    for line in write_configuration(resolved).splitlines():
        log.info("%s", line)
    from refiner.gaze.training import train_estimator

    with progress("training") as advance:

        def report(step: int, steps: int, means: dict[str, float]) -> None:
            shown = {"error_degrees": "error", "held_out_degrees": "held out"}
            note = " ".join(f"{short} {means[name]:.2f}" for name, short in shown.items() if name in means)
            advance(step, steps, note)

        folder = run or Path("runs") / (configuration.stem if configuration else "gaze")
        file = train_estimator(resolved, folder, device=device, new=new, report=report)
    click.echo(file)


@command.command()
@click.argument("estimators", type=EXISTING_PATH, nargs=-1, required=True, metavar="ESTIMATOR... DATA")
@click.option("--cluster", metavar="COLUMN", help="Label the bootstrap draws by.  [default: subject and day, as known]")
@click.option("--by", multiple=True, metavar="COLUMN", help="Also a table by this label column; may be repeated.")
@click.option("--plots", type=ANY_PATH, metavar="DIR", help="Write pitch.svg, yaw.svg and errors.svg there.")
@seed_option
@device_option
@json_option
def evaluate(
    estimators: tuple[Path, ...],
    cluster: str | None,
    by: tuple[str, ...],
    plots: Path | None,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Test estimators (files or runs) on labelled images: angular error with an interval, baselines, tables.

    With several estimators, repeats with other seeds, the interval is over them. The last argument is the data.

    \b
    Example:
      refiner gaze evaluate runs/gaze photographs
      refiner gaze evaluate runs/gaze-0 runs/gaze-1 runs/gaze-2 photographs --by eye --json
    """
    *paths, data = estimators
    if not paths:
        raise click.UsageError("name at least one estimator, and then the data: refiner gaze evaluate runs/gaze DIR")
    from refiner.gaze.evaluation import evaluate_estimators
    from refiner.gaze.prediction import GazeEstimator

    loaded = [GazeEstimator.load(path, device=device) for path in paths]
    with progress("estimating") as advance:
        test = evaluate_estimators(
            loaded, data, cluster=cluster, by=by, seed=seed, report=lambda done, total: advance(done, total, "")
        )
    if plots:
        from refiner.report.gaze_plots import write_plots

        for file in write_plots(plots, test):
            click.echo(f"{file}: written", err=True)
    if as_json:
        print_json("gaze evaluate", **test_metrics(test, paths, [estimator.digest for estimator in loaded], data))
    else:
        for line in test_lines(test, paths):
            click.echo(line)
    _say_rejected(test.rejected)


@command.command()
@click.argument("estimator", type=EXISTING_PATH, metavar="ESTIMATOR")
@click.argument("source", type=EXISTING_PATH, metavar="DATA")
@click.argument("destination", required=False, type=ANY_PATH, metavar="[OUT.csv]")
@device_option
@json_option
def predict(estimator: Path, source: Path, destination: Path | None, device: str, as_json: bool) -> None:
    """Write the gaze of every image of DATA as a table: file, gaze_pitch_rad, gaze_yaw_rad.

    ESTIMATOR is an estimator file or a run. What cannot be used is named in OUT.rejected.csv. Of a single image the
    gaze is printed, and OUT.csv is left out.

    \b
    Example:
      refiner gaze predict runs/gaze photographs predictions.csv
      refiner gaze predict runs/gaze eye.png
    """
    from refiner.gaze.prediction import GazeEstimator, predict_dataset, predict_image, rejects_path
    from refiner.images.io import is_image_file

    single = source.is_file() and is_image_file(source)
    if single == (destination is not None):
        raise click.UsageError(
            f"{source}: " + ("one image is printed; leave OUT.csv out" if single else "needs OUT.csv")
        )
    loaded = GazeEstimator.load(estimator, device=device)
    if destination is None:
        pitch, yaw = (float(angle) for angle in predict_image(loaded, source))
        if as_json:
            print_json("gaze predict", file=str(source), gaze_pitch_rad=pitch, gaze_yaw_rad=yaw)
        else:
            degrees = f"({math.degrees(pitch):.2f}, {math.degrees(yaw):.2f})"
            click.echo(f"pitch {pitch:.4f}, yaw {yaw:.4f} radians: {degrees} degrees")
        return
    with progress("estimating") as advance:
        summary = predict_dataset(loaded, source, destination, report=lambda done, total: advance(done, total, ""))
    if as_json:
        print_json("gaze predict", **summary._asdict())
    else:
        click.echo(f"{summary.predicted} predicted, {summary.rejected} rejected")
    if summary.rejected:
        click.echo(f"see {rejects_path(destination)} for what was rejected and why", err=True)
        sys.exit(REJECTED_STATUS)


@command.command()
@click.argument("estimator", type=EXISTING_PATH, metavar="ESTIMATOR")
@click.argument("real", type=EXISTING_PATH, metavar="PHOTOGRAPHS")
@click.argument("destination", type=ANY_PATH, metavar="OUT.safetensors")
@device_option
@json_option
def centre(estimator: Path, real: Path, destination: Path, device: str, as_json: bool) -> None:
    """Move an estimator's answers by a constant: over PHOTOGRAPHS their mean becomes that of its training labels.

    No label of PHOTOGRAPHS is read. It helps where people look, in the mean, where the renders do, and harms where they
    do not: state that range when rendering (refiner render --set gaze.pitch_degrees=...).

    \b
    Example:
      refiner gaze centre runs/gaze photographs centred.safetensors
    """
    from refiner.gaze.bias_correction import correct_bias

    with progress("estimating") as advance:
        correction = correct_bias(
            estimator, real, destination, device=device, report=lambda done, total: advance(done, total, "")
        )
    pitch, yaw = (math.degrees(angle) for angle in correction.offset)
    if as_json:
        print_json(
            "gaze centre",
            estimator=str(destination),
            real=correction.real,
            rejected=correction.rejected,
            moved_degrees=[pitch, yaw],
        )
    else:
        click.echo(f"{destination}: pitch moved by {pitch:+.2f}, yaw by {yaw:+.2f} degrees")
    _say_rejected(correction.rejected)


@command.command()
@click.argument("estimator", type=EXISTING_PATH, metavar="ESTIMATOR")
@click.argument("synthetic", type=EXISTING_PATH, metavar="RENDERS")
@click.argument("real", type=EXISTING_PATH, metavar="PHOTOGRAPHS")
@click.argument("destination", type=ANY_PATH, metavar="OUT")
@seed_option
@device_option
@overwrite_option
@json_option
def match(
    estimator: Path,
    synthetic: Path,
    real: Path,
    destination: Path,
    seed: int,
    device: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Draw renders whose gaze is spread like that of PHOTOGRAPHS, as ESTIMATOR sees it, and write them to OUT.

    Train the refiner on OUT, and refine all renders with it: a discriminator that sees renders look farther aside than
    photographs would have the refiner change what shows the gaze. No label of PHOTOGRAPHS is read. OUT is a folder or a
    store (.h5).

    \b
    Example:
      refiner gaze train configs/gaze.yaml --set data.train=renders
      refiner gaze match runs/gaze renders photographs drawn.h5
      refiner train configs/eyes.yaml --set data.synthetic=drawn.h5 --set data.real=photographs
    """
    from refiner.gaze.matching import match_synthetic

    with progress("matching") as advance:
        found = match_synthetic(
            estimator,
            synthetic,
            real,
            destination,
            seed=seed,
            device=device,
            overwrite=overwrite,
            report=lambda done, total: advance(done, total, ""),
        )
    if as_json:
        print_json("gaze match", out=str(destination), **found._asdict())
    else:
        click.echo(
            f"{destination}: {found.selected} of {found.synthetic} renders, like the gaze of {found.real} photographs"
        )
    _say_rejected(found.rejected)


def _say_rejected(rejected: dict[str, str]) -> None:
    if not rejected:
        return
    for path, reason in list(rejected.items())[:_SHOWN_REJECTS]:
        click.echo(f"rejected {path}: {reason}", err=True)
    if len(rejected) > _SHOWN_REJECTS:
        click.echo(f"and {len(rejected) - _SHOWN_REJECTS} more", err=True)
    sys.exit(REJECTED_STATUS)
