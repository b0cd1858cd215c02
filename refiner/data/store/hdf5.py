"""The HDF5 side of a store: what its images have in common, names of labels, attributes, errors."""

import contextlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import h5py
import numpy as np

from refiner.core.errors import OutputError
from refiner.images.io import MAX_BYTES, Image

FORMAT = "simgan-refiner store"
FORMAT_VERSION = 1

CONVENTIONS = (
    "images (N, height, width, channels), RGB order; gaze and head_pose are (pitch, yaw) in radians, positive pitch "
    "looks up, positive yaw to the image's left; points are (x, y) in pixels, the top-left pixel's centre at (0, 0); "
    "mirrored 1: the image was flipped left-right and its yaws negated; NaN and empty text: not known"
)

_CHANNELS = {1: "grey", 3: "RGB", 4: "RGBA"}


class ImageKind(NamedTuple):
    """What all images of a store have in common: size in pixels, channels, bits a channel."""

    height: int
    width: int
    channels: int
    bits: int

    @classmethod
    def of(cls, image: Image) -> Self:
        """The kind of one image, (H, W) or (H, W, C)."""
        return cls(image.shape[0], image.shape[1], 1 if image.ndim == 2 else image.shape[2], image.dtype.itemsize * 8)

    def __str__(self) -> str:
        return f"{self.height}x{self.width} {_CHANNELS[self.channels]} {self.bits} bits"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The kind that :func:`str` gave."""
        size, channels, bits, _ = text.split()
        height, width = map(int, size.split("x"))
        return cls(height, width, next(n for n, name in _CHANNELS.items() if name == channels), int(bits))

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 or uint16."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)


@contextlib.contextmanager
def hdf5_errors(path: Path) -> Iterator[None]:
    """Turn what HDF5 raises on a full or read-only disk into an :class:`OutputError` that names the file."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path}: cannot be written ({error}); free some space or choose another place") from error


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file, which is closed in any case."""
    file = h5py.File(path, "w", libver="latest")
    try:
        yield file
        file.flush()
    except BaseException:
        _divert(file)
        raise
    finally:
        file.close()


def _divert(file: h5py.File) -> None:
    """Let what HDF5 still has to write go to memory: a file that a full disk keeps open crashes the process at exit."""
    if hasattr(os, "memfd_create"):
        memory = os.memfd_create("diverted")
    else:
        with tempfile.TemporaryFile() as elsewhere:
            memory = os.dup(elsewhere.fileno())
    os.dup2(memory, file.id.get_vfd_handle())
    os.close(memory)


def to_dataset_name(column: str) -> str:
    """The name of a label as HDF5 can have it: without a slash or a zero, and neither empty nor a dot."""
    plain = column.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")
    return f"%{column}" if column in ("", ".") else plain


def to_label_name(dataset: str) -> str:
    """The name that :func:`to_dataset_name` was given."""
    plain = dataset.replace("%00", "\0").replace("%2F", "/").replace("%25", "%")
    return dataset[1:] if dataset in ("%", "%.") else plain


def write_attributes(file: h5py.File, attributes: Mapping[str, str], suffixes: Counter[str] | None = None) -> None:
    """Write what makes a store describe itself."""
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["conventions"] = CONVENTIONS
    if suffixes is not None:
        file.attrs["original_suffixes"] = json.dumps(dict(suffixes.most_common()))
    for name, value in attributes.items():
        file.attrs[name] = value.encode(errors="backslashreplace").decode()  # a path may be no UTF-8


def stored_values(dataset: Any, index: Any = ()) -> np.ndarray[Any, np.dtype[Any]]:
    """Values of an HDF5 data set that is stored in its own file, and no larger than what is read at once.

    Raises:
        ValueError: it is none of that; h5py's errors pass through.
    """
    import h5py

    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise ValueError("values are missing or lie in another file")
    if index == () and dataset.nbytes > MAX_BYTES:
        raise ValueError(f"values of {dataset.nbytes:,} bytes, at most {MAX_BYTES:,} are read at once")
    return np.asarray(dataset[index])
