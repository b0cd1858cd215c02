"""Reader of stores: images and labels by id or by number; :mod:`refiner.data.store.hdf5` describes the layout."""

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
from refiner.data.labels.angles import check_radians
from refiner.data.labels.objects import AnnotationInfo
from refiner.data.labels.records import PAIRS, Labels, Record, from_cells
from refiner.data.store.columns import to_text
from refiner.data.store.hdf5 import (
    FORMAT,
    FORMAT_VERSION,
    ImageKind,
    is_local,
    local_dataset,
    open_hdf5,
    stored_values,
    to_label_name,
)
from refiner.data.store.store_names import is_store_name
from refiner.images.io import MAX_PIXELS, Image


class _Open(NamedTuple):
    """An open file, and the process that may use it: HDF5 handles do not survive a fork."""

    process: int
    file: h5py.File


class Store:
    """A store, read as a data set; see :class:`refiner.data.formats.registry.Dataset`.

    The file is opened on first use, once in each process. Images are uint8 or uint16, (H, W) grey, (H, W, 3) RGB or
    (H, W, 4) RGBA. ``gaze`` and ``head_pose`` are (pitch, yaw) in radians, points are (x, y) in pixels; labels with
    NaN or empty text are left out.

    Args:
        root: the file.
        size, crop: not used; images are read whole and at their own size.
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
        """Return whether the file has a store's suffix and its attribute ``format``."""
        if not is_store_name(root) or not root.is_file():
            return False
        try:
            with open_hdf5(root) as file:
                return bool(file.attrs.get("format") == FORMAT)
        except Exception:  # h5py raises many kinds of errors for a damaged file
            return False

    @property
    def file(self) -> h5py.File:
        """The open file.

        Raises:
            DataError: the file cannot be opened, is not a store, or has another format version.
        """
        with self._lock:
            if self._open is None or self._open.process != os.getpid():
                self._open = _Open(os.getpid(), self._checked())
            return self._open.file

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._open is not None and self._open.process == os.getpid():
            self._open.file.close()
        self._open = None

    def _checked(self) -> h5py.File:
        file = open_hdf5(self.root)
        try:
            problem = self._problem(file)
        except Exception as error:
            problem = f"holds no /images and /ids that can be used ({error}); make the store again"
        if problem:
            file.close()
            raise DataError(f"{self.root} {problem}")
        return file

    @staticmethod
    def _problem(file: h5py.File) -> str | None:
        if str(file.attrs.get("format")) != FORMAT:
            return "is HDF5, but not a store of simgan-refiner; make one with: refiner convert IN OUT.h5"
        if str(file.attrs.get("format_version")) != str(FORMAT_VERSION):
            return f"has format version {file.attrs.get('format_version')}; this release reads {FORMAT_VERSION}"
        # Check types and shapes before any value is read.
        images, ids = local_dataset(file, "images"), local_dataset(file, "ids")
        if images.ndim != 4 or images.dtype not in (np.uint8, np.uint16) or ids.shape != images.shape[:1]:
            return f"holds images {images.shape} {images.dtype} and ids {ids.shape}; expected (N, H, W, C) and (N,)"
        if not images.size or images.shape[3] not in (1, 3, 4) or images.shape[1] * images.shape[2] > MAX_PIXELS:
            return f"holds images {images.shape}; expected at least one, with 1, 3 or 4 channels"
        return None

    @property
    def licence(self) -> str:
        """Licence of the images, from the attribute ``licence``."""
        return str(self.file.attrs.get("licence", "not stated"))

    @property
    def label_format(self) -> str:
        """Format in which the labels came, from the attribute ``label_format``; empty if it is not known."""
        return str(self.file.attrs.get("label_format", ""))

    @property
    def info(self) -> AnnotationInfo | None:
        """Facts about the annotated objects, from the attribute ``annotations``; None if there are none.

        Raises:
            DataError: the attribute is damaged.
        """
        text = self.file.attrs.get("annotations")
        where = f"the attribute annotations of {self.root}"
        return None if text is None else AnnotationInfo.from_json(str(text), where)

    @cached_property
    def kind(self) -> ImageKind:
        """Size, channels and depth of all images."""
        _, height, width, channels = self.images.shape
        return ImageKind(height, width, channels, self.images.dtype.itemsize * 8)

    @property
    def images(self) -> h5py.Dataset:
        """The data set ``/images``, (N, H, W, C), uint8 or uint16."""
        return self.file["images"]

    @cached_property
    def ids(self) -> list[str]:
        """Ids in the order of the images.

        Raises:
            DataError: the ids cannot be read.
        """
        file = self.file
        try:
            return [to_text(name, "text") for name in stored_values(local_dataset(file, "ids"))]
        except Exception as error:  # h5py raises many kinds of errors for a damaged file
            raise DataError(f"the ids of {self.root} cannot be read ({error})") from error

    def read_ids(self, numbers: range) -> list[str]:
        """Return the ids of consecutive images, without reading the others.

        Raises:
            DataError: the ids cannot be read.
        """
        file = self.file
        try:
            ids = local_dataset(file, "ids")[numbers.start : numbers.stop]
            return [to_text(name, "text") for name in ids]
        except Exception as error:  # h5py raises many kinds of errors for a damaged file
            raise DataError(f"the ids of {self.root} cannot be read ({error})") from error

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each image by its id.

        Raises:
            DataError: two images have the same id.
        """
        numbers = {sample: number for number, sample in enumerate(self.ids)}
        if len(numbers) != len(self.ids):
            twice = next(sample for number, sample in enumerate(self.ids) if numbers[sample] != number)
            raise DataError(f"{self.root} has two images with the id {twice}; expected an id of its own for each image")
        return numbers

    @cached_property
    def label_names(self) -> list[str]:
        """Names of the data sets in ``/labels``; subjects are not among them.

        Raises:
            DataError: the names cannot be read.
        """
        file = self.file
        try:
            group = file.get("labels")
            return [name for name in group if is_local(group, name)] if isinstance(group, h5py.Group) else []
        except Exception as error:  # h5py raises many kinds of errors for a damaged file
            raise DataError(f"the labels of {self.root} cannot be read ({error}); make the store again") from error

    def check_angles(self) -> None:
        """Check that gaze and head pose can be in radians.

        Raises:
            DataError: an angle is beyond pi.
        """
        if self._not_radians:
            raise DataError(f"{self.root}: {self._not_radians}")

    @cached_property
    def _not_radians(self) -> str:
        for name in {"gaze", "head_pose"}.intersection(self.label_names):
            values = self.file["labels"][name]
            if values.dtype.kind in "fiu" and (values.shape or ())[1:] == (2,):  # an empty data set has no shape
                with contextlib.suppress(OSError, RuntimeError):  # damaged labels are reported where they are read
                    if problem := check_radians(f"/labels/{name}", values[:]):
                        return problem
        return ""

    def subject(self, sample: str) -> str | None:
        """Return the subject of an image, from ``/subjects``; None if it is not known."""
        number = self.numbers[sample]
        with self._label_errors(sample):
            return self._subject(number)

    def _subject(self, number: int) -> str | None:
        return self._subjects[number] or None if self._subjects else None

    @cached_property
    def _subjects(self) -> list[str]:
        """All subjects, read at once: HDF5 takes a hundred times as long to read them one by one."""
        if not is_local(self.file, "subjects"):
            return []
        subjects = self.file["subjects"]
        if subjects.shape != self.file["ids"].shape:
            raise ValueError(f"/subjects has the shape {subjects.shape}; expected one subject for each image")
        return [to_text(name, "text") for name in subjects[:]]

    @contextlib.contextmanager
    def _label_errors(self, sample: str) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, IndexError, DataError) as error:
            raise ImageError(sample, f"its labels in {self.root} cannot be read ({error})") from error

    def read_image(self, sample: str) -> Image:
        """Read one image by its id, (H, W) or (H, W, C)."""
        return self.image(self.numbers[sample])

    def read(self, sample: str) -> Record:
        """Read one image with its labels; see :class:`refiner.data.formats.registry.Dataset`."""
        number = self.numbers[sample]
        self.check_angles()
        with self._label_errors(sample):
            labels = self._labels(number)
            if subject := self._subject(number):
                labels["subject"] = subject
        return Record(sample, self.image(number), labels)

    def image(self, number: int) -> Image:
        """Read one image by its number, (H, W) or (H, W, C); see :meth:`read_images`."""
        return next(self.read_images([number]))

    def read_images(self, numbers: Iterable[int]) -> Iterator[Image]:
        """Read images by number, (H, W) or (H, W, C).

        Images are read one by one, since HDF5 takes thirty times as long for a list of numbers.

        Raises:
            ImageError: the pixels of an image are damaged.
        """
        images = self.images
        for number in numbers:
            try:
                image: Image = images[number]
            except (OSError, RuntimeError) as error:
                raise ImageError(self.ids[number], f"its pixels in {self.root} are damaged ({error})") from error
            yield image[..., 0] if image.shape[2] == 1 else image

    def read_range(self, numbers: range) -> list[Image]:
        """Read consecutive images, (H, W) or (H, W, C), in a quarter of the time that single reads take.

        Raises:
            ImageError: the pixels of an image are damaged.
        """
        try:
            images: Image = self.images[numbers.start : numbers.stop]
        except (OSError, RuntimeError):
            return list(self.read_images(numbers))  # its error names the damaged image
        return list(images[..., 0] if images.shape[3] == 1 else images)

    def _labels(self, number: int) -> Labels:
        labels: Labels = {}
        cells: dict[str, str] = {}
        for dataset in self.label_names:
            name, values = to_label_name(dataset), self.file["labels"][dataset]
            if values.dtype.kind not in "biufSO":
                raise ValueError(f"{name} holds {values.dtype}; expected numbers or text")
            value, kind = values[number], str(values.attrs.get("cells", "float" if values.ndim == 1 else "array"))
            if kind == "array" and not np.ndim(value):
                raise ValueError(f"{name} is marked as an array, but holds single numbers")
            if name in PAIRS and np.shape(value) != (2,):
                raise ValueError(f"{name} has the shape {np.shape(value)}; expected (2,)")
            # Arrays are kept as numbers; other values become cells, as if they came from a table. NaN is missing.
            if name in PAIRS and np.isnan(value).any():
                columns = zip(PAIRS[name], value, strict=True)
                cells |= {column: to_text(part, "float") for column, part in columns}
            elif name in PAIRS or kind == "array":
                if np.isinf(np.asarray(value, np.float64)).any():
                    raise ValueError(f"{name} contains infinite numbers")
                if not np.isnan(np.asarray(value, np.float64)).all():
                    labels[name] = np.asarray(value, np.float64)
            else:
                cells[name] = to_text(value, kind)
        return {**labels, **from_cells(cells, "/labels")}
