"""Pictures for a page: the images of an evaluation in colour, as data URIs, and the changes that a refiner made."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from torch import Tensor

from refiner.data.drift.table import LabelDrift
from refiner.data.formats.registry import Dataset, open_dataset
from refiner.data.labels.records import Record
from refiner.evaluation.evaluate import Evaluation
from refiner.images.arrays import highest_level, resize, to_grey, to_uint8
from refiner.images.io import Image
from refiner.inference.refiner import Refiner
from refiner.report.overlays import NO_OVERLAY, Overlay

FULL_CHANGE = 64
"""Change that is shown in full colour, in levels from 0 to 255."""

EXACT_PIXELS = 128 * 128
"""Number of pixels up to which a picture on a page is exact. Larger ones are compressed, to keep the page small."""

MAX_SIDE = 480
"""Longer side to which larger pictures are reduced, in pixels."""

_QUALITY = 90

Picture = np.ndarray[Any, np.dtype[np.uint8]]
"""A grey (H, W) or RGB (H, W, 3) image as it is shown."""


class Pictures(Protocol):
    """The images of an evaluation, by their numbers."""

    def synthetic(self, numbers: Sequence[int]) -> list[Picture]:
        """Return renders."""

    def refined(self, numbers: Sequence[int]) -> list[Picture]:
        """Return refined images."""

    def real(self, numbers: Sequence[int]) -> list[Picture]:
        """Return real images."""


class MeasuredPictures:
    """The images that were measured, as they are in memory."""

    def __init__(self, found: Evaluation) -> None:
        self._found = found

    def synthetic(self, numbers: Sequence[int]) -> list[Picture]:
        """Return renders."""
        return _shown(self._found.synthetic, numbers)

    def refined(self, numbers: Sequence[int]) -> list[Picture]:
        """Return refined images."""
        return _shown(self._found.refined, numbers)

    def real(self, numbers: Sequence[int]) -> list[Picture]:
        """Return real images."""
        return _shown(self._found.real, numbers)


class StoredPictures:
    """The images that were measured in grey, read again in colour and refined again, at the size of the evaluation."""

    def __init__(self, found: Evaluation, synthetic: Dataset, refiner: Refiner, real: Dataset) -> None:
        self._names, self._real_names = list(found.drifts), found.real_ids
        self._synthetic, self._refiner, self._real = synthetic, refiner, real
        self._size = (found.synthetic.shape[2], found.synthetic.shape[3])

    def synthetic(self, numbers: Sequence[int]) -> list[Picture]:
        """Return renders."""
        return [shown(image) for image in self._renders(numbers)]

    def refined(self, numbers: Sequence[int]) -> list[Picture]:
        """Return refined images."""
        return [shown(image) for image in self._refiner(self._renders(numbers))]

    def real(self, numbers: Sequence[int]) -> list[Picture]:
        """Return real images."""
        images = [self._real.read_image(self._real_names[number]) for number in numbers]
        return [shown(resize(image, self._size)) for image in images]

    def _renders(self, numbers: Sequence[int]) -> list[Image]:
        return [resize(self._synthetic.read_image(self._names[number]), self._size) for number in numbers]


def open_pictures(found: Evaluation, synthetic: Path, refiner: Path, real: Path, *, device: str) -> Pictures:
    """Return the images of an evaluation: as they were measured, or in colour if a data set has colours.

    Args:
        found: the evaluation.
        synthetic, real: the data sets that were evaluated.
        refiner: the refiner that was evaluated.
        device: device that the refiner runs on.

    Raises:
        RefinerError: an image or the refiner can no longer be read.
    """
    size = (found.synthetic.shape[2], found.synthetic.shape[3])
    datasets = [open_dataset(path, size=size) for path in (synthetic, real)]
    first = [datasets[0].read_image(next(iter(found.drifts))), datasets[1].read_image(found.real_ids[0])]
    if found.synthetic.shape[1] == 3 or all(image.ndim == 2 for image in first):
        return MeasuredPictures(found)
    return StoredPictures(found, datasets[0], Refiner.load(refiner, device=device), datasets[1])


def refined_again(found: Evaluation, refiner: Refiner) -> Callable[[Record], Image]:
    """Return a function from a render to its refined image at full size; the evaluation may hold it.

    Args:
        found: the evaluation.
        refiner: the refiner that was evaluated.
    """
    number_of = {name: number for number, name in enumerate(found.drifts)}
    in_colour = found.refined.shape[1] == 3

    def refine(record: Record) -> Image:
        fits = tuple(found.refined.shape[2:]) == record.image.shape[:2] and (in_colour or record.image.ndim == 2)
        if fits and record.id in number_of:
            return to_uint8(found.refined[number_of[record.id]].numpy())
        return refiner(record.image)

    return refine


class Triple(NamedTuple):
    """A render, its refined image and the nearest real image, as data URIs for a page.

    Attributes:
        name: name of the render.
        before, after: the render and the refined image.
        difference: their difference; red if the refined image is brighter, blue if it is darker.
        nearest: the real image that is nearest to the refined image.
        drift: label drift of the pair.
        distance: distance to the nearest real image; 0 for the same picture.
        overlay: the labels of the pair.
    """

    name: str
    before: str
    after: str
    difference: str
    nearest: str
    drift: LabelDrift
    distance: float
    overlay: Overlay = NO_OVERLAY


def data_uri(image: Picture) -> str:
    """Return a grey (H, W) or RGB (H, W, 3) image in a data URI: a small one as PNG, a large one as WebP."""
    # OpenCV expects BGR.
    stored = image if image.ndim == 2 else image[..., ::-1]
    if image.shape[0] * image.shape[1] <= EXACT_PIXELS:
        done, data = cv2.imencode(".png", stored)
    else:
        factor = min(1.0, MAX_SIDE / max(image.shape[:2]))
        size = (round(image.shape[0] * factor), round(image.shape[1] * factor))
        done, data = cv2.imencode(".webp", resize(stored, size), [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    assert done, "OpenCV writes PNG and WebP"
    kind = "png" if image.shape[0] * image.shape[1] <= EXACT_PIXELS else "webp"
    return f"data:image/{kind};base64," + base64.b64encode(data.tobytes()).decode()


def difference_uri(before: Picture, after: Picture) -> str:
    """Return the change of brightness as a data URI: red is brighter, blue darker, white the same."""
    grey = [to_grey(image).astype(np.float32) for image in (before, after)]
    change = np.clip((grey[1] - grey[0]) / FULL_CHANGE, -1, 1)
    brighter, darker = np.clip(change, 0, 1), np.clip(-change, 0, 1)
    # Take red and green from darker pixels, green and blue from brighter ones.
    colour = np.stack([1 - darker, 1 - brighter - darker, 1 - brighter], axis=-1)
    return data_uri(np.rint(255 * np.clip(colour, 0, 1)).astype(np.uint8))


def _shown(images: Tensor, numbers: Sequence[int]) -> list[Picture]:
    return [to_uint8(images[number].numpy()) for number in numbers]


def shown(image: Image) -> Picture:
    """Return an image as it is shown, with 8 bits and without alpha."""
    levels = image if image.dtype == np.uint8 else np.rint(image * (255.0 / highest_level(image))).astype(np.uint8)
    return levels[..., :3] if levels.ndim == 3 else levels
