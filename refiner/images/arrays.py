"""Image arrays: between stored levels and the network's [-1, 1], between channels, sizes and histograms.

Stored images are uint8 or uint16, (H, W), (H, W, 3) RGB or (H, W, 4) RGBA; network images are float32 in
[-1, 1], (C, H, W). Level 0 is -1, the highest level of the type is 1; nothing is ever stretched per image.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from refiner.core.errors import ImageError
from refiner.images.io import Image

if TYPE_CHECKING:
    from torch import Tensor

MAX_SQUEEZE = 0.12
"""Largest difference of aspect ratio that resizing passes over: 36x60 and 35x55 differ by 0.06."""

Planes = np.ndarray[Any, np.dtype[np.float32]]
"""float32, (C, H, W), in [-1, 1]."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of R, G, B in the luma (ITU-R BT.601)."""


def highest_level(image: Image) -> float:
    """255 or 65,535: by the array's type, not by its values."""
    return float(np.iinfo(image.dtype).max)


def to_planes(image: Image, channels: int) -> Planes:
    """A stored image as the network sees it.

    Args:
        image: uint8 or uint16, (H, W), (H, W, 3) or (H, W, 4); alpha is left out.
        channels: 1 takes the luma of colour; 3 repeats grey.

    Returns:
        (channels, H, W), float32, in [-1, 1].
    """
    scale = np.float32(highest_level(image) / 2)
    if image.ndim == 2:
        plane: Planes = image.astype(np.float32) / scale - 1
        return np.repeat(plane[None], channels, axis=0)
    colour: Planes = image[..., :3].astype(np.float32) / scale - 1
    if channels == 1:
        return np.ascontiguousarray((colour @ LUMA)[None])
    return np.ascontiguousarray(colour.transpose(2, 0, 1))


def from_planes(planes: Planes, original: Image) -> Image:
    """A refined image in the depth and the channels of its original.

    Colour refined by a grey network gets the change of its luma on every channel, which keeps its chroma;
    alpha is the original's. Grey refined by a colour network takes the luma of the result.

    Args:
        planes: (C, H, W), refined from ``to_planes(original, C)``.
        original: the stored image it came from.

    Returns:
        Same shape and type as ``original``.
    """
    highest = highest_level(original)
    scale = np.float32(highest / 2)
    if original.ndim == 2:
        grey = planes[0] if len(planes) == 1 else np.tensordot(LUMA, planes, axes=1)
        return _to_integers((grey + 1) * scale, highest, original.dtype)
    if len(planes) == 1:
        change = (planes[0] - to_planes(original, 1)[0]) * scale
        colour = original[..., :3].astype(np.float32) + change[..., None]
    else:
        colour = (np.ascontiguousarray(planes.transpose(1, 2, 0)) + 1) * scale  # in the order of a decoded image
    levels = _to_integers(colour, highest, original.dtype)
    return levels if original.shape[2] == 3 else np.concatenate([levels, original[..., 3:]], axis=2)


def to_batch(images: Sequence[Image], channels: int) -> Planes:
    """Stored images of one size as the network sees them, (N, channels, H, W); see :func:`to_planes`."""
    if not _are_grey(images) or channels != 1:
        return np.stack([to_planes(image, channels) for image in images])
    planes: Planes = np.stack(images)[:, None].astype(np.float32)  # all at once takes half the time
    planes /= np.float32(highest_level(images[0]) / 2)
    planes -= 1
    return planes


def from_batch(planes: Planes, originals: Sequence[Image]) -> list[Image]:
    """Refined images, (N, C, H, W), each in the depth and the channels of its original; see :func:`from_planes`."""
    if not _are_grey(originals) or planes.shape[1] != 1:
        return [from_planes(plane, original) for plane, original in zip(planes, originals, strict=True)]
    highest = highest_level(originals[0])
    return list(_to_integers((planes[:, 0] + 1) * np.float32(highest / 2), highest, originals[0].dtype))


def _are_grey(images: Sequence[Image]) -> bool:
    """All of them, and of one depth."""
    return all(image.ndim == 2 and image.dtype == images[0].dtype for image in images)


def to_uint8(planes: Planes) -> Image:
    """(C, H, W) in [-1, 1] as 8-bit (H, W) or (H, W, 3)."""
    levels = _to_integers((planes + 1) * np.float32(127.5), 255, np.dtype(np.uint8))
    return levels[0] if len(levels) == 1 else np.ascontiguousarray(levels.transpose(1, 2, 0))


def _to_integers(values: Planes, highest: float, dtype: np.dtype[Any]) -> Image:
    return np.clip(np.rint(values), 0, highest).astype(dtype)


def to_grey(image: Image) -> Image:
    """The luma of a colour image, in its own depth; grey is returned as it is."""
    if image.ndim == 2:
        return image
    return _to_integers(image[..., :3].astype(np.float32) @ LUMA, highest_level(image), image.dtype)


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Resize to (height, width): area average downwards, cubic upwards; channels and depth stay."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    shrinks = height * width < image.shape[0] * image.shape[1]
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC))


def crop_centre(image: Image, size: tuple[int, int], name: str) -> tuple[Image, tuple[int, int]]:
    """The middle of an image, and the (top, left) pixel at which it begins.

    Args:
        image: (H, W) or (H, W, C).
        size: (height, width) to cut.
        name: of the image, for the message.

    Raises:
        ImageError: the image is smaller than that.
    """
    top, left = ((have - wanted + 1) // 2 for have, wanted in zip(image.shape[:2], size, strict=True))
    if top < 0 or left < 0:
        raise ImageError(name, f"is {image.shape[0]}x{image.shape[1]}, too small to cut {size[0]}x{size[1]} out of it")
    return image[top : top + size[0], left : left + size[1]], (top, left)


def equalize(image: Image) -> Image:
    """Histogram equalisation of the luma, as MPIIGaze's patches have it; 8-bit grey or RGB(A)."""
    grey = to_grey(image)
    equalized = np.asarray(cv2.equalizeHist(grey))
    if image.ndim == 2:
        return equalized
    change = (equalized.astype(np.float32) - grey)[None] / np.float32(127.5)
    return from_planes(to_planes(image, 1) + change, image)


EQUALIZED_BELOW = 0.05
"""Value of :func:`equalization` under which an image counts as equalised."""


def equalization(image: Image) -> float:
    """How far equalising would move a level, on average, as a share of all levels: nothing, if it was done before.

    At most 0.02 on equalised patches of eyes, also after a JPEG or a refiner, 0.09 and more on others. A histogram's
    distance from flat says less: an iris in one dark level keeps it from ever being flat. 1 for a flat colour.
    """
    grey = to_grey(image)
    levels = (grey >> 8).astype(np.uint8) if grey.dtype == np.uint16 else grey
    if levels.min() == levels.max():
        return 1.0
    return float(np.abs(np.asarray(cv2.equalizeHist(levels), np.float32) - levels).mean() / 255)


def contact_sheet(rows: Sequence[Sequence[Image]], *, scale: int = 2, gap: int = 2) -> Image:
    """One 8-bit picture of many, one row of images per row; pixels repeated, not smoothed.

    Args:
        rows: 8-bit images of one size; rows may differ in length.
        scale: how often a pixel is repeated each way.
        gap: white pixels between images.
    """
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    colour = any(image.ndim == 3 for row in rows for image in row)
    shape = (gap + len(rows) * (height * scale + gap), gap + columns * (width * scale + gap), 3)
    sheet = np.full(shape, 255, np.uint8)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            rgb = image[..., :3] if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
            top, left = gap + y * (height * scale + gap), gap + x * (width * scale + gap)
            enlarged = rgb.repeat(scale, axis=0).repeat(scale, axis=1)
            sheet[top : top + height * scale, left : left + width * scale] = enlarged
    return sheet if colour else np.ascontiguousarray(sheet[..., 0])


def eye_patch(image: Image, size: tuple[int, int], *, equalize: bool, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a stored image as a grey 8-bit patch, the input of a task network.

    Args:
        image: uint8 or uint16, (H, W), (H, W, 3) or (H, W, 4).
        size: (height, width) of the patch.
        equalize: whether the histogram is equalised after resizing.
        name: of the image, for the error message.

    Returns:
        (1, height, width), uint8: the luma.

    Raises:
        ImageError: the aspect ratio of the image differs too much from that of ``size``.
    """
    height, width = image.shape[:2]
    if abs(math.log(height * size[1] / (width * size[0]))) > MAX_SQUEEZE:
        raise ImageError(name, f"is {height}x{width}, too far from the shape of {size[0]}x{size[1]}; crop it")
    grey = to_grey(resize(image, size))
    if grey.dtype == np.uint16:
        grey = np.rint(grey / np.float32(257)).astype(np.uint8)
    return np.asarray(cv2.equalizeHist(grey) if equalize else grey, np.uint8)[None]


def to_float(images: "Tensor") -> "Tensor":
    """Return uint8 images as float32 in [-1, 1], in a new tensor of the same shape."""
    return images.float().div_(127.5).sub_(1)
