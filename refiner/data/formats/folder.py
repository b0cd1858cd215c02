"""Reader of plain image folders, searched recursively, with an optional ``labels.csv`` at the top."""

import logging
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from refiner.core.errors import WrongInputError
from refiner.data.labels.records import Labels, Record
from refiner.data.labels.tables import LABELS_FILE, LabelTable
from refiner.images.io import Image, is_image_file, read_image, read_picture

log = logging.getLogger(__name__)


def list_files(root: Path) -> list[str]:
    """Return every file below ``root`` as a relative path with forward slashes, sorted.

    Hidden files and folders are left out. Links to files are followed; links to folders are not, since they could
    form a cycle. A folder that is not entered, because it is a link or cannot be read, is listed itself. The images
    in it are then reported instead of lost in silence.
    """
    found: list[str] = []

    def add_unreadable(error: OSError) -> None:
        found.append(Path(error.filename).relative_to(root).as_posix())

    # Walk without the folders whose names begin with a dot.
    for folder, folders, files in os.walk(root, onerror=add_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = Path(folder).relative_to(root)
        # os.walk does not follow links to folders; list them instead.
        links = [name for name in folders if (root / inside / name).is_symlink()]
        before = "" if inside == Path() else f"{inside.as_posix()}/"
        found += [before + name for name in [*files, *links] if not name.startswith(".")]
    return sorted(found)


class ImageFolder:
    """Images in a folder tree; see :class:`refiner.data.formats.registry.Dataset`.

    Layout: image files at any depth, and an optional ``labels.csv``, see :mod:`refiner.data.labels.tables`. Images are
    uint8 or uint16, (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA. ``gaze`` and ``head_pose`` are (pitch, yaw) in
    radians, points are (x, y) in pixels.

    Args:
        root: the folder.
        size, crop: not used; images are read whole and at their own size.

    Raises:
        DataError: ``root`` is not a folder.
    """

    licence = "not stated"

    def __init__(self, root: Path, *, size: tuple[int, int] | None = None, crop: bool = True) -> None:
        if not root.is_dir():
            raise WrongInputError(f"{root} is not a folder; name the folder that holds the images")
        self.root = root

    @staticmethod
    def recognises(root: Path) -> bool:
        """Return whether the path is a folder, since any folder has this layout."""
        return root.is_dir()

    @cached_property
    def ids(self) -> list[str]:
        """Relative paths of all images, sorted.

        Raises:
            DataError: the folder holds no images.
        """
        ids = [name for name in list_files(self.root) if is_image_file(Path(name))]
        if not ids:
            raise WrongInputError(f"{self.root} holds no images; expected .png, .jpg or similar files, at any depth")
        return ids

    @cached_property
    def labels(self) -> Mapping[str, Labels]:
        """Labels by sample id, read row by row from ``labels.csv``; empty if there is no table.

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
        """Return the subject from the label table; None if it names none."""
        return self.labels.get(sample, {}).get("subject")

    def read_image(self, sample: str) -> Image:
        """Read one image, without its labels; see :class:`refiner.data.formats.registry.Dataset`."""
        return read_image(self.root / sample)

    def read(self, sample: str) -> Record:
        """Read one image with its labels; see :class:`refiner.data.formats.registry.Dataset`."""
        image, profile = read_picture(self.root / sample)
        return Record(sample, image, self.labels.get(sample, {}), profile)
