"""Readers of two kinds of HDF5 files of eye patches from public repositories.

``MPIIGaze.h5`` of hysts/pytorch_mpiigaze is the evaluation subset of MPIIGaze. It has one group for each person
(``p00``), with ``image`` (N, 36, 60), uint8 grey, and ``gaze`` and ``pose`` (N, 2), float32, pitch and yaw in radians.
The program that made it has mirrored the right eyes and negated their yaw. The file does not say which eyes these are.

``gaze.h5`` and ``real_gaze.h5`` of 4quant's "eye-gaze" have a group ``image`` with one data set for each image, 35x55.
"""

import contextlib
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from refiner.core.errors import DataError, ImageError, WrongInputError
from refiner.data.formats.file_access import RecentFiles
from refiner.data.labels.angles import check_radians
from refiner.data.labels.records import Record
from refiner.data.store.hdf5 import open_hdf5, stored_values
from refiner.images.io import MAX_PIXELS, Image

MAX_IMAGES = 10**7
"""Largest number of rows that is accepted: a data set can claim any number without storing a row."""

_ID = re.compile(r"(p\d\d)/(\d+)\.png", re.ASCII)
_PERSON = re.compile(r"p\d\d", re.ASCII)


class _HDF5Images:
    """One HDF5 file of images, opened once in each process.

    Args:
        root: the file.
        size, crop: not used; images are eye patches already.

    Raises:
        DataError: ``root`` is not an HDF5 file.
    """

    licence = "not stated"

    def __init__(self, root: Path, *, size: tuple[int, int] | None = None, crop: bool = True) -> None:
        self.root = root
        self._open = RecentFiles(open_hdf5, 1)
        self._open(root)

    def subject(self, sample: str) -> str | None:
        """Return None: the subject is not known."""
        return None

    def read_image(self, sample: str) -> Image:
        """Read one image; see :class:`refiner.data.formats.registry.Dataset`."""
        raise NotImplementedError

    def read(self, sample: str) -> Record:
        """Read one image with its labels; see :class:`refiner.data.formats.registry.Dataset`."""
        return Record(sample, self.read_image(sample))

    def _values(self, sample: str, name: str, position: int | None = None) -> np.ndarray[Any, np.dtype[Any]]:
        """Read a data set, or one row of it."""
        try:
            # Refuse links to other files, missing rows and sizes that no eye patch has, before reading.
            file = self._open(self.root)
            dataset = file[name]
            if dataset.file.filename != file.filename:
                raise ValueError("it is in another file")
            count = 1 if position is None else len(dataset)
            if position is not None and position >= count:
                raise ValueError(f"it has {count} rows")
            if dataset.size > MAX_PIXELS * count:
                raise ValueError("an image is too large")
            return stored_values(dataset, () if position is None else position)
        except Exception as error:  # h5py raises many kinds of errors for a damaged file
            raise ImageError(self.root / sample, f"{name} cannot be read from the HDF5 file ({error})") from error

    def _check(self, sample: str, image: np.ndarray[Any, np.dtype[Any]]) -> Image:
        if image.dtype not in (np.uint8, np.uint16) or image.ndim != 2 or not image.size:
            raise ImageError(
                self.root / sample, f"is {image.dtype} of shape {image.shape}; expected 8 or 16 bits, (height, width)"
            )
        return image


class MPIIGazeHDF5(_HDF5Images):
    """``MPIIGaze.h5`` of hysts/pytorch_mpiigaze; see :class:`refiner.data.formats.registry.Dataset`.

    Ids are ``p00/0000.png``: the person, and the row in the person's group. Images are (36, 60), uint8, grey. Labels:
    ``gaze`` and ``head_pose``, (pitch, yaw) in radians, positive up and to the image's left; ``subject`` (p00). All
    eyes look like left ones. ``mirrored`` is left out, since the file does not tell which eyes were mirrored.
    """

    licence = "CC BY-NC-SA 4.0"

    @staticmethod
    def recognises(root: Path) -> bool:
        """Return whether the file is HDF5 and holds a person's images and gaze."""
        return _has_layout(root, _persons)

    @cached_property
    def ids(self) -> list[str]:
        """Ids of every row of every person.

        Raises:
            DataError: the file is damaged, or holds no eyes or too many.
        """
        file = self._open(self.root)
        try:
            counts = {person: len(file[person]["image"]) for person in _persons(file)}
        except Exception as error:  # h5py raises many kinds of errors for a damaged file
            raise DataError(f"{self.root} is damaged ({error}); download it again") from error
        if sum(counts.values()) > MAX_IMAGES:
            raise DataError(f"{self.root} claims {sum(counts.values()):,} images; expected the 45,000 of MPIIGaze.h5")
        ids = [f"{person}/{row:04d}.png" for person, count in counts.items() for row in range(count)]
        if not ids:
            raise WrongInputError(f"{self.root} holds no eyes; expected groups p00, p01, ... with image, gaze and pose")
        return ids

    def subject(self, sample: str) -> str | None:
        """Return the person, such as ``p00``."""
        return self._row(sample)[0]

    def read_image(self, sample: str) -> Image:
        """Read one image, without its labels."""
        person, row = self._row(sample)
        return self._check(sample, self._values(sample, f"{person}/image", row))

    def read(self, sample: str) -> Record:
        """Read one eye with its labels; see :class:`refiner.data.formats.registry.Dataset`."""
        # Read the labels, then the image.
        person, row = self._row(sample)
        if self._not_radians:
            raise DataError(f"{self.root}: {self._not_radians}")
        labels: dict[str, Any] = {"subject": person}
        for name, stored in (("gaze", "gaze"), ("head_pose", "pose")):
            angles = self._values(sample, f"{person}/{stored}", row)
            # The comparison with pi also refuses NaN.
            if angles.shape != (2,) or angles.dtype.kind != "f" or not (np.abs(angles) <= np.pi).all():
                raise ImageError(
                    self.root / sample, f"its {stored} is {angles.tolist()}; expected pitch and yaw in radians"
                )
            labels[name] = angles.astype(np.float64)
        return Record(sample, self.read_image(sample), labels)

    @cached_property
    def _not_radians(self) -> str:
        """A sentence about angles that cannot be in radians; empty if there are none."""
        file = self._open(self.root)
        for person in _persons(file):
            for name in ("gaze", "pose"):
                with contextlib.suppress(OSError, RuntimeError, KeyError):  # damage is reported where rows are read
                    angles = file[person].get(name)
                    shape: tuple[int, ...] = getattr(angles, "shape", None) or ()
                    if (
                        shape[1:] == (2,)
                        and angles.dtype.kind == "f"
                        and shape[0] <= MAX_IMAGES
                        and (problem := check_radians(f"{person}/{name}", angles[:]))
                    ):
                        return problem
        return ""

    def _row(self, sample: str) -> tuple[str, int]:
        match = _ID.fullmatch(sample)
        if not match:
            raise ImageError(self.root / sample, "is not a sample of MPIIGaze.h5; expected an id like p00/0000.png")
        return match[1], int(match[2])


class GazeHDF5(_HDF5Images):
    """``gaze.h5`` or ``real_gaze.h5`` of 4quant; see :class:`refiner.data.formats.registry.Dataset`.

    Ids are the names in the group ``image``, with ``.png``. Images are (35, 55), uint8 or uint16, grey.

    There are no labels. ``look_vec``, stored with the renders, has no documented signs, and the photographs mix left
    and right eyes.
    """

    @staticmethod
    def recognises(root: Path) -> bool:
        """Return whether the file is HDF5 and has a group ``image`` that is not empty."""
        return _has_layout(root, lambda file: list(file["image"])[:1] if _is_group(file.get("image")) else [])

    @cached_property
    def ids(self) -> list[str]:
        """Ids of every data set of the group.

        Raises:
            DataError: the file is damaged or holds no images.
        """
        try:
            images = self._open(self.root).get("image")
            names = list(images) if _is_group(images) else []
        except Exception as error:  # h5py raises many kinds of errors for a damaged file
            raise DataError(f"{self.root} is damaged ({error}); download it again") from error
        if not names:
            raise WrongInputError(
                f"{self.root} holds no images; expected a group image with one data set for each image"
            )
        return [f"{quote(name, safe='')}.png" for name in names]

    def read_image(self, sample: str) -> Image:
        """Read one image."""
        name = unquote(PurePosixPath(sample).name.removesuffix(".png"))
        return self._check(sample, self._values(sample, f"image/{name}"))


def _has_layout(path: Path, find: Callable[[Any], Any]) -> bool:
    """Return whether a path is an HDF5 file in which ``find`` finds something."""
    import h5py

    try:
        if not path.is_file() or not h5py.is_hdf5(path):
            return False
        with open_hdf5(path) as file:
            return bool(find(file))
    except Exception:  # a damaged file does not have the layout
        return False


def _persons(file: Any) -> Sequence[str]:
    """Names of the groups of persons that have images and gaze."""
    import h5py

    groups = [(name, file[name]) for name in file if _PERSON.fullmatch(name)]
    return [
        name
        for name, group in groups
        if _is_group(group) and all(isinstance(group.get(part), h5py.Dataset) for part in ("image", "gaze"))
    ]


def _is_group(node: Any) -> bool:
    import h5py

    return isinstance(node, h5py.Group)
