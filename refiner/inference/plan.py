"""How large a job is, and how many processes it is worth."""

import contextlib
import itertools
from pathlib import Path

from refiner.core.environment import processor
from refiner.core.errors import ImageError, RefinerError
from refiner.data.formats.folder import list_files
from refiner.data.formats.registry import open_dataset
from refiner.data.store.reader import Store
from refiner.data.store.store_names import is_store_name
from refiner.images.io import is_image_file, read_image
from refiner.inference.backends.batching import Extent
from refiner.models.architecture import RefinerArchitecture

AUTO = "auto"

WORKER = 2 * 10**11
"""Multiplications that a process must have to do to make up for its start: a few seconds of a core."""

CARD_WORKERS = 4
"""Processes that share a card unless more are asked for: each takes half a gigabyte of it, and then its batches."""


def job_extent(source: Path) -> Extent:
    """That of a folder, a store or an image; what cannot be read is left to whoever reads it."""
    with contextlib.suppress(RefinerError, OSError):
        if is_store_name(source):
            store = open_dataset(source, format="store")
            assert isinstance(store, Store)
            return Extent(len(store.images), (store.kind.height, store.kind.width))
        if source.is_dir():
            return _folder_extent(source)
    return Extent()


def _folder_extent(source: Path) -> Extent:
    names = [name for name in list_files(source) if is_image_file(Path(name))]
    for name in itertools.islice(names, 10):
        with contextlib.suppress(ImageError):
            image = read_image(source / name)
            return Extent(len(names), (image.shape[0], image.shape[1]))
    return Extent()


def workers_for(extent: Extent, architecture: RefinerArchitecture, device: str) -> int:
    """Processes that pay for a job: one alone where there is little to do, at most one a core, few on a card."""
    most = int(processor()["cores"])
    worth = 1 + architecture.multiplications(extent.pixels) // WORKER
    return min(most if device == "cpu" else min(most, CARD_WORKERS), worth)
