"""Image domains of a training run: a data set as network inputs of one size, with gaze and masks if they are used.

Images are held in memory in their stored depth. Images of a store that is too large are read batch by batch.
"""

import contextlib
import copy
import hashlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from refiner.core.errors import DataError, ImageError, WrongInputError
from refiner.data.drift.regions import MASK, LabelRegion
from refiner.data.folders.selection import EVERYTHING, Selection
from refiner.data.formats.registry import Dataset, open_dataset, warn_of_left_out
from refiner.data.store.reader import Store
from refiner.images.arrays import MAX_SQUEEZE, highest_level, resize, to_grey
from refiner.images.io import Image

log = logging.getLogger(__name__)

MAX_BYTES = 2**32
"""Largest domain that is held in memory, in bytes."""

_BLOCK = 4096  # images read at a time when a whole domain is read


class StoredImages:
    """Images of a store that are read from disk on each access; it has the shape (N, C, H, W) of an array.

    Args:
        store: the store; it may be read by any thread.
        size: (height, width) to which images are resized.
        channels: 1 or 3.
    """

    def __init__(self, store: Store, size: tuple[int, int], channels: int) -> None:
        self._store, self._size, self._channels = store, size, channels
        self._numbers: Sequence[int] = range(len(store.images))
        self.dtype = store.images.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (len(self._numbers), self._channels, *self._size)

    def take(self, numbers: Sequence[int]) -> "StoredImages":
        """Return some of the images, in an order of their own."""
        taken = copy.copy(self)
        taken._numbers = [self._numbers[number] for number in numbers]
        return taken

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, numbers: np.ndarray[Any, Any]) -> Image:
        """Return images by number, (len(numbers), C, H, W), uint8 or uint16.

        Raises:
            ImageError: an image is damaged.
        """
        images = self._store.read_images(self._numbers[int(number)] for number in numbers)
        return np.stack([_channels_first(image, self._size, self._channels) for image in images])


@dataclass(frozen=True)
class ImageDomain:
    """Images of one domain, at one size.

    Attributes:
        images: (N, C, H, W), uint8 or uint16: an array, or a :class:`StoredImages`.
        rejected: reason by id for each image that could not be used.
        stored_size: median (height, width) of the images before they were resized.
        gaze: (N, 2), float32, pitch and yaw in radians; None if it is not used.
        mask: (N, 1, H, W), uint8, 255 for pixels that count in full; None if there is no mask.
        ids: of the images, in their order.
        partners: the other image of each pair, in the same order; None if images are not paired.
    """

    images: "np.ndarray[Any, np.dtype[Any]] | StoredImages"
    rejected: dict[str, str] = field(default_factory=dict)
    stored_size: tuple[int, int] | None = None
    gaze: np.ndarray[Any, np.dtype[np.float32]] | None = None
    mask: np.ndarray[Any, np.dtype[np.uint8]] | None = None
    ids: Sequence[str] = ()
    partners: "ImageDomain | None" = None

    def take(self, numbers: Sequence[int], rejected: Mapping[str, str]) -> "ImageDomain":
        """Return some of the images, in an order of their own, with the reasons for leaving out others."""
        return replace(
            self,
            images=self.images.take(numbers) if isinstance(self.images, StoredImages) else self.images[list(numbers)],
            rejected={**self.rejected, **rejected},
            gaze=None if self.gaze is None else self.gaze[list(numbers)],
            mask=None if self.mask is None else self.mask[list(numbers)],
            ids=[self.ids[number] for number in numbers],
        )

    def digest(self) -> str:
        """Return the SHA-256 of images, gaze and masks in order, by which a resumed run checks its data."""
        digest = hashlib.sha256(f"{self.images.shape} {self.images.dtype}".encode())
        for values in (self.gaze, self.mask):
            digest.update(b"" if values is None else values.tobytes())
        for start in range(0, len(self), _BLOCK):
            digest.update(self.images[np.arange(start, min(start + _BLOCK, len(self)))].tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> Tensor:
        """Return images by number: (len(indices), C, H, W), float32, in [-1, 1]."""
        chosen = self.images[np.asarray(indices)]
        return torch.from_numpy(chosen.astype(np.float32) / np.float32(highest_level(chosen) / 2) - 1)

    def conditions(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> dict[str, Tensor]:
        """Return the gaze, the mask and the partner of images, those of the three that are used.

        Returns:
            float32 tensors by name: ``gaze`` (len(indices), 2) in radians, ``mask`` (len(indices), 1, H, W) in [0, 1],
            ``partner`` (len(indices), C, H, W) in [-1, 1].
        """
        numbers, conditions = np.asarray(indices), {}
        if self.gaze is not None:
            conditions["gaze"] = torch.from_numpy(self.gaze[numbers])
        if self.mask is not None:
            conditions["mask"] = torch.from_numpy(self.mask[numbers].astype(np.float32) / 255)
        if self.partners is not None:
            conditions["partner"] = self.partners.batch(numbers)
        return conditions


def load_domain(
    path: Path | None,
    *,
    key: str,
    size: tuple[int, int],
    channels: int,
    gaze: bool = False,
    mask: Path | None = None,
    selection: Selection = EVERYTHING,
) -> ImageDomain:
    """Read a data set for training, into memory unless it is a large store.

    Args:
        path: folder or file of the data set.
        key: configuration key of the path, for messages.
        size: (height, width) of the result; images of nearly the same aspect ratio are resized to it.
        channels: 1 takes the luma of colour images, 3 repeats grey ones.
        gaze: read the gaze of every image; images without gaze are left out.
        mask: an image whose bright pixels count, or a folder with a mask for each image, of the same name; images
            without a mask are left out. None uses all pixels.
        selection: the files to use, if the data set is a folder.

    Raises:
        DataError: the path is not set or missing, no image can be used, or the images do not fit in memory.
    """
    if path is None:
        raise WrongInputError(f"{key} is not set; name a folder of images with --set {key}=DIR")
    # Take the fast path of a store. If an image is damaged, fall through and leave out that image.
    dataset = open_dataset(path, size=size, selection=selection if path.is_dir() else EVERYTHING, masks=mask)
    warn_of_left_out(dataset)
    if isinstance(dataset, Store) and not gaze and mask is None:
        with contextlib.suppress(ImageError):
            return _stored_domain(dataset, path, size, channels)
    elif len(dataset.ids) * channels * size[0] * size[1] > MAX_BYTES:
        remedy = (
            "use fewer images, since labels and masks are read for all of them"
            if gaze or mask is not None
            else "convert them into a store, which is read batch by batch: refiner convert IN OUT.h5"
        )
        raise DataError(f"the {len(dataset.ids):,} images of {path} do not fit in memory; {remedy}")
    region = None if mask is None else LabelRegion(mask=mask)
    if region is not None:
        region.check_masks(path, dataset.ids)
    read, rejected = _read_images(dataset, lambda sample: _load(dataset, sample, size, channels, gaze, region))
    # Report rejected images, and stop if none is left.
    for sample, reason in list(rejected.items())[:5]:
        log.warning("%s: %s is left out: %s", key, sample, reason)
    if not read:
        reason = next(iter(rejected.values()))
        raise DataError(f"none of the {len(rejected)} images of {path} can be used; reason of the first: {reason}")
    # The size of the domain is that of a typical stored image.
    loaded = list(read.values())
    height, width = np.median([one.stored_size for one in loaded], axis=0)
    return ImageDomain(
        np.stack(_one_depth([one.pixels for one in loaded])),
        rejected,
        (int(height), int(width)),
        np.array([one.gaze for one in loaded], np.float32) if gaze else None,
        None if mask is None else np.stack([one.mask for one in loaded])[:, None],
        list(read),
    )


def _read_images(
    dataset: Dataset, load: "Callable[[str], _LoadedImage | ImageError]"
) -> "tuple[dict[str, _LoadedImage], dict[str, str]]":
    """Read all images of a data set in threads; return those of use, and the reason for each of the others, by id."""
    read: dict[str, _LoadedImage] = {}
    rejected: dict[str, str] = {}
    with ThreadPoolExecutor() as pool:
        for sample, outcome in zip(dataset.ids, pool.map(load, dataset.ids)):
            if isinstance(outcome, ImageError):
                rejected[sample] = outcome.reason
            else:
                read[sample] = outcome
    return read, rejected


class _LoadedImage(NamedTuple):
    """One image as (C, H, W), its stored size, its gaze (2,) and its mask (H, W), uint8."""

    pixels: Image
    stored_size: tuple[int, int]
    gaze: Any = None
    mask: Any = None


def _stored_domain(store: Store, path: Path, size: tuple[int, int], channels: int) -> ImageDomain:
    """The images of a store, in memory if they fit."""
    stored_size = (store.kind.height, store.kind.width)
    if reason := _misfit(stored_size, size):
        raise DataError(f"every image of {path} {reason}")
    images = StoredImages(store, size, channels)
    # Leave a large store on the disk, and load a small one block by block.
    if math.prod(images.shape) * images.dtype.itemsize > MAX_BYTES:
        return ImageDomain(images, {}, stored_size, ids=store.ids)
    loaded = np.empty(images.shape, images.dtype)
    for start in range(0, len(images), _BLOCK):
        numbers = np.arange(start, min(start + _BLOCK, len(images)))
        loaded[numbers] = images[numbers]
    return ImageDomain(loaded, {}, stored_size, ids=store.ids)


def _load(
    dataset: Dataset, sample: str, size: tuple[int, int], channels: int, gaze: bool, region: LabelRegion | None
) -> _LoadedImage | ImageError:
    """Read one image; return the error if it cannot be used."""
    # Read the pixels, with the labels only if they are needed.
    try:
        record = dataset.read(sample) if gaze else None
        image = dataset.read_image(sample) if record is None else record.image
        stored_size = (image.shape[0], image.shape[1])
        if reason := _misfit(stored_size, size):
            raise ImageError(sample, reason)
        if record is not None and "gaze" not in record.labels:
            raise ImageError(sample, "has no label gaze, which discriminator.condition: gaze needs")
        # Read the mask at the training size; it is kept in 8 bits.
        mask = None
        if region is not None:
            mask = np.rint(255 * region.watched(sample, {}, size)[MASK]).astype(np.uint8)
        return _LoadedImage(_channels_first(image, size, channels), stored_size, record and record.labels["gaze"], mask)
    except ImageError as error:
        return error


def _misfit(stored_size: tuple[int, int], size: tuple[int, int]) -> str | None:
    """The reason why images of one size cannot be resized to another; None if they can."""
    if abs(np.log(stored_size[0] * size[1] / (stored_size[1] * size[0]))) > MAX_SQUEEZE:
        return "is {}x{}, too far from the shape of {}x{}; crop it, or change size".format(*stored_size, *size)
    return None


def _channels_first(image: Image, size: tuple[int, int], channels: int) -> Image:
    """The image as (C, H, W) at a size: luma for one channel, grey repeated for three."""
    image = resize(image, size)
    if channels == 1:
        return to_grey(image)[None]
    colour = image[..., :3] if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    return np.ascontiguousarray(colour.transpose(2, 0, 1))


def _one_depth(images: Sequence[Image]) -> Sequence[Image]:
    """The images in one depth: 16 bits if any has 16."""
    if len({image.dtype for image in images}) == 1:
        return images
    return [image if image.dtype == np.uint16 else image.astype(np.uint16) * 257 for image in images]
