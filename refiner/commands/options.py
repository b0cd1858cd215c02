"""Options that several commands share, and the parameter types behind them."""

import re
from pathlib import Path
from typing import Any

import click

EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
EXISTING_PATH = click.Path(exists=True, path_type=Path)
ANY_PATH = click.Path(path_type=Path)


class Size(click.ParamType[tuple[int, int]]):
    """``HxW``: height times width in pixels, as in 36x60."""

    name = "HxW"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """(height, width) from the text."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", value)
        if not match:
            self.fail(f"{value!r} is not HEIGHTxWIDTH in pixels, as in 36x60", parameter, context)
        return int(match[1]), int(match[2])


class ShardType(click.ParamType[Any]):
    """``I/N``, as in 2/8 for the second of eight shares."""

    name = "I/N"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """The shard from the text."""
        from refiner.core.parallel.shards import Shard

        if isinstance(value, Shard):
            return value
        try:
            return Shard.parse(value)
        except ValueError as error:
            self.fail(str(error), parameter, context)


SHARD = ShardType()


class RefinerPath(click.Path):
    """A refiner file, the folder of a run, the name of a ready refiner, or an address on the hub."""

    name = "refiner"

    def __init__(self) -> None:
        super().__init__(exists=True, path_type=Path)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """The path, or the name as it is."""
        from refiner.models.hub import fetch_refiner, is_address
        from refiner.models.lookup import pretrained_refiners

        if is_address(str(value)):
            return fetch_refiner(str(value))
        if not Path(value).exists():
            names = pretrained_refiners()
            if str(value) in names:
                return Path(value)
            known = f"the name of a ready refiner ({', '.join(names)}), nor an address hf://OWNER/NAME"
            self.fail(f"{value} is neither a refiner file, nor the folder of a run, nor {known}", parameter, context)
        return super().convert(value, parameter, context)


REFINER_PATH = RefinerPath()

device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
seed_option = click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Every random choice follows from it."
)
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one value of the configuration."
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Make everything again; replace files in the way.")
points_option = click.option(
    "--points",
    metavar="LABEL",
    help="Label of the points that must stay, x and y in pixels, one or several.  [default: pupil, else joints]",
)
mask_option = click.option(
    "--mask",
    type=EXISTING_PATH,
    metavar="FILE_OR_DIR",
    help="Image whose bright pixels must stay, or a folder of such by the images' names, instead of points.",
)
on_error_option = click.option(
    "--on-error",
    type=click.Choice(["skip", "stop"]),
    default="skip",
    show_default=True,
    help="Whether an image that cannot be used is rejected, or ends the command.",
)
REFUSED_STATUS = 3
"""Exit status: the verdict is not to use a refiner."""

REJECTED_STATUS = 4
"""Exit status: finished, but some inputs were rejected."""
