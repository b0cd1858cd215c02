"""``refiner hands``: labelled procedural hands as depth images."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from refiner.commands.options import ANY_PATH, Size, overwrite_option, seed_option
from refiner.commands.reporting import progress

if TYPE_CHECKING:
    from refiner.data.labels.records import Record


@click.command()
@click.argument("out", type=ANY_PATH, metavar="OUT")
@click.option("--count", type=click.IntRange(1), required=True, help="Number of images.")
@click.option("--size", type=Size(), default="64x64", show_default=True, help="Height x width in pixels.")
@click.option(
    "--target-sensor",
    is_flag=True,
    help="Render other hands, seen by the simulated target sensor: noise, depth steps, lost edges.",
)
@seed_option
@overwrite_option
def command(out: Path, count: int, size: tuple[int, int], target_sensor: bool, seed: int, overwrite: bool) -> None:
    """Render labelled hands as 16-bit depth images into OUT, a folder, or a store if its name ends in .h5.

    Depth levels follow the cropped NYU frames: 0 to 65534 span a cube of 300 mm, and 65535 is background. The labels
    are fourteen joints, in pixels and in millimetres, and the depths of the cube's faces. Images of --target-sensor
    have labels too; they are for tests, and training a refiner does not read them.

    \b
    Examples:
      refiner hands renders --count 5000
      refiner hands real --target-sensor --count 2000 --seed 2
    """
    from refiner.data.output.records_writer import write_folder, write_store
    from refiner.data.store.store_names import is_store_name
    from refiner.hands.rendering import rendered_hands
    from refiner.hands.skeleton import HandRanges, target_hands
    from refiner.hands.target_sensor import TargetSensor

    # The target sensor sees other hands than the renders show.
    ranges, sensor = (target_hands(), TargetSensor(seed)) if target_sensor else (HandRanges(), None)

    def records(first: int, end: int) -> Iterator["Record"]:
        return rendered_hands(ranges, end, seed=seed, size=size, sensor=sensor, first=first)

    with progress("rendering") as advance:
        if is_store_name(out):
            # The job describes every choice, so that a store resumes only with the same ones.
            job = f"{ranges} {sensor} {seed} {size} {count}"
            write_store(out, records, count, job=job, overwrite=overwrite, report=advance)
        else:
            write_folder(out, records(0, count), count, labelled=True, overwrite=overwrite, report=advance)
    click.echo(f"{count} {'images of the simulated target sensor' if target_sensor else 'labelled hands'} in {out}")
