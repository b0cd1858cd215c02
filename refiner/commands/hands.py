"""``refiner hands``: labelled procedural hands, as a depth camera sees them."""

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
@click.option("--size", type=Size(), default="64x64", show_default=True, help="Height x width.")
@click.option("--stand-in", is_flag=True, help="Other hands before the stand-in sensor: noise, steps, lost edges.")
@seed_option
@overwrite_option
def command(out: Path, count: int, size: tuple[int, int], stand_in: bool, seed: int, overwrite: bool) -> None:
    """Render hands as 16-bit depth into OUT, a folder, or a store where it ends in .h5.

    Levels are those of cut NYU frames: 0 to 65534 through a cube of 300 mm, 65535 for background. Labels: the
    fourteen joints in pixels and millimetres, and where the cube lies; those of the stand-in sensor's images are for
    tests, and no training of a refiner looks at them.

    \b
    Example:
      refiner hands renders --count 5000
      refiner hands photographs --stand-in --count 2000 --seed 2
    """
    from refiner.data.output.records_writer import write_folder, write_store
    from refiner.data.store.store_names import is_store_name
    from refiner.hands.rendering import rendered_hands
    from refiner.hands.skeleton import HandRanges, target_hands
    from refiner.hands.target_sensor import TargetSensor

    ranges, sensor = (target_hands(), TargetSensor(seed)) if stand_in else (HandRanges(), None)

    def records(first: int, end: int) -> Iterator["Record"]:
        return rendered_hands(ranges, end, seed=seed, size=size, sensor=sensor, first=first)

    with progress("rendering") as advance:

        def report(done: int, total: int) -> None:
            advance(done, total, "")

        if is_store_name(out):
            job = f"{ranges} {sensor} {seed} {size} {count}"
            write_store(out, records, count, job=job, overwrite=overwrite, report=report)
        else:
            write_folder(out, records(0, count), count, labelled=True, report=report)
    click.echo(f"{count} {'images of the stand-in sensor' if stand_in else 'labelled hands'} in {out}")
