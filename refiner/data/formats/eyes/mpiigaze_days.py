"""Files of MPIIGaze's normalised patches: the search for them, and the frames of one day.

See :mod:`refiner.data.formats.eyes.mpiigaze` for the layout.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from refiner.core.errors import DataError
from refiner.data.formats.mat_files import read_mat
from refiner.images.io import Image

SIDES = ("left", "right")
"""Names of the two eyes, in the order of a file that has positions instead of names."""

FIELDS = ("gaze", "image", "pose")
"""Names of the fields of one side, in the order of a file that has positions instead of names."""

_PERSON = re.compile(r"p\d\d", re.ASCII)
_LEVELS = 4  # depth of the search for the persons' folders
_MAX_FOLDERS = 500  # folders that the search visits

Numbers = np.ndarray[Any, np.dtype[np.float64]]


class Eyes(NamedTuple):
    """One side of one day.

    Attributes:
        images: (N, H, W), uint8, grey.
        gaze: (N, 3), gaze vectors.
        pose: (N, 3), rotation vectors of the head, in radians.
    """

    images: Image
    gaze: Numbers
    pose: Numbers


class Day(NamedTuple):
    """The frames of one file.

    Attributes:
        positions: index of each frame by its name.
        eyes: the eyes of both sides, by ``left`` and ``right``.
    """

    positions: dict[str, int]
    eyes: dict[str, Eyes]


def find_normalized(root: Path) -> tuple[Path, list[str]] | None:
    """Find the folder that holds the persons' folders. Unreadable folders are skipped, and no error is raised.

    Returns:
        The folder and the names of the persons, or None if there are none.
    """
    # The root may itself be a person's folder.
    given = root.resolve()
    if _PERSON.fullmatch(given.name) and day_files(given):
        return given.parent, [given.name]
    # Otherwise search below it.
    for visited, folder in enumerate(_folders(root, _LEVELS)):
        persons = sorted(path.name for path in _subfolders(folder) if _PERSON.fullmatch(path.name) and day_files(path))
        if persons:
            return folder, persons
        if visited == _MAX_FOLDERS:
            break
    return None


def _folders(root: Path, levels: int) -> Iterator[Path]:
    """A folder and the folders below it, level by level, without persons' folders."""
    level = [root]
    for _ in range(levels):
        yield from level
        level = [path for folder in level for path in _subfolders(folder) if not _PERSON.fullmatch(path.name)]
        level = level[:_MAX_FOLDERS]


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:  # without a stat call for each of perhaps a million files
            return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []


def day_files(person: Path) -> list[Path]:
    """Return the files of a person's days, sorted; empty if the folder cannot be read."""
    try:
        return sorted(path for path in person.iterdir() if re.fullmatch(r"day\d+\.mat", path.name, re.ASCII))
    except OSError:
        return []


def list_day(path: Path) -> list[str]:
    """Return the ids of the eyes of one day; only ``p00/day01.png`` if the file cannot be read."""
    where = f"{path.parent.name}/{path.stem}"
    try:
        names = frame_names(_filenames(read_mat(path, ["filenames"])))
    except (DataError, ValueError):
        return [f"{where}.png"]
    return [f"{where}/{name}_{side}.png" for name in names for side in SIDES]


def load_day(path: Path) -> Day | str:
    """Read the frames of one day.

    Returns:
        The frames, or the reason why they cannot be used, which then holds for each sample of the day.
    """
    # Read the file. A reason is returned as text and kept like a day, so that the file is read only once.
    try:
        contents = read_mat(path, ["data", "filenames"])
        filenames = _filenames(contents)
        data = contents.get("data")
        eyes = {side: _eyes(_field(data, side, SIDES), side) for side in SIDES}
    except DataError as error:
        return str(error).removeprefix(f"{path.parent}/")
    except (ValueError, TypeError) as error:
        return f"{path.name} {error}"
    # Check that every file name has an image, a gaze and a pose on both sides.
    for side, part in eyes.items():
        if not len(filenames) == len(part.images) == len(part.gaze) == len(part.pose):
            counts = f"{len(part.images)} images, {len(part.gaze)} gazes and {len(part.pose)} poses"
            return f"{path.name} has {len(filenames)} file names but {counts} of {side} eyes; download it again"
    return Day({name: position for position, name in enumerate(frame_names(filenames))}, eyes)


def frame_names(filenames: Sequence[str]) -> list[str]:
    """Return a unique name, usable in an id, for each file name.

    ``0001.jpg`` becomes 0001, and its repetition 0001-2. A name with special characters is replaced by its number.
    """
    names: dict[str, None] = {}
    # Number the names that cannot be used, and those that occur twice.
    for number, filename in enumerate(filenames, 1):
        stem = PurePosixPath(filename.strip()).stem
        stem = stem if re.fullmatch(r"[\w-]+", stem, re.ASCII) and "/" not in filename else f"frame{number}"
        name, times = stem, 1
        while name in names:
            times += 1
            name = f"{stem}-{times}"
        names[name] = None
    return list(names)


def _filenames(contents: Mapping[str, Any]) -> list[str]:
    names = contents.get("filenames")
    if isinstance(names, str):  # a file with one frame has a text instead of a list
        return [names]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("has no usable filenames; expected a cell of texts")
    return names


def _field(parent: Any, name: str, names: Sequence[str]) -> Any:
    """A field by its name, or by its position if the fields have no names."""
    while isinstance(parent, list) and len(parent) == 1:
        parent = parent[0]
    if isinstance(parent, dict) and name in parent:
        return parent[name]
    if isinstance(parent, list) and len(parent) == len(names):
        return parent[names.index(name)]
    raise ValueError(f"has no field {name}; expected data.left and data.right with gaze, image and pose")


def _eyes(side: Any, name: str) -> Eyes:
    images, gaze, pose = (_numbers(_field(side, field, FIELDS)) for field in ("image", "gaze", "pose"))
    images = images[None] if images.ndim == 2 else images  # MATLAB drops the first axis of a single frame
    if images.dtype != np.uint8 or images.ndim != 3 or 0 in images.shape[1:]:
        raise ValueError(f"has {name} images of {images.dtype} and shape {images.shape}; expected uint8 (N, 36, 60)")
    # Vectors of a single frame may have any shape of three numbers.
    rows = [np.asarray(part, np.float64).reshape((1, 3) if part.size == 3 else part.shape) for part in (gaze, pose)]
    if any(part.ndim != 2 or part.shape[1] != 3 for part in rows):
        raise ValueError(f"has {name} gaze and pose of the shapes {gaze.shape} and {pose.shape}; expected (N, 3)")
    return Eyes(images, rows[0], rows[1])


def _numbers(value: Any) -> np.ndarray[Any, np.dtype[Any]]:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "uif":
        raise ValueError(f"holds a {type(value).__name__} instead of numbers")
    return value
