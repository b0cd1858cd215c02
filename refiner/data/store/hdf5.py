"""Layout of a store, and helpers for HDF5 files that the writer and the reader share.

A store is one HDF5 file of images of one size and depth, with their labels.

====================  =============================================================================================
``/images``           (N, H, W, C), uint8 or uint16; one image per HDF5 chunk, compressed with LZF, with a checksum
``/ids``              (N,), text: path relative to the root of the original data set, with suffix
``/subjects``         (N,), text; present if subjects are known
``/labels/<name>``    gaze and head_pose (N, 2) in radians; pupil (N, 2) in pixels; outlines (N, K, 2) in pixels;
                      mirrored (N,), 0 or 1; other columns as integers, floats or text. A missing value is NaN or
                      empty text.
attributes            ``format``, ``format_version``, ``conventions``, ``source``, ``licence``, ``command``, ...
====================  =============================================================================================

With one image per HDF5 chunk, a shuffled batch reads only its own images, and stores are joined by copying chunks
without decoding them. docs/store.md has the measurements.
"""

import contextlib
import errno
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import h5py
import numpy as np

from refiner.core.errors import DataError, OutputError
from refiner.core.files import check_regular
from refiner.core.locks import NO_LOCKS
from refiner.images.io import MAX_BYTES, Image

FORMAT = "simgan-refiner store"
"""The attribute ``format`` of every store."""

FORMAT_VERSION = 1
"""Version of the layout; the reader accepts no other."""

CONVENTIONS = (
    "images (N, height, width, channels), RGB order; gaze and head_pose are (pitch, yaw) in radians, positive pitch "
    "looks up, positive yaw to the image's left; points are (x, y) in pixels, the top-left pixel's centre at (0, 0); "
    "mirrored 1: the image was flipped left-right and its yaws negated; NaN and empty text: not known"
)
"""The attribute ``conventions``: axes, units and signs in words. It is part of the file format."""

_CHANNELS = {1: "grey", 3: "RGB", 4: "RGBA"}


class ImageKind(NamedTuple):
    """Properties that all images of a store share.

    Attributes:
        height, width: size in pixels.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        bits: bits per channel, 8 or 16.
    """

    height: int
    width: int
    channels: int
    bits: int

    @classmethod
    def of(cls, image: Image) -> Self:
        """Return the kind of one image, (H, W) or (H, W, C)."""
        return cls(image.shape[0], image.shape[1], 1 if image.ndim == 2 else image.shape[2], image.dtype.itemsize * 8)

    def __str__(self) -> str:
        return f"{self.height}x{self.width} {_CHANNELS[self.channels]} {self.bits} bits"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the kind from its text, as made by :func:`str`: ``36x60 grey 8 bits``."""
        size, channels, bits, _ = text.split()
        height, width = map(int, size.split("x"))
        return cls(height, width, next(n for n, name in _CHANNELS.items() if name == channels), int(bits))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels, uint8 or uint16."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading; a file system without locks is read without them.

    Raises:
        DataError: the file cannot be opened; the message says why and what to do.
    """
    try:
        check_regular(path)
        try:
            return h5py.File(path, "r")
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            return h5py.File(path, "r", locking=False)
    except Exception as error:  # h5py raises many kinds of errors for a damaged file
        raise DataError(f"{path} {_why_not_opened(path, error)}") from error


_CANNOT_LOCK = "cannot be locked, as its file system has no locks; set HDF5_USE_FILE_LOCKING=FALSE"

_REMEDY = "copy, download or make it again"


def text_attribute(path: Path, name: str) -> str | None:
    """Return a text attribute of a store; None if there is no such store or attribute."""
    if not path.is_file():
        return None
    try:
        with open_hdf5(path) as file:
            return str(file.attrs[name])
    except (DataError, OSError, RuntimeError, KeyError):
        return None


def _why_not_opened(path: Path, error: Exception) -> str:
    """Return what is wrong with a file that HDF5 could not open, and what to do, as the rest of a sentence."""
    number = getattr(error, "errno", None)
    text = " ".join(str(error).split())
    # Another program has the file, or did not close it.
    if number == errno.EWOULDBLOCK:
        return "is open for writing in another program; close it there, or wait until that program ends"
    if "already open for write" in text:
        return (
            "is open for writing in another program, or such a program was killed; close it there. If none has it "
            "open, make the file again, or remove the mark with h5clear -s of the HDF5 tools"
        )
    # The system refuses the file.
    if number in NO_LOCKS:
        return _CANNOT_LOCK
    if number == errno.EINVAL and not path.is_file():
        return "is not a regular file; name the HDF5 file itself"
    if number is not None:
        return f"cannot be read ({os.strerror(number)}); check the path and its permissions"
    # The content is not whole.
    if sizes := re.search(r"truncated file: eof = (\d+), .*stored_eof = (\d+)", text):
        has, needs = map(int, sizes.groups())
        return f"is truncated: it has {has:,} of {needs:,} bytes; {_REMEDY}"
    if path.stat().st_size == 0:
        return f"is empty; {_REMEDY}"
    if "signature not found" in text:
        return f"is not an HDF5 file, or its beginning is lost; {_REMEDY}"
    reason = re.sub(r"^Unable to .*? \((.*)\)$", r"\1", text)
    return f"is damaged and cannot be opened as HDF5 ({reason}); {_REMEDY}"


@contextlib.contextmanager
def hdf5_errors(path: Path) -> Iterator[None]:
    """Turn an HDF5 error of the block into an error that names the file.

    Raises:
        OutputError: HDF5 failed, for example because the disk is full or read-only.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if getattr(error, "errno", None) in NO_LOCKS:  # the user's setting forces HDF5 to lock
            raise OutputError(f"{path} {_CANNOT_LOCK}") from error
        raise OutputError(f"{path} cannot be written ({error}); free some space or choose another place") from error


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[h5py.File]:
    """Open a new HDF5 file and close it at the end of the block, even after an error.

    HDF5 does not lock the file: some file systems have no locks, and no other process knows the file yet.
    """
    file = h5py.File(path, "w", libver="latest", locking=False)
    try:
        yield file
        file.flush()
    except BaseException:
        _divert(file)
        raise
    finally:
        file.close()


def _divert(file: h5py.File) -> None:
    """Redirect the remaining writes of a file to memory.

    On a full disk HDF5 could not close the file, and would crash the process at exit.
    """
    # Open a file in memory, or a temporary one, and put it in the place of the open file.
    if hasattr(os, "memfd_create"):
        memory = os.memfd_create("diverted")
    else:
        with tempfile.TemporaryFile() as elsewhere:
            memory = os.dup(elsewhere.fileno())
    os.dup2(memory, file.id.get_vfd_handle())
    os.close(memory)


def to_dataset_name(column: str) -> str:
    """Return the HDF5 name of a label: percent-encoded, without slash or NUL, neither empty nor a dot."""
    plain = column.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")
    return f"%{column}" if column in ("", ".") else plain


def to_label_name(dataset: str) -> str:
    """Return the label of an HDF5 name; the inverse of :func:`to_dataset_name`."""
    plain = dataset.replace("%00", "\0").replace("%2F", "/").replace("%25", "%")
    return dataset[1:] if dataset in ("%", "%.") else plain


def write_attributes(file: h5py.File, attributes: Mapping[str, str], suffixes: Counter[str] | None = None) -> None:
    """Write the attributes with which a store describes itself.

    Args:
        file: open for writing.
        attributes: texts by name, such as ``source`` and ``licence``.
        suffixes: number of original files by suffix; None writes no ``original_suffixes``.
    """
    # The format and its conventions come first, then the facts of this store.
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["conventions"] = CONVENTIONS
    if suffixes is not None:
        file.attrs["original_suffixes"] = json.dumps(dict(suffixes.most_common()))
    for name, value in attributes.items():
        file.attrs[name] = value.encode(errors="backslashreplace").decode()  # a path may not be UTF-8


def stored_values(dataset: Any, index: Any = ()) -> np.ndarray[Any, np.dtype[Any]]:
    """Read values of an HDF5 data set that is stored in its own file.

    Args:
        dataset: the data set.
        index: the part to read; () reads everything, up to ``MAX_BYTES``.

    Raises:
        ValueError: it is no data set, refers to another file, or is too large to read at once. Errors of h5py pass
            through.
    """
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise ValueError("values are missing or are in another file")
    if index == () and dataset.nbytes > MAX_BYTES:
        raise ValueError(f"values have {dataset.nbytes:,} bytes, at most {MAX_BYTES:,} are read at once")
    return np.asarray(dataset[index])


def is_local(group: h5py.Group, name: str) -> bool:
    """Return whether a group has a data set of this name that is stored in the same file.

    A link or external storage could make a store read any file of the user.
    """
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return False
    values = group.get(name)
    return isinstance(values, h5py.Dataset) and not values.external and not values.is_virtual


def local_dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """Return a data set of a group.

    Raises:
        KeyError: it is missing or is in another file, see :func:`is_local`.
    """
    if not is_local(group, name):
        raise KeyError(f"/{name} is missing or is in another file")
    return group[name]
