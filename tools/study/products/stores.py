"""Stores of a study's products: new ones, and copies of a store with other pixels or shuffled gaze."""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np

from refiner.core.errors import DataError
from refiner.core.files import atomic_path
from refiner.data.formats.registry import open_dataset
from refiner.data.labels.records import Record, to_cells
from refiner.data.store.columns import find_columns
from refiner.data.store.hdf5 import ImageKind, new_file, write_attributes
from refiner.data.store.reader import Store
from refiner.data.store.writer import copy_store, create_images, write_columns
from refiner.gaze.data import Patches

IMAGES_FILE = "images.h5"
"""Name of the store in the folder of a product."""


def open_images(folder: Path) -> Store:
    """Open the store of a product."""
    store = open_dataset(folder / IMAGES_FILE, format="store")
    assert isinstance(store, Store)
    return store


def read_pixels(folder: Path) -> Patches:
    """Read all images of a product's store, (N, 1, H, W)."""
    pixels: Patches = open_images(folder).images[:].transpose(0, 3, 1, 2)
    return pixels


def write_store(folder: Path, records: Sequence[Record], *, source: str) -> None:
    """Write images of one kind, with their labels.

    Args:
        folder: folder of the product.
        records: images with any labels.
        source: origin of the images, for the attributes.
    """
    kind = ImageKind.of(records[0].image)
    rows = [(record.id, to_cells(record.labels)) for record in records]
    with atomic_path(folder / IMAGES_FILE) as temporary, new_file(temporary) as file:
        pixels = np.stack([record.image for record in records])
        create_images(file, kind, len(records))[:] = pixels.reshape(-1, kind.height, kind.width, kind.channels)
        write_columns(file, iter(rows), find_columns(cells for _, cells in rows))
        suffixes = Counter(PurePosixPath(record.id).suffix for record in records)
        write_attributes(file, {"source": source, "licence": "that of the source"}, suffixes)


def write_changed(folder: Path, source: Path, pixels: Patches) -> None:
    """Copy the store of ``source`` with new pixels, (N, 1, H, W); everything else is kept."""
    store = open_images(source)
    if pixels.shape[0] != len(store.images):
        raise DataError(f"{source} holds {len(store.images)} images, but {len(pixels)} were adapted")
    with atomic_path(folder / IMAGES_FILE) as temporary, new_file(temporary) as file:
        copy_store(store.file, file)
        create_images(file, store.kind, len(pixels))[:] = pixels.transpose(0, 2, 3, 1)


def write_permuted(folder: Path, source: Path, rng: np.random.Generator) -> None:
    """Copy the store of ``source`` with its gaze shuffled over the images."""
    with atomic_path(folder / IMAGES_FILE) as temporary:
        shutil.copyfile(source / IMAGES_FILE, temporary)
        with h5py.File(temporary, "r+") as file:
            gaze = file["labels"]["gaze"]
            gaze[:] = gaze[:][rng.permutation(len(gaze))]


def read_label(folder: Path, name: str) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Read a label of all images of a product's store; None if they have no such label."""
    labels = open_images(folder).file["labels"]
    return np.asarray(labels[name][:], np.float64) if name in labels else None
