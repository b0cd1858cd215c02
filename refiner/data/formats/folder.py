"""A plain folder of images, searched recursively, with an optional ``labels.csv`` at its top."""

import logging
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from refiner.core.errors import DataError
from refiner.data.labels.records import Labels, Record
from refiner.data.labels.tables import LABELS_FILE, LabelTable
from refiner.images.io import Image, is_image_file, read_image

log = logging.getLogger(__name__)


def list_files(root: Path) -> list[str]:
    """Every file below ``root`` as a relative path with forward slashes, sorted.

    Hidden files and folders are left out, and links to folders are not followed (they could lead round in
    circles); links to files are. Folders that are not gone into, links and what cannot be read, stand in the
    list themselves, so that the images in them are not lost in silence.
    """
    found: list[str] = []

    def closed(error: OSError) -> None:
        found.append(Path(error.filename).relative_to(root).as_posix())

    for folder, folders, files in os.walk(root, onerror=closed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = Path(folder).relative_to(root)
        links = [name for name in folders if (root / inside / name).is_symlink()]
        before = "" if inside == Path() else f"{inside.as_posix()}/"
        found += [before + name for name in [*files, *links] if not name.startswith(".")]
    return sorted(found)


class ImageFolder:
    """Images in a folder tree; see :class:`refiner.data.formats.registry.Dataset`.

    Args:
        root: the folder.
        size, crop: unused, images are read whole and at their own size.

    Raises:
        DataError: it is no folder.
    """

    licence = "not stated"

    def __init__(self, root: Path, *, size: tuple[int, int] | None = None, crop: bool = True) -> None:
        if not root.is_dir():
            raise DataError(f"{root}: is not a folder; name the folder that holds the images")
        self.root = root

    @staticmethod
    def recognises(root: Path) -> bool:
        """Any folder will do."""
        return root.is_dir()

    @cached_property
    def ids(self) -> list[str]:
        """Relative paths of all images, sorted.

        Raises:
            DataError: there are none.
        """
        ids = [name for name in list_files(self.root) if is_image_file(Path(name))]
        if not ids:
            raise DataError(f"{self.root}: holds no images; expected .png, .jpg or the like, at any depth")
        return ids

    @cached_property
    def labels(self) -> Mapping[str, Labels]:
        """The rows of ``labels.csv`` by sample id, read as they are asked for; empty without one.

        Raises:
            DataError: the table cannot be read.
        """
        path = self.root / LABELS_FILE
        if not path.exists():
            return {}
        table = LabelTable(path)
        for problem in table.problems[:5]:
            log.warning("%s", problem)
        return table

    def subject(self, sample: str) -> str | None:
        """The column ``subject`` of the label table."""
        return self.labels.get(sample, {}).get("subject")

    def read_image(self, sample: str) -> Image:
        """Read one image; labels, good or bad, are not looked at."""
        return read_image(self.root / sample)

    def read(self, sample: str) -> Record:
        """Read one image with its labels; see :class:`refiner.data.formats.registry.Dataset`."""
        return Record(sample, read_image(self.root / sample), self.labels.get(sample, {}))
