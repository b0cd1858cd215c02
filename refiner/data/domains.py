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
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from refiner.core.errors import DataError, ImageError
from refiner.data.formats.registry import Dataset, open_dataset
from refiner.data.labels.regions import MASK, LabelRegion
from refiner.data.store.reader import Store
from refiner.images.arrays import MAX_SQUEEZE, highest_level, resize, to_grey
from refiner.images.io import Image

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
        gaze: (N, 2), pitch and yaw in radians, where it was asked for.
        mask: (N, 1, H, W), uint8, 255 where a place counts, where there is one.
    """

    images: "np.ndarray[Any, np.dtype[Any]] | StoredImages"
    rejected: dict[str, str] = field(default_factory=dict)
    stored_size: tuple[int, int] | None = None
    gaze: np.ndarray[Any, np.dtype[np.float32]] | None = None
    mask: np.ndarray[Any, np.dtype[np.uint8]] | None = None

    def digest(self) -> str:
        """SHA-256 of the images in their order, and of what lies beside them: by it a resumed run knows its data."""
        digest = hashlib.sha256(f"{self.images.shape} {self.images.dtype}".encode())
        for values in (self.gaze, self.mask):
            digest.update(b"" if values is None else values.tobytes())
        for start in range(0, len(self), _BLOCK):
            digest.update(self.images[np.arange(start, min(start + _BLOCK, len(self)))].tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> Tensor:
        """Images by number: (len(indices), C, H, W), float32, in [-1, 1]."""
        chosen = self.images[np.asarray(indices)]
        return torch.from_numpy(chosen.astype(np.float32) / np.float32(highest_level(chosen) / 2) - 1)

    def conditions(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> dict[str, Tensor]:
        """What lies beside images, by name: ``gaze`` (n, 2), ``mask`` (n, 1, H, W) in [0, 1]; float32."""
        numbers, found = np.asarray(indices), {}
        if self.gaze is not None:
            found["gaze"] = torch.from_numpy(self.gaze[numbers])
        if self.mask is not None:
            found["mask"] = torch.from_numpy(self.mask[numbers].astype(np.float32) / 255)
        return found


def load_domain(
    path: Path | None,
    *,
    key: str,
    size: tuple[int, int],
    channels: int,
    gaze: bool = False,
    mask: Path | None = None,
) -> ImageDomain:
    """Read a whole data set into memory, ready for training.

    Args:
        path: its folder.
        key: the configuration key it came from, for messages.
        size: (height, width) of the result; images of nearly the same aspect ratio are resized to it.
        channels: 1 takes the luma of colour images, 3 repeats grey ones.
        gaze: read that of every image; one without is left out.
        mask: what of each image counts: an image, or a folder of images of the same names; one without is left out.

    Raises:
        DataError: the folder is missing or holds nothing that can be used, or more than fits in memory.
    """
    if path is None:
        raise DataError(f"{key} is not set; name a folder of images with --set {key}=DIR")
    dataset = open_dataset(path, size=size)
    if isinstance(dataset, Store) and not gaze and mask is None:
        with contextlib.suppress(ImageError):  # a damaged image is left out below
            return _stored_domain(dataset, path, size, channels)
    elif len(dataset.ids) * channels * size[0] * size[1] > MAX_BYTES:
        remedy = (
            "take fewer, for labels and masks are read along with all of them"
            if gaze or mask is not None
            else "convert them into a store, which need not: refiner convert IN OUT.h5"
        )
        raise DataError(f"{path}: {len(dataset.ids):,} images do not fit in memory; {remedy}")
    rejected: dict[str, str] = {}
    read: list[_Read] = []
    region = None if mask is None else LabelRegion(mask=mask)
    with ThreadPoolExecutor() as pool:
        outcomes = pool.map(lambda sample: _read(dataset, sample, size, channels, gaze, region), dataset.ids)
        for sample, outcome in zip(dataset.ids, outcomes):
            if isinstance(outcome, ImageError):
                rejected[sample] = outcome.reason
            else:
                read.append(outcome)
    for sample, reason in list(rejected.items())[:5]:
        log.warning("%s: left out %s: %s", key, sample, reason)
    if not read:
        reason = next(iter(rejected.values()))
        raise DataError(f"{path}: none of {len(rejected)} images can be used; the first {reason}")
    height, width = np.median([one.stored for one in read], axis=0)
    return ImageDomain(
        np.stack(_one_depth([one.planes for one in read])),
        rejected,
        (int(height), int(width)),
        np.array([one.gaze for one in read], np.float32) if gaze else None,
        None if mask is None else np.stack([one.mask for one in read])[:, None],
    )


class _Read(NamedTuple):
    """One image as (C, H, W), the size it was stored at, and what lies beside it."""

    planes: Image
    stored: tuple[int, int]
    gaze: Any = None
    mask: Any = None


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
    dataset: Dataset, sample: str, size: tuple[int, int], channels: int, gaze: bool, region: LabelRegion | None
) -> _Read | ImageError:
    """One image, or why not."""
    try:
        record = dataset.read(sample) if gaze else None
        image = dataset.read_image(sample) if record is None else record.image
        stored = (image.shape[0], image.shape[1])
        if reason := _misfit(stored, size):
            raise ImageError(sample, reason)
        if record is not None and "gaze" not in record.labels:
            raise ImageError(sample, "has no label gaze, which the discriminator is told (discriminator.condition)")
        counts = None
        if region is not None:
            counts = np.rint(255 * region.watched(sample, {}, size)[MASK]).astype(np.uint8)
        return _Read(_planes(image, size, channels), stored, record and record.labels["gaze"], counts)
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
