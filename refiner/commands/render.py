"""``refiner render``: labelled procedural eyes."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from refiner.eyes.scene.parameters import EyeParameters
from refiner.commands.options import ANY_PATH, Size, seed_option, set_option
from refiner.commands.reporting import progress


@click.command()
@click.argument("out", type=ANY_PATH, metavar="OUT")
@click.option("--count", type=click.IntRange(1), default=1000, show_default=True, help="Number of images.")
@seed_option
@click.option("--size", type=Size(), default=(36, 60), show_default="36x60", help="Height x width in pixels.")
@click.option("--colour", is_flag=True, help="RGB instead of grey.")
@click.option(
    "--layout",
    type=click.Choice(["folder", "unityeyes"]),
    default="folder",
    show_default=True,
    help="folder: .png and labels.csv; unityeyes: .jpg and .json as UnityEyes writes them.",
)
@click.option("--stand-in", is_flag=True, help="Unlabelled photographs of a stand-in camera, of other people.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="YAML file with ranges of the eyes; see refiner.eyes.EyeParameters.",
)
@set_option
@click.option(
    "--calibrate",
    "real",
    type=click.Path(exists=True, path_type=Path),
    metavar="PHOTOGRAPHS",
    help="Shrink the ranges that you do not set to what these unlabelled images show; writes them to OUT.yaml.",
)
@click.option("--overwrite", is_flag=True, help="Replace a store that is there.")
def command(
    out: Path,
    count: int,
    seed: int,
    size: tuple[int, int],
    colour: bool,
    layout: str,
    stand_in: bool,
    config: Path | None,
    overrides: tuple[str, ...],
    real: Path | None,
    overwrite: bool,
) -> None:
    """Render labelled procedural eyes, in the camera of MPIIGaze's normalised patches.

    Labels are gaze, head pose, the centre of the pupil, and the outlines of iris and lids. Image i of a seed is
    always the same, and twenty images in a row show one person. OUT is a folder, or a store when it ends in .h5.
    --calibrate looks for the renders most like your photographs, and draws from the ranges that these came from; what
    --set or --config say stays as it is.

    \b
    Examples:
      refiner render renders --count 5000 --seed 1
      refiner render renders.h5 --count 100000 --seed 1
      refiner render big --size 224x224 --colour --set "gaze.pitch_degrees=[-20, 5]"
      refiner render renders --count 5000 --calibrate photographs
      refiner render renders --count 5000 --calibrate photographs --set "gaze.pitch_degrees=[-20, 5]"
      refiner render photographs --stand-in --count 2000 --seed 2
    """
    from refiner.config.yaml_files import read_configuration
    from refiner.core.errors import ConfigurationError
    from refiner.data.labels.records import Record
    from refiner.data.output.records_writer import write_folder, write_store
    from refiner.data.store.store_names import is_store_name
    from refiner.eyes.records import rendered_records
    from refiner.eyes.scene.parameters import EyeParameters
    from refiner.eyes.target_camera import TargetCamera, target_parameters
    from refiner.eyes.unityeyes_writer import write_unityeyes

    if stand_in and (config or overrides or real or layout != "folder"):
        raise ConfigurationError(
            "--stand-in has parameters of its own and no labels; leave out --config, --set, --calibrate, --layout"
        )
    parameters = read_configuration(config, EyeParameters, overrides=overrides)
    if real is not None:
        parameters = _calibrated(parameters, real, size, out)
    if stand_in:
        parameters = target_parameters()
    camera = TargetCamera(seed) if stand_in else None
    drawn = partial(rendered_records, parameters, seed=seed, size=size, channels=3 if colour else 1, camera=camera)
    with progress("rendering") as advance:

        def report(done: int, total: int) -> None:
            advance(done, total, "")

        def records(first: int, end: int) -> Iterator[Record]:
            for record in drawn(end, first=first):
                yield Record(record.id, record.image) if stand_in else record

        if layout == "unityeyes":
            write_unityeyes(out, drawn(count), count, report=report)
        elif is_store_name(out):
            job = json.dumps([parameters.model_dump(), count, seed, size, colour, stand_in])
            write_store(out, records, count, job=job, overwrite=overwrite, report=report)
        else:
            write_folder(out, drawn(count), count, labelled=not stand_in, report=report)
    click.echo(f"{count} {'real of the stand-in camera' if stand_in else 'labelled eyes'} in {out}")


def _calibrated(base: "EyeParameters", real: Path, size: tuple[int, int], out: Path) -> "EyeParameters":
    """Ranges shrunken to the photographs, kept beside ``out`` for other runs with ``--config``."""
    import numpy as np

    from refiner.config.yaml_files import write_configuration
    from refiner.core.files import write_text
    from refiner.data.domains import load_domain
    from refiner.eyes.calibration import calibrate, evenly, stated
    from refiner.images.arrays import to_uint8

    domain = load_domain(real, key="--calibrate", size=size, channels=1)
    seen = domain.batch(evenly(len(domain))).numpy()
    with progress("calibrating") as advance:
        fit = calibrate(
            np.stack([to_uint8(planes)[None] for planes in seen]),
            base,
            keep=stated(base),
            report=lambda done, total: advance(done, total, ""),
        )
    kept = out.with_name(f"{out.name}.yaml")
    write_text(kept, write_configuration(fit.parameters))
    click.echo(f"calibrated on {len(seen)} photographs, likeness {fit.likeness[-1]:.2f}; ranges in {kept}")
    return fit.parameters
