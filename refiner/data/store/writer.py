"""The store: one HDF5 file of images of one size and depth, with their labels.

====================  =============================================================================================
``/images``           (N, H, W, C), uint8 or uint16, one image a chunk, LZF and a checksum
``/ids``              (N,), text: path relative to the root of the data set it came from, with suffix
``/subjects``         (N,), text, where subjects are known
``/labels/<name>``    gaze, head_pose (N, 2) radians; pupil (N, 2) pixels; outlines (N, K, 2) pixels; mirrored (N,);
                      further columns as integers, floats or text. What an image lacks is NaN, or empty text.
attributes            ``format``, ``format_version``, ``conventions``, ``source``, ``licence``, ``command``, ...
====================  =============================================================================================

One image a chunk is the layout that shuffled reading wants: a batch costs its own images and no neighbours, and
stores are joined by copying chunks without decoding them. docs/store.md has the measurements.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from refiner.core.errors import OutputError
from refiner.core.files import atomic_path
from refiner.data.store.columns import Column
from refiner.data.store.hdf5 import ImageKind, hdf5_errors, new_file, to_dataset_name
from refiner.images.io import Image

_ROWS = 4096  # label rows held at a time
_BUFFER = 2**23  # bytes of images held before they are written
_CHUNK_BYTES = 2**18  # of labels


def create_images(file: h5py.File, kind: ImageKind, count: int | None) -> h5py.Dataset:
    """The data set ``/images`` for ``count`` images, or for any number, to be appended to, when None."""
    shape = (kind.height, kind.width, kind.channels)
    return file.create_dataset(
        "images",
        (count or 0, *shape),
        kind.dtype,
        maxshape=(count, *shape),
        chunks=(1, *shape),
        compression="lzf",
        fletcher32=True,  # LZF notices no damage by itself
    )


class ImageWriter:
    """Writes images of one kind to a new file, which is there when the block ends without an error.

    Args:
        path: the file; no image, no file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = contextlib.ExitStack()
        self._file: h5py.File | None = None
        self._waiting: list[Image] = []
        self.kind: ImageKind | None = None

    def append(self, image: Image) -> None:
        """Write one image, (H, W) or (H, W, C), of the kind of the first.

        Raises:
            OutputError: the disk refuses.
        """
        if self._file is None:
            self.kind = ImageKind.of(image)
            temporary = self._stack.enter_context(atomic_path(self._path))
            with hdf5_errors(self._path):
                self._file = self._stack.enter_context(new_file(temporary))
                self._images = create_images(self._file, self.kind, None)
        self._waiting.append(image if image.ndim == 3 else image[..., None])
        if len(self._waiting) * image.nbytes > _BUFFER:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            start = len(self._images)
            with hdf5_errors(self._path):
                self._images.resize(start + len(self._waiting), axis=0)
                self._images[start:] = np.stack(self._waiting)
            self._waiting.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        with hdf5_errors(self._path):
            if exception[0] is not None:
                self._stack.__exit__(*exception)
                return
            with self._stack:
                self._flush()


def join_images(
    file: h5py.File, kind: ImageKind, count: int, parts: Iterable[Path], chosen: Sequence[bool] | None = None
) -> None:
    """Write ``/images`` from files that hold some each, chunk by chunk, without decoding.

    Args:
        file: that is written.
        kind, count: of all images that are written.
        parts: the files.
        chosen: whether each image is written; None writes all.

    Raises:
        OutputError: a part is damaged, or they do not hold ``count`` images.
    """
    images = create_images(file, kind, count)
    end = 0
    for number, (data, mask) in enumerate(chunk for part in parts for chunk in _chunks(part)):
        if chosen is not None and not (number < len(chosen) and chosen[number]):
            continue
        if end < count:
            images.id.write_direct_chunk((end, 0, 0, 0), data, mask)
        end += 1
    if end != count:
        raise OutputError(f"{file.filename}: {end} images for {count} labels; delete its folder and run again")


def _chunks(part: Path) -> Iterator[tuple[bytes, int]]:
    """The images of a part as they are stored, and their filter masks."""
    try:
        with h5py.File(part, "r") as source:
            chunks = source["images"].id
            for number in range(chunks.shape[0]):
                mask, data = chunks.read_direct_chunk((number, 0, 0, 0))
                yield data, mask
    except (OSError, RuntimeError, KeyError) as error:
        raise OutputError(f"{part}: is damaged ({error}); delete its folder and run again") from error


def copy_store(source: h5py.File, file: h5py.File, chosen: Any = None) -> None:
    """Carry over everything but the images: ids, labels, what else lies in the file, and the attributes.

    Args:
        source, file: a store, and the new one.
        chosen: (N,), bool, the images whose ids, subjects and labels are carried over; None takes all.
    """
    for name in source:
        if name != "images" and isinstance(source.get(name, getlink=True), h5py.HardLink):
            if chosen is None or name not in ("ids", "subjects", "labels"):
                source.copy(name, file)
            elif isinstance(source[name], h5py.Group):
                group = file.create_group(name, track_order=True)
                for label in source[name]:
                    if isinstance(source[name].get(label, getlink=True), h5py.HardLink):
                        _copy_rows(source[name][label], group, label, chosen)
            else:
                _copy_rows(source[name], file, name, chosen)
    file.attrs.update(source.attrs)


def _copy_rows(values: Any, into: Any, name: str, chosen: Any) -> None:
    """Some rows of a data set with one for each image; anything else is copied whole."""
    if not isinstance(values, h5py.Dataset) or values.shape[:1] != chosen.shape:
        into.copy(values, name)
        return
    shape = (int(chosen.sum()), *values.shape[1:])
    options = {"compression": values.compression, "compression_opts": values.compression_opts}
    rows = into.create_dataset(name, shape, values.dtype, shuffle=values.shuffle, **options)
    rows.attrs.update(values.attrs)
    end = 0
    for start in range(0, len(chosen), _ROWS):
        block = values[start : start + _ROWS][chosen[start : start + _ROWS]]
        rows[end : end + len(block)] = block
        end += len(block)


def write_numbers(file: h5py.File, label: str, values: Any) -> None:
    """A label of one number for each image, (N,), in place of one of that name; none where /labels is no group."""
    if "labels" in file and not isinstance(file["labels"], h5py.Group):
        return
    group = file.require_group("labels")
    if label in group:
        del group[label]
    group.create_dataset(label, data=values).attrs["cells"] = "float"


def write_columns(file: h5py.File, rows: Iterator[tuple[str, Mapping[str, str]]], columns: Sequence[Column]) -> None:
    """Write ``/ids``, ``/subjects`` and ``/labels`` from (id, cells) rows, some thousands at a time.

    Args:
        file: has ``/images`` already.
        rows: as many as there are images, in their order.
        columns: from :func:`refiner.data.store.columns.find_columns` over the same rows.
    """
    count = len(file["images"])
    ids = file.create_dataset("ids", (count,), h5py.string_dtype())
    file.create_group("labels", track_order=True)
    sets = [_create_column(file, column, count) for column in columns]
    start = 0
    while block := list(islice(rows, _ROWS)):
        ids[start : start + len(block)] = [name.encode(errors="surrogateescape") for name, _ in block]
        for column, values in zip(columns, sets, strict=True):
            values[start : start + len(block)] = column.values([cells for _, cells in block])
        start += len(block)


def _create_column(file: h5py.File, column: Column, count: int) -> h5py.Dataset:
    name = "subjects" if column.name == "subject" else f"labels/{to_dataset_name(column.name)}"
    value_bytes = 8 * math.prod(column.shape)
    chunk = (max(1, min(count, 1024, _CHUNK_BYTES // value_bytes)), *column.shape)
    options = {} if column.is_text else {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    values = file.create_dataset(name, (count, *column.shape), column.dtype, chunks=chunk, **options)
    values.attrs["cells"] = column.cells
    return values
