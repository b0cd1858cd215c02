"""The two domains of a training run, drawn in an order that depends on (seed, step) alone.

Images are held in memory as they are stored; those of a store that is too large for that are read batch by batch.
"""

import contextlib
import hashlib
import logging
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refiner.errors import DataError, ImageError
from refiner.formats import Dataset, open_dataset
from refiner.formats.store import Store
from refiner.image_files import Image
from refiner.images import MAX_SQUEEZE, highest_level, resize, to_grey
from refiner.randomness import numpy_generator

log = logging.getLogger(__name__)

MAX_BYTES = 2**32
"""Largest domain that is held in memory."""

_BLOCK = 4096  # images read at a time when all are wanted


class StoredImages:
    """The images of a store, read when they are asked for; (N, C, H, W) as far as anyone can see.

    Args:
        store: read from any thread.
        size: (height, width) they are resized to.
        channels: they are brought to, 1 or 3.
    """

    def __init__(self, store: Store, size: tuple[int, int], channels: int) -> None:
        self._store, self._size, self._channels = store, size, channels
        self.shape = (len(store.images), channels, *size)
        self.dtype = store.images.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, numbers: np.ndarray[Any, Any]) -> Image:
        """Images by number, (len(numbers), C, H, W).

        Raises:
            ImageError: one of them is damaged.
        """
        images = self._store.read_images(int(number) for number in numbers)
        return np.stack([_planes(image, self._size, self._channels) for image in images])


@dataclass(frozen=True)
class ImageDomain:
    """Images of one domain, at one size.

    Attributes:
        images: (N, C, H, W), uint8 or uint16: an array, or something that reads what an array of numbers asks for.
        rejected: id and reason of each image that could not be used.
        stored_size: median (height, width) of the files, before they were resized.
    """

    images: "np.ndarray[Any, np.dtype[Any]] | StoredImages"
    rejected: dict[str, str] = field(default_factory=dict)
    stored_size: tuple[int, int] | None = None

    def digest(self) -> str:
        """SHA-256 of the images in their order: by it a resumed run knows its data."""
        digest = hashlib.sha256(f"{self.images.shape} {self.images.dtype}".encode())
        for start in range(0, len(self), _BLOCK):
            digest.update(self.images[np.arange(start, min(start + _BLOCK, len(self)))].tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> Tensor:
        """Images by number: (len(indices), C, H, W), float32, in [-1, 1]."""
        chosen = self.images[np.asarray(indices)]
        return torch.from_numpy(chosen.astype(np.float32) / np.float32(highest_level(chosen) / 2) - 1)


def load_domain(path: Path | None, *, key: str, size: tuple[int, int], channels: int) -> ImageDomain:
    """Read a whole data set into memory, ready for training.

    Args:
        path: its folder.
        key: the configuration key it came from, for messages.
        size: (height, width) of the result; images of nearly the same aspect ratio are resized to it.
        channels: 1 takes the luma of colour images, 3 repeats grey ones.

    Raises:
        DataError: the folder is missing or holds nothing that can be used, or more than fits in memory.
    """
    if path is None:
        raise DataError(f"{key} is not set; name a folder of images with --set {key}=DIR")
    dataset = open_dataset(path, size=size)
    if isinstance(dataset, Store):
        with contextlib.suppress(ImageError):  # a damaged image is left out below
            return _stored_domain(dataset, path, size, channels)
    elif len(dataset.ids) * channels * size[0] * size[1] > MAX_BYTES:
        raise DataError(
            f"{path}: {len(dataset.ids):,} images do not fit in memory; convert them into a store, which need not: "
            "refiner convert IN OUT.h5"
        )
    rejected: dict[str, str] = {}
    images: list[Image] = []
    sizes: list[tuple[int, int]] = []
    with ThreadPoolExecutor() as pool:
        for sample, outcome in zip(dataset.ids, pool.map(lambda s: _read(dataset, s, size, channels), dataset.ids)):
            if isinstance(outcome, ImageError):
                rejected[sample] = outcome.reason
            else:
                images.append(outcome[0])
                sizes.append(outcome[1])
    for sample, reason in list(rejected.items())[:5]:
        log.warning("%s: left out %s: %s", key, sample, reason)
    if not images:
        reason = next(iter(rejected.values()))
        raise DataError(f"{path}: none of {len(rejected)} images can be used; the first {reason}")
    height, width = np.median(sizes, axis=0)
    return ImageDomain(np.stack(_one_depth(images)), rejected, (int(height), int(width)))


def _stored_domain(store: Store, path: Path, size: tuple[int, int], channels: int) -> ImageDomain:
    """The images of a store, in memory when they fit."""
    stored = (store.kind.height, store.kind.width)
    if reason := _misfit(stored, size):
        raise DataError(f"{path}: every image {reason}")
    images = StoredImages(store, size, channels)
    if math.prod(images.shape) * images.dtype.itemsize > MAX_BYTES:
        return ImageDomain(images, {}, stored)
    loaded = np.empty(images.shape, images.dtype)
    for start in range(0, len(images), _BLOCK):
        numbers = np.arange(start, min(start + _BLOCK, len(images)))
        loaded[numbers] = images[numbers]
    return ImageDomain(loaded, {}, stored)


def _read(
    dataset: Dataset, sample: str, size: tuple[int, int], channels: int
) -> tuple[Image, tuple[int, int]] | ImageError:
    """One image as (C, H, W) and the size it was stored at, or why not."""
    try:
        image = dataset.read_image(sample)
        stored = (image.shape[0], image.shape[1])
        if reason := _misfit(stored, size):
            raise ImageError(sample, reason)
        return _planes(image, size, channels), stored
    except ImageError as error:
        return error


def _misfit(stored: tuple[int, int], size: tuple[int, int]) -> str | None:
    """Why images of one size cannot be resized to another."""
    if abs(np.log(stored[0] * size[1] / (stored[1] * size[0]))) > MAX_SQUEEZE:
        return "is {}x{}, too far from the shape of {}x{}; crop it, or change size".format(*stored, *size)
    return None


def _planes(image: Image, size: tuple[int, int], channels: int) -> Image:
    """(C, H, W) at a size: luma for one channel, grey repeated for three."""
    image = resize(image, size)
    if channels == 1:
        return to_grey(image)[None]
    colour = image[..., :3] if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    return np.ascontiguousarray(colour.transpose(2, 0, 1))


def _one_depth(images: Sequence[Image]) -> Sequence[Image]:
    """All 8-bit, or all 16-bit where any is."""
    if len({image.dtype for image in images}) == 1:
        return images
    return [image if image.dtype == np.uint16 else image.astype(np.uint16) * 257 for image in images]


class Sampler:
    """Endless shuffled batches of indices; every image once per epoch, whatever the batch size.

    Args:
        count: number of images.
        batch_size: indices in a batch; may exceed ``count``.
        seed, purpose: what the order follows from, together with the epoch.
    """

    def __init__(self, count: int, batch_size: int, *, seed: int, purpose: str) -> None:
        self.count, self.batch_size, self.seed, self.purpose = count, batch_size, seed, purpose
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def batch(self, position: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The indices of batch number ``position``, counted from 0; any order of calls gives the same."""
        start = position * self.batch_size
        parts, end = [], start + self.batch_size
        while start < end:
            epoch, offset = divmod(start, self.count)
            part = self._permutation(epoch)[offset : offset + end - start]
            parts.append(part)
            start += len(part)
        return np.concatenate(parts)

    def _permutation(self, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        if epoch != self._epoch:
            self._order = numpy_generator(self.seed, self.purpose, epoch).permutation(self.count)
            self._epoch = epoch
        return self._order
