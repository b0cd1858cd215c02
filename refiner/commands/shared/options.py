"""Options that several commands share, and their parameter types."""

import re
from pathlib import Path
from typing import Any

import click

EXISTING_PATH = click.Path(exists=True, path_type=Path)
ANY_PATH = click.Path(path_type=Path)


class Size(click.ParamType[tuple[int, int]]):
    """``HxW``: height times width in pixels, as in 36x60."""

    name = "HxW"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Parse (height, width)."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", value)
        if not match:
            self.fail(f"{value!r} is not HEIGHTxWIDTH in pixels, as in 36x60", parameter, context)
        return int(match[1]), int(match[2])


class Format(click.ParamType[str]):
    """Name of a data set format; see ``refiner.data.formats.registry.FORMATS``, which is imported on use."""

    name = "NAME"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Check the name."""
        from refiner.data.formats.registry import FORMATS

        if value not in FORMATS:
            self.fail(f"{value!r} is no format; name one of {', '.join(FORMATS)}", parameter, context)
        return value


class ShardType(click.ParamType[Any]):
    """``I/N``, as in 2/8 for the second of eight shards."""

    name = "I/N"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Parse a shard."""
        from refiner.core.parallel.shards import Shard

        if isinstance(value, Shard):
            return value
        try:
            return Shard.parse(value)
        except ValueError as error:
            self.fail(str(error), parameter, context)


SHARD = ShardType()


class RefinerPath(click.Path):
    """A refiner file, a run folder, the name of a pretrained refiner, or an address on the hub."""

    name = "refiner"

    def __init__(self) -> None:
        super().__init__(exists=True, path_type=Path)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return the path of the refiner, or the name of a pretrained one."""
        from refiner.models.files.hub import fetch_refiner, is_address
        from refiner.models.files.lookup import pretrained_refiners

        # Download a refiner that is named by its address.
        if is_address(str(value)):
            return fetch_refiner(str(value))
        # Else the value is a pretrained name, unless there is such a path.
        if not Path(value).exists():
            names = pretrained_refiners()
            if str(value) in names:
                return Path(value)
            known = f"a pretrained refiner ({', '.join(names)}), nor an address hf://OWNER/NAME"
            self.fail(f"{value} is neither a refiner file, nor a run folder, nor {known}", parameter, context)
        return super().convert(value, parameter, context)


REFINER_PATH = RefinerPath()

device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Device to compute on.",
)
format_option = click.option("--format", type=Format(), help="Format of the data.  [default: detected]")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
seed_option = click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of every random choice."
)
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one setting; may be repeated."
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Start again, and replace existing files.")
points_option = click.option(
    "--points",
    metavar="LABEL",
    help="Label that holds the points that must not move: [x, y] in pixels, a list of these, or the columns LABEL_x "
    "and LABEL_y.  [default: pupil, else joints]",
)
mask_option = click.option(
    "--mask",
    type=EXISTING_PATH,
    metavar="FILE_OR_DIR",
    help="Image whose bright pixels must not move, or a folder of such images named as the renders; replaces points.",
)
include_option = click.option(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="Use only the images of a folder whose path matches, as in 'left/*' or '*.png'; may be repeated.",
)
exclude_option = click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Leave out the files of a folder whose path matches, as in '*_bad.png' or 'old'; may be repeated.",
)
on_error_option = click.option(
    "--on-error",
    type=click.Choice(["skip", "stop"]),
    default="skip",
    show_default=True,
    help="Reject an image that cannot be used, or stop.",
)
USAGE_STATUS = 2
"""Exit status: an argument, an option or a setting must change; also if this is found late."""

REFUSED_STATUS = 3
"""Exit status: the verdict is *do not use*."""

REJECTED_STATUS = 4
"""Exit status: done, but some inputs were rejected, or labels or files were left out."""
