"""Reader of MPIIGaze's normalised eye patches, ``Data/Normalized/p00/day01.mat`` and so on, of MATLAB 5 or 7.3.

Each file holds the frames of one person on one day: ``filenames``, and ``data`` with ``left`` and ``right``. Each side
has ``image`` (N, 36, 60), uint8 grey; ``gaze`` (N, 3), a vector; and ``pose`` (N, 3), a rotation vector in radians.
The vectors are in the camera frame of the patch: x right, y down, z away from the camera.

Right eyes are mirrored, so that all eyes look like left ones; their yaw changes sign.

Source: Zhang et al., "Appearance-based gaze estimation in the wild", CVPR 2015.
"""

import re
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from refiner.core.errors import DataError, ImageError, WrongInputError
from refiner.core.files import read_regular
from refiner.data.formats.eyes.mpiigaze_days import Day, Eyes, day_files, find_normalized, list_day, load_day
from refiner.data.formats.file_access import RecentFiles
from refiner.data.labels.angles import to_angles
from refiner.data.labels.records import Record
from refiner.images.io import Image

KEPT_DAYS = 6
"""Days that a reader keeps in memory; one with a thousand frames takes 4.5 MB."""

LISTS = "Evaluation Subset/sample list for eye image"
"""Folder of the evaluation lists, relative to the data set."""

_ID = re.compile(r"(p\d\d)/(day\d+)(?:/([^/]+)_(left|right))?\.png", re.ASCII)
_LINE = re.compile(r"(day\d+)/([\w-]+)\.\w+\s+(left|right)", re.ASCII)

Numbers = np.ndarray[Any, np.dtype[np.float64]]


class MPIIGaze:
    """All normalised eyes of MPIIGaze; see :class:`refiner.data.formats.registry.Dataset`.

    Ids are ``p00/day01/0001_left.png``, whichever folder is given. If a day repeats a file name, the second is
    ``0001-2_left.png``. A day that cannot be listed appears in the ids as ``p00/day01.png``; reading it fails.

    Images are (36, 60), uint8, grey. Labels: ``gaze`` and ``head_pose``, (pitch, yaw) in radians, positive up and to
    the image's left; ``subject`` (p00); ``mirrored``, 1 for right eyes; ``day``; ``eye``, left or right.

    Args:
        root: the data set's folder, ``Data/Normalized``, a person's folder in it, or a folder above them.
        size, crop: not used; images are eye patches already.

    Raises:
        DataError: there is no folder of persons with files of days.
    """

    licence = "CC BY-NC-SA 4.0"

    def __init__(self, root: Path, *, size: tuple[int, int] | None = None, crop: bool = True) -> None:
        found = find_normalized(root)
        if found is None:
            raise WrongInputError(f"{root} holds no MPIIGaze patches; expected Data/Normalized/p00/day01.mat and so on")
        self.root = root
        self.normalized, self.persons = found
        self._days: RecentFiles[Day | str] = RecentFiles(load_day, KEPT_DAYS)

    @staticmethod
    def recognises(root: Path) -> bool:
        """Return whether there are folders of persons with files of days."""
        return find_normalized(root) is not None

    @cached_property
    def ids(self) -> list[str]:
        """Ids of both eyes of every frame, by person, day and frame; only file names are read for them.

        Raises:
            DataError: the files hold no frames.
        """
        days = [path for person in self.persons for path in day_files(self.normalized / person)]
        ids = [sample for path in days for sample in list_day(path)]
        if not ids:
            raise DataError(f"the MPIIGaze files in {self.root} hold no frames; download them again")
        return ids

    def subject(self, sample: str) -> str | None:
        """Return the person, such as ``p00``."""
        return self._split(sample)[0]

    def read_image(self, sample: str) -> Image:
        """Read one image, mirrored if it is a right eye, without its labels."""
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
        # A mirrored eye looks to the other side: negate yaw.
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
            raise ImageError(
                self.root / sample, "is not an MPIIGaze sample; expected an id like p00/day01/0001_left.png"
            )
        return match[1], match[2], match[3] or "", match[4] or ""

    def _find(self, sample: str) -> tuple[Eyes, int, bool]:
        """The eyes of the same day and side, the position of the sample among them, and whether to mirror it."""
        person, day, frame, side = self._split(sample)
        loaded = self._days(self.normalized / person / f"{day}.mat")
        if isinstance(loaded, str):
            raise ImageError(self.root / sample, loaded)
        if frame not in loaded.positions:
            raise ImageError(self.root / sample, f"is missing: {day}.mat has no frame {frame or 'of this name'}")
        return loaded.eyes[side], loaded.positions[frame], side == "right"


class MPIIGazeEvaluation(MPIIGaze):
    """The evaluation subset of MPIIGaze, 3,000 eyes for each person.

    The lists, ``Evaluation Subset/sample list for eye image/p00.txt``, are in the folder that holds ``Data`` or
    ``Normalized``. Images and labels are those of :class:`MPIIGaze`, which is the default if no format is given.
    """

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the eyes in the lists, in their order and without repeats; the ``.mat`` files are not read.

        Raises:
            DataError: the lists are missing or empty, or one cannot be read.
        """
        # Find the lists; if the root is one person's folder, keep only that person's.
        folders = [self.normalized, self.normalized.parent, self.normalized.parent.parent]
        lists = [path for folder in folders for path in sorted((folder / LISTS).glob("p[0-9][0-9].txt"))]
        one_person = self.root.resolve() == (self.normalized / self.persons[0]).resolve()
        chosen = [path for path in lists if not one_person or path.stem in self.persons]
        if not chosen:
            raise WrongInputError(
                f"{self.root} has no evaluation subset; expected {LISTS}/p00.txt in the folder of Data"
            )
        ids = list(dict.fromkeys(sample for path in chosen for sample in read_list(path)))
        if not ids:
            raise DataError(f"the lists of the evaluation subset of {self.root} are empty; download them again")
        return ids


def gaze_angles(vector: Numbers) -> Numbers:
    """Return (pitch, yaw) in radians of a gaze vector (3,).

    Raises:
        ValueError: the vector has no direction: its length is 0 or not finite.
    """
    if not 0 < _length(vector) < np.inf:  # also refuses NaN
        raise ValueError(f"its gaze {vector.tolist()} has no direction; expected a vector towards the camera")
    return to_angles(vector)


def head_angles(pose: Numbers) -> Numbers:
    """Return (pitch, yaw) in radians of a head's rotation vector (3,).

    They give the direction of the third column of the rotation matrix.

    Raises:
        ValueError: the length of the vector, which is the angle, is not finite.
    """
    if not _length(pose) < np.inf:
        raise ValueError(f"its head pose {pose.tolist()} is not finite; expected a rotation vector")
    x, y, z = np.asarray(cv2.Rodrigues(np.asarray(pose, np.float64))[0])[:, 2]
    return np.array([np.arcsin(np.clip(y, -1, 1)), np.arctan2(x, z)])


def _length(vector: Numbers) -> float:
    with np.errstate(over="ignore"):  # an overflow gives infinity
        return float(np.linalg.norm(vector))


def read_list(path: Path) -> list[str]:
    """Return the ids of an evaluation list, whose lines read ``day01/0001.jpg left``.

    Raises:
        DataError: the list cannot be read, or a line is malformed.
    """
    try:
        lines = read_regular(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a list of frames ({error})") from error
    # Turn each line into an id, and skip empty lines.
    ids: list[str] = []
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line.strip())
        if match:
            ids.append(f"{path.stem}/{match[1]}/{match[2]}_{match[3]}.png")
        elif line.strip():
            raise DataError(f"{path}: line {number} is {line.strip()!r:.60}; expected 'day01/0001.jpg left'")
    return ids
