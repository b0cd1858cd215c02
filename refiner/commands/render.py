"""``refiner render``: labelled procedural eyes."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from refiner.commands.shared.options import ANY_PATH, EXISTING_PATH, Size, overwrite_option, seed_option, set_option
from refiner.commands.shared.rendering import write_rendered
from refiner.commands.shared.reporting import progress

if TYPE_CHECKING:
    from refiner.eyes.scene.parameters import EyeParameters


@click.command()
@click.argument("out", type=ANY_PATH, metavar="OUT")
@click.option("--count", type=click.IntRange(1), default=1000, show_default=True, help="Number of images.")
@seed_option
@click.option("--size", type=Size(), default=(36, 60), show_default="36x60", help="Height x width in pixels.")
@click.option("--colour", is_flag=True, help="Render RGB instead of grey.")
@click.option(
    "--layout",
    type=click.Choice(["folder", "unityeyes"]),
    default="folder",
    show_default=True,
    help="folder: PNG files and labels.csv; unityeyes: JPEG and JSON files as UnityEyes writes them.",
)
@click.option(
    "--target-camera",
    is_flag=True,
    help="Write unlabelled images of other people, taken by the simulated target camera.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="YAML file with ranges of the eyes; see refiner.eyes.scene.parameters.EyeParameters.",
)
@set_option
@click.option(
    "--calibrate",
    "real",
    type=EXISTING_PATH,
    metavar="REAL",
    help="Fit the ranges that --config and --set leave open to these unlabelled images; writes them to OUT.yaml.",
)
@overwrite_option
def command(
    out: Path,
    count: int,
    seed: int,
    size: tuple[int, int],
    colour: bool,
    layout: str,
    target_camera: bool,
    config: Path | None,
    overrides: tuple[str, ...],
    real: Path | None,
    overwrite: bool,
) -> None:
    """Render labelled procedural eyes into OUT, as the camera of MPIIGaze's normalised patches sees them.

    OUT is a folder, or a store if its name ends in .h5. The labels are gaze, head pose, pupil centre, and the outlines
    of iris and lids. Image i of a seed is always the same. Twenty images in a row show one person.

    --calibrate finds the renders most similar to your real images and shrinks the ranges to theirs. Fix any range you
    already know with --set or --config.

    \b
    Examples:
      refiner render renders --count 5000 --seed 1
      refiner render renders.h5 --count 100000 --seed 1
      refiner render large --size 224x224 --colour --set "gaze.pitch_degrees=[-20, 5]"
      refiner render renders --count 5000 --calibrate real
      refiner render renders --count 5000 --calibrate real --set "gaze.pitch_degrees=[-20, 5]"
      refiner render real --target-camera --count 2000 --seed 2
    """
    # The target camera plays the part of the real images, so its ranges are fixed.
    if target_camera and (config or overrides or real or layout != "folder"):
        raise click.UsageError(
            "--target-camera has fixed ranges and writes no labels; leave out --config, --set, --calibrate and --layout"
        )
    from refiner.config.yaml_files import read_configuration
    from refiner.data.labels.records import Record
    from refiner.eyes.records import rendered_records
    from refiner.eyes.scene.parameters import EyeParameters
    from refiner.eyes.target_camera import TargetCamera, target_parameters
    from refiner.eyes.unityeyes_writer import write_unityeyes

    # Choose the ranges.
    parameters = read_configuration(config, EyeParameters, overrides=overrides)
    if real is not None:
        parameters = _calibrated(parameters, real, size, out, overwrite=overwrite)
    if target_camera:
        parameters = target_parameters()

    # Render and write.
    camera = TargetCamera(seed) if target_camera else None
    rendered = partial(rendered_records, parameters, seed=seed, size=size, channels=3 if colour else 1, camera=camera)

    def records(first: int, end: int) -> Iterator[Record]:
        for record in rendered(end, first=first):
            yield Record(record.id, record.image) if target_camera else record

    if layout == "unityeyes":
        with progress("rendering") as advance:
            write_unityeyes(out, rendered(count), count, overwrite=overwrite, report=advance)
    else:
        job = json.dumps([parameters.model_dump(), count, seed, size, colour, target_camera])
        write_rendered(out, records, count, job=job, labelled=not target_camera, overwrite=overwrite)
    click.echo(f"{count} {'images of the simulated target camera' if target_camera else 'labelled eyes'} in {out}")


def _calibrated(
    base: "EyeParameters", real: Path, size: tuple[int, int], out: Path, *, overwrite: bool
) -> "EyeParameters":
    """Fit ranges to real images, and write them next to ``out`` for later runs with ``--config``."""
    from refiner.config.yaml_files import write_configuration
    from refiner.core.errors import WrongOutputError
    from refiner.core.files import write_text
    from refiner.eyes.calibration import calibrate_on

    with progress("calibrating") as advance:
        fit, count = calibrate_on(real, base, key="--calibrate", size=size, report=advance)
    # Keep the ranges, so that later renders need no calibration.
    ranges_file, ranges = out.with_name(f"{out.name}.yaml"), write_configuration(fit.parameters)
    if ranges_file.exists() and not overwrite and ranges_file.read_bytes() != ranges.encode():
        raise WrongOutputError(
            f"{ranges_file} already exists and holds something else than the calibrated ranges; choose another OUT, or "
            "pass --overwrite to replace it"
        )
    write_text(ranges_file, ranges)
    click.echo(f"calibrated on {count} real images, mean correlation {fit.likeness[-1]:.2f}; ranges in {ranges_file}")
    return fit.parameters
