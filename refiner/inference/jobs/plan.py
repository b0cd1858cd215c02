"""The extent of a job, and the number of worker processes for it."""

import contextlib
import itertools
from pathlib import Path

from refiner.core.environment import processor
from refiner.core.errors import ImageError, RefinerError
from refiner.data.folders.listing import list_files
from refiner.data.formats.registry import open_dataset
from refiner.data.store.reader import Store
from refiner.data.store.store_names import is_store_name
from refiner.images.io import is_image_file, read_image
from refiner.inference.backends.batching import Extent
from refiner.inference.refiner import is_deep
from refiner.models.architecture import Architecture

WORKER_MULTIPLICATIONS = 2 * 10**11
"""Multiplications, a few seconds of a core, that make up for the start of one more worker process."""

MAX_GPU_WORKERS = 4
"""Largest default number of worker processes on a GPU; each takes half a gigabyte of its memory, and its batches."""


def job_extent(source: Path) -> Extent:
    """Return the number and size of the images of a folder or a store.

    The extent is empty for a single image, and for a source that cannot be read; the job itself reports the error.
    """
    with contextlib.suppress(RefinerError, OSError):
        if is_store_name(source):
            store = open_dataset(source, format="store")
            assert isinstance(store, Store)
            return Extent(len(store.images), (store.kind.height, store.kind.width), store.kind.bits == 16)
        if source.is_dir():
            return _folder_extent(source)
    return Extent()


def _folder_extent(source: Path) -> Extent:
    """Count the images of a folder; the first readable one among ten gives size and depth."""
    names = [name for name in list_files(source) if is_image_file(Path(name))]
    for name in itertools.islice(names, 10):
        with contextlib.suppress(ImageError):
            image = read_image(source / name)
            return Extent(len(names), (image.shape[0], image.shape[1]), is_deep(image))
    return Extent()


def workers_for(extent: Extent, architecture: Architecture, device: str) -> int:
    """Return the number of worker processes for a job.

    Small jobs get one process, large ones up to one for each core, or :data:`MAX_GPU_WORKERS` on a GPU.

    Args:
        extent: number and size of the images.
        architecture: architecture of the refiner.
        device: ``cpu`` or ``cuda``.
    """
    cores = int(processor()["cores"])
    worthwhile = 1 + architecture.multiplications(extent.pixels) // WORKER_MULTIPLICATIONS
    return min(cores if device == "cpu" else min(cores, MAX_GPU_WORKERS), worthwhile)
