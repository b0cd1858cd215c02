"""Options of the commands that evaluate a refiner."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from refiner.commands.shared.options import (
    EXISTING_PATH,
    device_option,
    exclude_option,
    include_option,
    mask_option,
    points_option,
    seed_option,
)

OPTIONS = (
    click.option(
        "--labelled",
        type=EXISTING_PATH,
        metavar="DATA",
        help="Real images with labels, to test models that are trained on raw and on refined renders; takes minutes.",
    ),
    click.option(
        "--task",
        type=click.Choice(["auto", "gaze", "points", "mask", "classes"]),
        default="auto",
        show_default=True,
        help="Labels that these models learn; auto takes the first that the renders and --labelled share.",
    ),
    click.option(
        "--estimators",
        is_flag=True,
        help="Train gaze estimators without --labelled, and report their agreement on real images; takes minutes.",
    ),
    click.option("--group", metavar="COLUMN", help="Label that groups the real images.  [default: subject, else day]"),
    click.option(
        "--most",
        type=click.IntRange(64),
        default=4000,
        show_default=True,
        help="Images drawn from each data set.",
    ),
    points_option,
    mask_option,
    include_option,
    exclude_option,
    seed_option,
    device_option,
)


def evaluation_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add these options to a command, which gets one argument ``settings``.

    Its type is :class:`refiner.evaluation.evaluate.Settings`.
    """

    @functools.wraps(command)
    def wrapped(
        *,
        points: str | None,
        mask: Path | None,
        include: tuple[str, ...],
        exclude: tuple[str, ...],
        **options: Any,
    ) -> None:
        from refiner.data.drift.regions import LabelRegion
        from refiner.data.folders.selection import Selection
        from refiner.evaluation.evaluate import Settings

        # Move these options from the arguments of the command into its settings.
        names = ("labelled", "task", "estimators", "group", "most", "seed", "device")
        chosen = {name: options.pop(name) for name in names}
        command(
            **options,
            settings=Settings(region=LabelRegion(points, mask), **chosen, selection=Selection(include, exclude)),
        )

    for option in reversed(OPTIONS):
        wrapped = option(wrapped)
    return wrapped
