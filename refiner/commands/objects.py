"""``refiner objects``: labelled procedural scenes of objects in colour."""

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
@click.option("--size", type=Size(), default="96x128", show_default=True, help="Height x width in pixels.")
@click.option(
    "--target-camera",
    is_flag=True,
    help="Render other scenes, seen by the simulated target camera: dim warm light, soft lens, dark corners.",
)
@seed_option
@overwrite_option
def command(out: Path, count: int, size: tuple[int, int], target_camera: bool, seed: int, overwrite: bool) -> None:
    """Render labelled scenes of objects in colour into OUT, a folder, or a store if its name ends in .h5.

    Each scene shows about 4 to 12 balls, cubes, cylinders, cones, rings and stars that hide one another. Each class has
    its own range of colours. The labels are the class, the box and the mask of the visible part of each object, in a
    folder as COCO annotations (annotations.json). Images of --target-camera have labels too; they are for tests, and
    training a refiner does not read them.

    \b
    Examples:
      refiner objects renders --count 2000
      refiner objects real --target-camera --count 1000 --seed 2
    """
    from refiner.objects.records import INFO, rendered_scenes
    from refiner.objects.scene import SceneRanges, target_scenes
    from refiner.objects.target_camera import ObjectCamera

    # The target camera sees other scenes than the renders show.
    ranges, camera = (target_scenes(), ObjectCamera(seed)) if target_camera else (SceneRanges(), None)

    def records(first: int, end: int) -> Iterator["Record"]:
        return rendered_scenes(ranges, end, seed=seed, size=size, camera=camera, first=first)

    job = f"{ranges} {camera} {seed} {size} {count}"
    write_rendered(out, records, count, job=job, info=INFO, overwrite=overwrite)
    click.echo(f"{count} labelled scenes in {out}")
