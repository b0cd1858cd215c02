"""A store of our own; see :mod:`refiner.data.store.writer` for its layout."""

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from refiner.core.errors import DataError, ImageError
from refiner.core.files import check_regular
from refiner.data.labels.records import PAIRS, Labels, Record, from_cells
from refiner.data.store.columns import to_text
from refiner.data.store.hdf5 import FORMAT, FORMAT_VERSION, ImageKind, stored_values, to_label_name
from refiner.data.store.store_names import is_store_name
from refiner.images.io import MAX_PIXELS, Image


class _Open(NamedTuple):
    """An open file, and the process that may use it: HDF5 handles do not survive a fork."""

    process: int
    file: h5py.File


class Store:
    """A store; see :class:`refiner.data.formats.registry.Dataset`. Opens when it is first used, once in each process.

    Args:
        root: the file.
        size, crop: unused, images are read whole and at their own size.
    """

    def __init__(self, root: Path, *, size: tuple[int, int] | None = None, crop: bool = True) -> None:
        self.root = root
        self._open: _Open | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["root"])  # type: ignore[misc]

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether the file says that it is a store."""
        if not is_store_name(root) or not root.is_file():
            return False
        try:
            with h5py.File(root, "r") as file:
                return bool(file.attrs.get("format") == FORMAT)
        except Exception:  # h5py raises nearly anything at a damaged file
            return False

    @property
    def file(self) -> h5py.File:
        """The open file.

        Raises:
            DataError: it cannot be opened, is no store, or is one of a later version.
        """
        with self._lock:
            if self._open is None or self._open.process != os.getpid():
                self._open = _Open(os.getpid(), self._checked())
            return self._open.file

    def close(self) -> None:
        """Close the file; it opens again when it is used again."""
        if self._open is not None and self._open.process == os.getpid():
            self._open.file.close()
        self._open = None

    def _checked(self) -> h5py.File:
        try:
            check_regular(self.root)
            file = h5py.File(self.root, "r")
        except Exception as error:  # h5py raises nearly anything at a damaged file
            raise DataError(f"{self.root}: cannot be opened as HDF5 ({error}); is it whole?") from error
        try:
            problem = self._problem(file)
        except Exception as error:
            problem = f"holds no /images and /ids that can be used ({error})"
        if problem:
            file.close()
            raise DataError(f"{self.root}: {problem}")
        return file

    @staticmethod
    def _problem(file: h5py.File) -> str | None:
        if str(file.attrs.get("format")) != FORMAT:
            return "is HDF5, but no store of simgan-refiner; expected what refiner convert IN OUT.h5 writes"
        if str(file.attrs.get("format_version")) != str(FORMAT_VERSION):
            return f"has format version {file.attrs.get('format_version')}, this release reads {FORMAT_VERSION}"
        images, ids = _local(file, "images"), _local(file, "ids")
        if images.ndim != 4 or images.dtype not in (np.uint8, np.uint16) or ids.shape != images.shape[:1]:
            return f"holds images {images.shape} {images.dtype} and ids {ids.shape}; expected (N, H, W, C) and (N,)"
        if not images.size or images.shape[3] not in (1, 3, 4) or images.shape[1] * images.shape[2] > MAX_PIXELS:
            return f"holds images {images.shape}; expected at least one, with 1, 3 or 4 channels"
        return None

    @property
    def licence(self) -> str:
        """What the store says of it."""
        return str(self.file.attrs.get("licence", "not stated"))

    @cached_property
    def kind(self) -> ImageKind:
        """Size, channels and depth of all its images."""
        _, height, width, channels = self.images.shape
        return ImageKind(height, width, channels, self.images.dtype.itemsize * 8)

    @property
    def images(self) -> h5py.Dataset:
        """``/images``, (N, H, W, C)."""
        return self.file["images"]

    @cached_property
    def ids(self) -> list[str]:
        """Ids in the order of the images.

        Raises:
            DataError: they cannot be read.
        """
        try:
            return [to_text(name, "text") for name in stored_values(_local(self.file, "ids"))]
        except Exception as error:  # h5py raises nearly anything at a damaged file
            raise DataError(f"{self.root}: its ids cannot be read ({error})") from error

    def read_ids(self, numbers: range) -> list[str]:
        """Ids of images that follow one another, without reading all.

        Raises:
            DataError: they cannot be read.
        """
        try:
            return [to_text(name, "text") for name in _local(self.file, "ids")[numbers.start : numbers.stop]]
        except Exception as error:  # h5py raises nearly anything at a damaged file
            raise DataError(f"{self.root}: its ids cannot be read ({error})") from error

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each image by its id.

        Raises:
            DataError: two images have one id.
        """
        numbers = {sample: number for number, sample in enumerate(self.ids)}
        if len(numbers) != len(self.ids):
            twice = next(sample for number, sample in enumerate(self.ids) if numbers[sample] != number)
            raise DataError(f"{self.root}: the id {twice} stands twice; expected one for each image")
        return numbers

    @cached_property
    def label_names(self) -> list[str]:
        """Names of their data sets, without the subjects."""
        group = self.file.get("labels")
        return [name for name in group if _is_local(group, name)] if isinstance(group, h5py.Group) else []

    def subject(self, sample: str) -> str | None:
        """The text in ``/subjects``."""
        number = self.numbers[sample]
        with self._label_errors(sample):
            return self._subject(number)

    def _subject(self, number: int) -> str | None:
        return self._subjects[number] or None if self._subjects else None

    @cached_property
    def _subjects(self) -> list[str]:
        """All of them at once: reading one takes HDF5 a hundred times as long as reading its neighbours along."""
        if not _is_local(self.file, "subjects"):
            return []
        subjects = self.file["subjects"]
        if subjects.shape != self.file["ids"].shape:
            raise ValueError(f"/subjects is {subjects.shape}, expected one for each image")
        return [to_text(name, "text") for name in subjects[:]]

    @contextlib.contextmanager
    def _label_errors(self, sample: str) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, IndexError, DataError) as error:
            raise ImageError(sample, f"its labels in {self.root} cannot be read ({error})") from error

    def read_image(self, sample: str) -> Image:
        """Read one image, (H, W) or (H, W, C)."""
        return self.image(self.numbers[sample])

    def read(self, sample: str) -> Record:
        """Read one image with its labels; see :class:`refiner.data.formats.registry.Dataset`."""
        number = self.numbers[sample]
        with self._label_errors(sample):
            labels = self._labels(number)
            if subject := self._subject(number):
                labels["subject"] = subject
        return Record(sample, self.image(number), labels)

    def image(self, number: int) -> Image:
        """Read one image by its number; see :meth:`read_images`."""
        return next(self.read_images([number]))

    def read_images(self, numbers: Iterable[int]) -> Iterator[Image]:
        """Read images by number, (H, W) or (H, W, C), one by one: HDF5 takes thirty times as long for a list.

        Raises:
            ImageError: the chunk of one is damaged.
        """
        images = self.images
        for number in numbers:
            try:
                image: Image = images[number]
            except (OSError, RuntimeError) as error:
                raise ImageError(self.ids[number], f"its pixels in {self.root} are damaged ({error})") from error
            yield image[..., 0] if image.shape[2] == 1 else image

    def read_range(self, numbers: range) -> list[Image]:
        """Read images that follow one another, (H, W) or (H, W, C), in a quarter of the time of reading each.

        Raises:
            ImageError: the chunk of one is damaged.
        """
        try:
            images: Image = self.images[numbers.start : numbers.stop]
        except (OSError, RuntimeError):
            return list(self.read_images(numbers))  # which names the damaged one
        return list(images[..., 0] if images.shape[3] == 1 else images)

    def _labels(self, number: int) -> Labels:
        labels: Labels = {}
        cells: dict[str, str] = {}
        for dataset in self.label_names:
            name, values = to_label_name(dataset), self.file["labels"][dataset]
            if values.dtype.kind not in "biufSO":
                raise ValueError(f"{name} holds {values.dtype}, expected numbers or text")
            value, kind = values[number], str(values.attrs.get("cells", "float" if values.ndim == 1 else "array"))
            if kind == "array" and not np.ndim(value):
                raise ValueError(f"{name} is said to be an array, and is none")
            if name in PAIRS and np.shape(value) != (2,):
                raise ValueError(f"{name} has the shape {np.shape(value)}, expected (2,)")
            if name in PAIRS or kind == "array":
                if np.isfinite(value).all():
                    labels[name] = np.asarray(value, np.float64)
            else:
                cells[name] = to_text(value, kind)
        return {**labels, **from_cells(cells, "/labels")}


def _is_local(group: h5py.Group, name: str) -> bool:
    """Whether a data set lies in this very file: a link or external storage could read any file of the user's."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return False
    values = group.get(name)
    return isinstance(values, h5py.Dataset) and not values.external and not values.is_virtual


def _local(group: h5py.Group, name: str) -> h5py.Dataset:
    if not _is_local(group, name):
        raise KeyError(f"/{name} is missing, or lies in another file")
    return group[name]
