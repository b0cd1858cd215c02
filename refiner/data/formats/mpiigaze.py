"""MPIIGaze's normalised eye patches: ``Data/Normalized/p00/day01.mat`` and so on, of MATLAB 5 or 7.3.

Each file holds the frames of one person on one day: ``filenames``, and ``data`` with ``left`` and ``right``, each
with ``image`` (N, 36, 60) grey, ``gaze`` (N, 3) a vector and ``pose`` (N, 3) a rotation vector, in the camera
frame of the patch: x right, y down, z away from the camera.

Source: Zhang et al., "Appearance-based gaze estimation in the wild", CVPR 2015. Right eyes are mirrored, so that
all eyes are left ones: yaw changes its sign with the picture.
"""

import re
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from refiner.core.errors import DataError, ImageError
from refiner.core.files import read_regular
from refiner.data.formats.file_access import RecentFiles
from refiner.data.formats.mpiigaze_days import Day, Eyes, day_files, find_normalized, list_day, load_day
from refiner.data.labels.angles import to_angles
from refiner.data.labels.records import Record
from refiner.images.io import Image

KEPT_DAYS = 6
"""Days held in memory by a reader; a thousand frames of one are 4.5 MB."""

LISTS = "Evaluation Subset/sample list for eye image"

_ID = re.compile(r"(p\d\d)/(day\d+)(?:/([^/]+)_(left|right))?\.png", re.ASCII)
_LINE = re.compile(r"(day\d+)/([\w-]+)\.\w+\s+(left|right)", re.ASCII)

Numbers = np.ndarray[Any, np.dtype[np.float64]]


class MPIIGaze:
    """All normalised eyes of MPIIGaze; see :class:`refiner.data.formats.registry.Dataset`.

    Ids are ``p00/day01/0001_left.png``, whichever folder is named; where a day has a file name twice, the second
    is ``0001-2_left.png``. A day that cannot be listed stands in the ids as ``p00/day01.png`` and is refused when
    it is read. Labels: ``gaze``, ``head_pose``, ``subject`` (p00), ``mirrored``, ``day`` and ``eye``.

    Args:
        root: the data set's folder, ``Data/Normalized``, one person's folder in it, or what holds any of them.
        size, crop: unused, images are eye patches already: 36x60 grey.

    Raises:
        DataError: there is no ``Normalized`` folder.
    """

    licence = "CC BY-NC-SA 4.0"

    def __init__(self, root: Path, *, size: tuple[int, int] | None = None, crop: bool = True) -> None:
        found = find_normalized(root)
        if found is None:
            raise DataError(f"{root}: holds no MPIIGaze patches; expected Data/Normalized/p00/day01.mat and so on")
        self.root = root
        self.normalized, self.persons = found
        self._days: RecentFiles[Day | str] = RecentFiles(load_day, KEPT_DAYS)

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether there are folders of persons with files of days."""
        return find_normalized(root) is not None

    @cached_property
    def ids(self) -> list[str]:
        """Both eyes of every frame, by person, day and frame; only the names in the files are read.

        Raises:
            DataError: there are none.
        """
        days = [path for person in self.persons for path in day_files(self.normalized / person)]
        ids = [sample for path in days for sample in list_day(path)]
        if not ids:
            raise DataError(f"{self.root}: the MPIIGaze files there hold no frames; fetch them again")
        return ids

    def subject(self, sample: str) -> str | None:
        """The person, as in ``p00``."""
        return self._split(sample)[0]

    def read_image(self, sample: str) -> Image:
        """Read one image, mirrored if it is a right eye; its labels are not looked at."""
        eyes, position, mirrored = self._find(sample)
        return np.ascontiguousarray(eyes.images[position][:, ::-1] if mirrored else eyes.images[position])

    def read(self, sample: str) -> Record:
        """Read one eye; see :class:`refiner.data.formats.registry.Dataset`."""
        person, day, _, side = self._split(sample)
        eyes, position, mirrored = self._find(sample)
        try:
            gaze, head = gaze_angles(eyes.gaze[position]), head_angles(eyes.pose[position])
        except ValueError as error:
            raise ImageError(self.root / sample, str(error)) from error
        mirror = np.array([1.0, -1.0 if mirrored else 1.0])
        labels = {
            "gaze": gaze * mirror,
            "head_pose": head * mirror,
            "subject": person,
            "mirrored": int(mirrored),
            "day": day,
            "eye": side,
        }
        return Record(sample, self.read_image(sample), labels)

    def _split(self, sample: str) -> tuple[str, str, str, str]:
        """Person, day, frame and side; the last two are empty for a day that could not be listed."""
        match = _ID.fullmatch(sample)
        if not match:
            raise ImageError(self.root / sample, "is no MPIIGaze sample; expected an id like p00/day01/0001_left.png")
        return match[1], match[2], match[3] or "", match[4] or ""

    def _find(self, sample: str) -> tuple[Eyes, int, bool]:
        """The eyes that a sample is one of, its position among them, and whether it is to be mirrored."""
        person, day, frame, side = self._split(sample)
        loaded = self._days(self.normalized / person / f"{day}.mat")
        if isinstance(loaded, str):
            raise ImageError(self.root / sample, loaded)
        if frame not in loaded.positions:
            raise ImageError(self.root / sample, f"{day}.mat has no frame {frame or 'of this name'}")
        return loaded.eyes[side], loaded.positions[frame], side == "right"


class MPIIGazeEvaluation(MPIIGaze):
    """The frames of MPIIGaze's evaluation subset, 3,000 eyes a person, as its lists name them.

    The lists, ``Evaluation Subset/sample list for eye image/p00.txt``, lie beside ``Data`` or beside
    ``Normalized``. Otherwise as :class:`MPIIGaze`, which is chosen where no format is named.
    """

    @cached_property
    def ids(self) -> list[str]:
        """The eyes in the lists, in their order, each once; the ``.mat`` files are not looked at.

        Raises:
            DataError: there are no lists, one cannot be read, or they are empty.
        """
        places = [self.normalized, self.normalized.parent, self.normalized.parent.parent]
        lists = [path for place in places for path in sorted((place / LISTS).glob("p[0-9][0-9].txt"))]
        alone = self.root.resolve() == (self.normalized / self.persons[0]).resolve()  # one person's folder is named
        chosen = [path for path in lists if not alone or path.stem in self.persons]
        if not chosen:
            raise DataError(f"{self.root}: has no evaluation subset; expected {LISTS}/p00.txt beside Data")
        ids = list(dict.fromkeys(sample for path in chosen for sample in read_list(path)))
        if not ids:
            raise DataError(f"{self.root}: the lists of the evaluation subset are empty; fetch them again")
        return ids


def gaze_angles(vector: Numbers) -> Numbers:
    """(pitch, yaw) in radians of a gaze vector (3,).

    Raises:
        ValueError: it has no direction.
    """
    if not 0 < _length(vector) < np.inf:  # NaN neither
        raise ValueError(f"its gaze {vector.tolist()} has no direction; expected a vector towards the camera")
    return to_angles(vector)


def head_angles(pose: Numbers) -> Numbers:
    """(pitch, yaw) in radians of a head's rotation vector (3,): where the third column of its matrix points.

    Raises:
        ValueError: its length, which is the angle, is not finite.
    """
    if not _length(pose) < np.inf:
        raise ValueError(f"its head pose {pose.tolist()} is not finite; expected a rotation vector")
    x, y, z = np.asarray(cv2.Rodrigues(np.asarray(pose, np.float64))[0])[:, 2]
    return np.array([np.arcsin(np.clip(y, -1, 1)), np.arctan2(x, z)])


def _length(vector: Numbers) -> float:
    with np.errstate(over="ignore"):  # it is infinite then
        return float(np.linalg.norm(vector))


def read_list(path: Path) -> list[str]:
    """Ids of an evaluation list, whose lines are ``day01/0001.jpg left``.

    Raises:
        DataError: it cannot be read, or a line is anything else.
    """
    try:
        lines = read_regular(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of frames ({error})") from error
    ids: list[str] = []
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line.strip())
        if match:
            ids.append(f"{path.stem}/{match[1]}/{match[2]}_{match[3]}.png")
        elif line.strip():
            raise DataError(f"{path}: line {number} is {line.strip()!r:.60}; expected 'day01/0001.jpg left'")
    return ids
