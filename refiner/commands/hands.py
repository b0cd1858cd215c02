"""``refiner hands``: labelled procedural hands as depth images."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from refiner.commands.shared.options import ANY_PATH, Size, overwrite_option, seed_option
from refiner.commands.shared.rendering import count_option, write_rendered

if TYPE_CHECKING:
    from refiner.data.labels.records import Record


@click.command()
@click.argument("out", type=ANY_PATH, metavar="OUT")
@count_option
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
    from refiner.hands.rendering import rendered_hands
    from refiner.hands.skeleton import HandRanges, target_hands
    from refiner.hands.target_sensor import TargetSensor

    # The target sensor sees other hands than the renders show.
    ranges, sensor = (target_hands(), TargetSensor(seed)) if target_sensor else (HandRanges(), None)

    def records(first: int, end: int) -> Iterator["Record"]:
        return rendered_hands(ranges, end, seed=seed, size=size, sensor=sensor, first=first)

    write_rendered(out, records, count, job=f"{ranges} {sensor} {seed} {size} {count}", overwrite=overwrite)
    click.echo(f"{count} {'images of the simulated target sensor' if target_sensor else 'labelled hands'} in {out}")
