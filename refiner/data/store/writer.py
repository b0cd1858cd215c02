"""Writer of stores: images, joined files of images, and columns; :mod:`refiner.data.store.hdf5` has the layout."""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from refiner.core.errors import DataError, OutputError
from refiner.core.files import atomic_path
from refiner.data.store.columns import Column
from refiner.data.store.hdf5 import ImageKind, hdf5_errors, new_file, open_hdf5, to_dataset_name
from refiner.images.io import Image

_ROWS = 4096  # label rows in memory at a time
_TEXTS = 256  # the same for rows of text, of which each may hold the outlines of many objects
_CHARACTERS = 2**24  # of label rows in memory at a time
_BUFFER = 2**23  # bytes of images in memory before they are written
_CHUNK_BYTES = 2**18  # largest HDF5 chunk of a label


def create_images(file: h5py.File, kind: ImageKind, count: int | None) -> h5py.Dataset:
    """Create the data set ``/images``, (count, H, W, C).

    Args:
        file: open for writing.
        kind: size, channels and depth of the images.
        count: number of images; None creates an empty data set that can grow.
    """
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
    """Context manager that writes images of one kind to a new HDF5 file.

    The file gets its name when the block ends without an error. Without any image no file is written.

    Args:
        path: the file.

    Attributes:
        kind: kind of the first image; None before it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = contextlib.ExitStack()
        self._file: h5py.File | None = None
        self._waiting: list[Image] = []
        self.kind: ImageKind | None = None

    def append(self, image: Image) -> None:
        """Write one image, (H, W) or (H, W, C), of the same kind as the first one.

        Raises:
            OutputError: the file cannot be written.
        """
        # Create the file with the first image, which decides the kind.
        if self._file is None:
            self.kind = ImageKind.of(image)
            temporary = self._stack.enter_context(atomic_path(self._path))
            with hdf5_errors(self._path):
                self._file = self._stack.enter_context(new_file(temporary))
                self._images = create_images(self._file, self.kind, None)
        # Write several small images together, which is faster.
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
    file: h5py.File, kind: ImageKind, count: int, paths: Iterable[Path], chosen: Sequence[bool] | None = None
) -> None:
    """Write ``/images`` from several files by copying compressed images, without decoding them.

    Args:
        file: the store, open for writing.
        kind: kind of all images.
        count: number of images to write.
        paths: files from :class:`ImageWriter`, in order.
        chosen: for each image of the files, whether it is written; None writes all.

    Raises:
        OutputError: a file is damaged, or the files do not hold ``count`` images.
    """
    images = create_images(file, kind, count)
    end = 0
    # Append each chosen image; the numbers run through all files.
    for number, (data, mask) in enumerate(stored for path in paths for stored in _compressed_images(path)):
        if chosen is not None and not (number < len(chosen) and chosen[number]):
            continue
        if end < count:
            images.id.write_direct_chunk((end, 0, 0, 0), data, mask)
        end += 1
    if end != count:
        raise OutputError(f"{file.filename} has {end} images for {count} labels; delete its folder and run again")


def _compressed_images(path: Path) -> Iterator[tuple[bytes, int]]:
    """The images of a file as they are stored, each with its filter mask."""
    try:
        with open_hdf5(path) as source:
            images = source["images"].id
            for number in range(images.shape[0]):
                mask, data = images.read_direct_chunk((number, 0, 0, 0))
                yield data, mask
    except DataError as error:
        raise OutputError(f"{str(error).partition('; ')[0]}; delete its folder and run again") from error
    except (OSError, RuntimeError, KeyError) as error:
        raise OutputError(f"{path} is damaged ({error}); delete its folder and run again") from error


def copy_store(source: h5py.File, file: h5py.File, chosen: Any = None) -> None:
    """Copy everything except the images from one store to another: ids, subjects, labels, attributes and the rest.

    Args:
        source: the store to read.
        file: the new store, open for writing.
        chosen: (N,), bool, the images whose ids, subjects and labels are copied; None copies all.
    """
    # Links are not copied: they could lead to any file of the user.
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
    """Copy the chosen rows of a data set that has a row for each image; copy anything else whole."""
    if not isinstance(values, h5py.Dataset) or values.shape[:1] != chosen.shape:
        into.copy(values, name)
        return
    # Copy block by block, which bounds the memory.
    shape = (int(chosen.sum()), *values.shape[1:])
    options = {"compression": values.compression, "compression_opts": values.compression_opts}
    rows = into.create_dataset(name, shape, values.dtype, shuffle=values.shuffle, **options)
    rows.attrs.update(values.attrs)
    end = 0
    step = _TEXTS if values.dtype.hasobject else _ROWS
    for start in range(0, len(chosen), step):
        block = values[start : start + step][chosen[start : start + step]]
        rows[end : end + len(block)] = block
        end += len(block)


def write_numbers(file: h5py.File, label: str, values: Any) -> None:
    """Write a label of one number for each image; an existing label of that name is replaced.

    Nothing is written if ``/labels`` exists and is not a group.

    Args:
        file: open for writing.
        label: name of the label.
        values: (N,), float.
    """
    # A file of another program may have something else under this name.
    if "labels" in file and not isinstance(file["labels"], h5py.Group):
        return
    group = file.require_group("labels")
    if label in group:
        del group[label]
    group.create_dataset(label, data=values).attrs["cells"] = "float"


def write_texts(file: h5py.File, label: str, texts: Iterator[str], count: int) -> None:
    """Write a label of text for each image, some thousand at a time; an existing label of that name is replaced.

    Nothing is written if ``/labels`` exists and is not a group.

    Args:
        file: open for writing.
        label: name of the label.
        texts: the texts, in the order of the images.
        count: their number.
    """
    if "labels" in file and not isinstance(file["labels"], h5py.Group):
        return
    group = file.require_group("labels")
    if label in group:
        del group[label]
    values = group.create_dataset(label, (count,), h5py.string_dtype())
    values.attrs["cells"] = "text"
    for start in range(0, count, _ROWS):
        block = [text.encode(errors="surrogateescape") for text in islice(texts, _ROWS)]
        values[start : start + len(block)] = block


def write_columns(file: h5py.File, rows: Iterator[tuple[str, Mapping[str, str]]], columns: Sequence[Column]) -> None:
    """Write ``/ids``, ``/subjects`` and ``/labels``, some thousand rows at a time.

    Args:
        file: open for writing, with ``/images``.
        rows: (id, cells) of every image, in the order of the images.
        columns: from :func:`refiner.data.store.columns.find_columns` over the same rows.
    """
    # Create empty data sets.
    count = len(file["images"])
    ids = file.create_dataset("ids", (count,), h5py.string_dtype())
    file.create_group("labels", track_order=True)
    sets = [_create_column(file, column, count) for column in columns]
    # Fill them block by block.
    start = 0
    for block in _blocks(rows):
        ids[start : start + len(block)] = [name.encode(errors="surrogateescape") for name, _ in block]
        for column, values in zip(columns, sets, strict=True):
            values[start : start + len(block)] = column.values([cells for _, cells in block])
        start += len(block)


def _blocks(rows: Iterator[tuple[str, Mapping[str, str]]]) -> Iterator[list[tuple[str, Mapping[str, str]]]]:
    """Yield some rows at a time, few of them if they are long."""
    block, characters = [], 0
    for row in rows:
        block.append(row)
        characters += sum(map(len, row[1].values()))
        if len(block) == _ROWS or characters > _CHARACTERS:
            yield block
            block, characters = [], 0
    if block:
        yield block


def _create_column(file: h5py.File, column: Column, count: int) -> h5py.Dataset:
    name = "subjects" if column.name == "subject" else f"labels/{to_dataset_name(column.name)}"
    value_bytes = 8 * math.prod(column.shape)
    chunk = (max(1, min(count, 1024, _CHUNK_BYTES // value_bytes)), *column.shape)
    options = {} if column.is_text else {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    values = file.create_dataset(name, (count, *column.shape), column.dtype, chunks=chunk, **options)
    values.attrs["cells"] = column.cells
    return values
