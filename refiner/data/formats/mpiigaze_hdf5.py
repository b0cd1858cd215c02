"""Ready-made HDF5 files of eye patches that public repositories pass around.

``MPIIGaze.h5`` of hysts/pytorch_mpiigaze: the evaluation subset of MPIIGaze, one group a person (``p00``), each
with ``image`` uint8 (N, 36, 60), ``gaze`` and ``pose`` float32 (N, 2), pitch and yaw in radians. Its program has
mirrored the right eyes already, and negated their yaw; which ones they are the file does not say.

``gaze.h5`` and ``real_gaze.h5`` of 4quant's "eye-gaze": a group ``image`` with one data set an image, 35x55.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from refiner.core.errors import DataError, ImageError
from refiner.data.formats.file_access import RecentFiles
from refiner.data.labels.records import Record
from refiner.data.store.hdf5 import stored_values
from refiner.images.io import MAX_PIXELS, Image

MAX_IMAGES = 10**7
"""Most rows that are believed: a data set can claim any number without holding one."""

_ID = re.compile(r"(p\d\d)/(\d+)\.png", re.ASCII)
_PERSON = re.compile(r"p\d\d", re.ASCII)


class _HDF5Images:
    """One HDF5 file, opened when it is first needed, once in each process.

    Args:
        root: the file.
        size, crop: unused, images are eye patches already.

    Raises:
        DataError: it is no HDF5 file.
    """

    licence = "not stated"

    def __init__(self, root: Path, *, size: tuple[int, int] | None = None, crop: bool = True) -> None:
        self.root = root
        self._open = RecentFiles(_open, 1)
        self._open(root)

    def subject(self, sample: str) -> str | None:
        """Not known."""
        return None

    def read_image(self, sample: str) -> Image:
        """Read one image; see :class:`refiner.data.formats.registry.Dataset`."""
        raise NotImplementedError

    def read(self, sample: str) -> Record:
        """Read one image with its labels; see :class:`refiner.data.formats.registry.Dataset`."""
        return Record(sample, self.read_image(sample))

    def _values(self, sample: str, name: str, position: int | None = None) -> np.ndarray[Any, np.dtype[Any]]:
        """A data set, or one row of it."""
        try:
            file = self._open(self.root)
            dataset = file[name]
            if dataset.file.filename != file.filename:
                raise ValueError("it lies in another file")
            count = 1 if position is None else len(dataset)
            if position is not None and position >= count:
                raise ValueError(f"there are {count} rows")
            if dataset.size > MAX_PIXELS * count:
                raise ValueError("an image is too large")
            return stored_values(dataset, () if position is None else position)
        except Exception as error:  # h5py raises nearly anything at a damaged file
            raise ImageError(self.root / sample, f"{name} cannot be read from the HDF5 file ({error})") from error

    def _check(self, sample: str, image: np.ndarray[Any, np.dtype[Any]]) -> Image:
        if image.dtype not in (np.uint8, np.uint16) or image.ndim != 2 or not image.size:
            raise ImageError(
                self.root / sample, f"is {image.dtype} of shape {image.shape}; expected 8- or 16-bit height x width"
            )
        return image


class MPIIGazeHDF5(_HDF5Images):
    """``MPIIGaze.h5`` of hysts/pytorch_mpiigaze; see :class:`refiner.data.formats.registry.Dataset`.

    Ids are ``p00/0000.png``, the row in the person's group. Labels: ``gaze``, ``head_pose`` and ``subject``; all
    eyes look like left ones, and ``mirrored`` is left out, as the file does not say it.
    """

    licence = "CC BY-NC-SA 4.0"

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether it is an HDF5 file with a person's images and gaze."""
        return _looks(root, _persons)

    @cached_property
    def ids(self) -> list[str]:
        """Every row of every person.

        Raises:
            DataError: there are none.
        """
        file = self._open(self.root)
        try:
            counts = {person: len(file[person]["image"]) for person in _persons(file)}
        except Exception as error:  # h5py raises nearly anything at a damaged file
            raise DataError(f"{self.root}: is damaged ({error}); fetch it again") from error
        if sum(counts.values()) > MAX_IMAGES:
            raise DataError(f"{self.root}: claims {sum(counts.values()):,} images; expected the 45,000 of MPIIGaze.h5")
        ids = [f"{person}/{row:04d}.png" for person, count in counts.items() for row in range(count)]
        if not ids:
            raise DataError(f"{self.root}: holds no eyes; expected groups p00, p01, ... with image, gaze and pose")
        return ids

    def subject(self, sample: str) -> str | None:
        """The person, as in ``p00``."""
        return self._row(sample)[0]

    def read_image(self, sample: str) -> Image:
        """Read one image; its labels are not looked at."""
        person, row = self._row(sample)
        return self._check(sample, self._values(sample, f"{person}/image", row))

    def read(self, sample: str) -> Record:
        """Read one eye with its labels; see :class:`refiner.data.formats.registry.Dataset`."""
        person, row = self._row(sample)
        labels: dict[str, Any] = {"subject": person}
        for name, stored in (("gaze", "gaze"), ("head_pose", "pose")):
            angles = self._values(sample, f"{person}/{stored}", row)
            if angles.shape != (2,) or angles.dtype.kind != "f" or not (np.abs(angles) <= np.pi).all():  # NaN neither
                raise ImageError(
                    self.root / sample, f"its {stored} is {angles.tolist()}; expected pitch and yaw in radians"
                )
            labels[name] = angles.astype(np.float64)
        return Record(sample, self.read_image(sample), labels)

    def _row(self, sample: str) -> tuple[str, int]:
        match = _ID.fullmatch(sample)
        if not match:
            raise ImageError(self.root / sample, "is no sample of MPIIGaze.h5; expected an id like p00/0000.png")
        return match[1], int(match[2])


class GazeHDF5(_HDF5Images):
    """``gaze.h5`` or ``real_gaze.h5`` of 4quant; see :class:`refiner.data.formats.registry.Dataset`.

    Ids are the names in the group ``image``, with ``.png``. No labels: ``look_vec``, which stands beside the
    renders, has no documented signs, and the photographs mix left and right eyes.
    """

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether it is an HDF5 file with a group ``image`` of data sets."""
        return _looks(root, lambda file: list(file["image"])[:1] if _is_group(file.get("image")) else [])

    @cached_property
    def ids(self) -> list[str]:
        """Every data set of the group.

        Raises:
            DataError: there are none.
        """
        try:
            images = self._open(self.root).get("image")
            names = list(images) if _is_group(images) else []
        except Exception as error:  # h5py raises nearly anything at a damaged file
            raise DataError(f"{self.root}: is damaged ({error}); fetch it again") from error
        if not names:
            raise DataError(f"{self.root}: holds no images; expected a group image with one data set an image")
        return [f"{quote(name, safe='')}.png" for name in names]

    def read_image(self, sample: str) -> Image:
        """Read one image."""
        name = unquote(PurePosixPath(sample).name.removesuffix(".png"))
        return self._check(sample, self._values(sample, f"image/{name}"))


def _open(path: Path) -> Any:
    import h5py

    if not path.is_file():
        raise DataError(f"{path}: is no file; name the .h5 file itself")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: cannot be opened as an HDF5 file ({error}); fetch it again") from error


def _looks(path: Path, found: Any) -> bool:
    import h5py

    try:
        if not path.is_file() or not h5py.is_hdf5(path):
            return False
        with h5py.File(path, "r") as file:
            return bool(found(file))
    except Exception:  # a damaged file is not this layout
        return False


def _persons(file: Any) -> Sequence[str]:
    """Groups of persons with images and gaze."""
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
