"""Readers of data sets: one file a layout, one interface, found by looking at the folder.

A reader lists the ids of its samples without decoding anything, and reads any one of them as a record, from
any thread. A new layout is a file here and one line in ``FORMATS``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from refiner.errors import DataError
from refiner.formats.folder import ImageFolder
from refiner.formats.unityeyes import UnityEyes
from refiner.image_files import Image
from refiner.records import Record


class Dataset(Protocol):
    """A data set on disk."""

    root: Path

    @property
    def ids(self) -> Sequence[str]:
        """Sample ids in a fixed order: paths relative to the root, with suffix."""

    def read_image(self, sample: str) -> Image:
        """Read one image as :meth:`read` does, without looking at its labels."""

    def read(self, sample: str) -> Record:
        """Read one sample.

        Raises:
            ImageError: this sample cannot be used; the others still can.
        """


FORMATS: dict[str, type[UnityEyes] | type[ImageFolder]] = {"unityeyes": UnityEyes, "folder": ImageFolder}
"""Readers by name, the most particular first: the first that recognises a folder reads it."""


def open_dataset(path: Path, *, format: str | None = None, size: tuple[int, int] | None = None) -> Dataset:
    """Open a data set.

    Args:
        path: its folder.
        format: a name in ``FORMATS``; None looks at what is there.
        size: (height, width) of the crops that a layout of whole scenes is cut into.

    Raises:
        DataError: the folder is missing or empty, or the format is unknown.
    """
    if not path.is_dir():
        raise DataError(f"{path}: is not a folder; name the folder that holds the images")
    if format is not None and format not in FORMATS:
        raise DataError(f"format {format} is unknown; expected one of {', '.join(FORMATS)}")
    reader = FORMATS[format] if format else next(reader for reader in FORMATS.values() if reader.recognises(path))
    return reader(path, size=size)
