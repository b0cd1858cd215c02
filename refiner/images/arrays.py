"""Conversion of image arrays between levels and [-1, 1], channels and sizes; histogram equalisation; contact sheets.

Stored images are uint8 or uint16, (H, W), (H, W, 3) RGB or (H, W, 4) RGBA. Network images are float32 in [-1, 1],
(C, H, W). Level 0 is -1, and the highest level of the type is 1. The contrast of an image is never stretched.
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
"""Largest log ratio of aspect ratios that resizing accepts; for 36x60 and 35x55 it is 0.06."""

Planes = np.ndarray[Any, np.dtype[np.float32]]
"""float32, (C, H, W), in [-1, 1]."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of R, G, B in the luma (ITU-R BT.601)."""


def highest_level(image: Image) -> float:
    """Return the highest level of the array's type, 255 or 65,535."""
    return float(np.iinfo(image.dtype).max)


def to_planes(image: Image, channels: int) -> Planes:
    """Convert a stored image to a network image.

    Args:
        image: uint8 or uint16, (H, W), (H, W, 3) or (H, W, 4); alpha is ignored.
        channels: 1 converts colour to luma; 3 repeats grey.

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
    """Convert a refined network image to the depth and channels of its original.

    If a grey network refined a colour image, the change of the luma is added to every channel, which keeps the chroma.
    If a colour network refined a grey image, the luma of the result is taken. Alpha is copied from the original.

    Args:
        planes: (C, H, W), float32, in [-1, 1], refined from ``to_planes(original, C)``.
        original: the stored image before refining.

    Returns:
        Array of the shape and type of ``original``.
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
        colour = (np.ascontiguousarray(planes.transpose(1, 2, 0)) + 1) * scale  # (H, W, 3), contiguous
    levels = _to_integers(colour, highest, original.dtype)
    return levels if original.shape[2] == 3 else np.concatenate([levels, original[..., 3:]], axis=2)


def to_batch(images: Sequence[Image], channels: int) -> Planes:
    """Convert stored images of one size to network images, (N, channels, H, W); see :func:`to_planes`."""
    if not _are_grey(images) or channels != 1:
        return np.stack([to_planes(image, channels) for image in images])
    # Grey images are converted all at once, which takes half the time.
    planes: Planes = np.stack(images)[:, None].astype(np.float32)
    planes /= np.float32(highest_level(images[0]) / 2)
    planes -= 1
    return planes


def from_batch(planes: Planes, originals: Sequence[Image]) -> list[Image]:
    """Convert refined images, (N, C, H, W), to the depth and channels of their originals; see :func:`from_planes`."""
    if not _are_grey(originals) or planes.shape[1] != 1:
        return [from_planes(plane, original) for plane, original in zip(planes, originals, strict=True)]
    highest = highest_level(originals[0])
    return list(_to_integers((planes[:, 0] + 1) * np.float32(highest / 2), highest, originals[0].dtype))


def _are_grey(images: Sequence[Image]) -> bool:
    """Check that all images are grey and have the same depth."""
    return all(image.ndim == 2 and image.dtype == images[0].dtype for image in images)


def to_uint8(planes: Planes) -> Image:
    """Convert a network image, (C, H, W) in [-1, 1], to uint8, (H, W) or (H, W, 3)."""
    levels = _to_integers((planes + 1) * np.float32(127.5), 255, np.dtype(np.uint8))
    return levels[0] if len(levels) == 1 else np.ascontiguousarray(levels.transpose(1, 2, 0))


def _to_integers(values: Planes, highest: float, dtype: np.dtype[Any]) -> Image:
    return np.clip(np.rint(values), 0, highest).astype(dtype)


def to_grey(image: Image) -> Image:
    """Convert a colour image to its luma in the same depth; a grey image is returned unchanged."""
    if image.ndim == 2:
        return image
    return _to_integers(image[..., :3].astype(np.float32) @ LUMA, highest_level(image), image.dtype)


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Resize to (height, width) by area averaging or cubic interpolation; channels and depth stay the same."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    shrinks = height * width < image.shape[0] * image.shape[1]
    if shrinks and (height > image.shape[0] or width > image.shape[1]):
        return _resize_by_axis(image, size)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC))


def _resize_by_axis(image: Image, size: tuple[int, int]) -> Image:
    """Shrink one axis by area averaging, then enlarge the other by cubic interpolation.

    Asked for both at once, OpenCV's area averaging shifts the content by up to a pixel of the input.
    """
    rows, columns = (min(pair) for pair in zip(image.shape[:2], size, strict=True))
    shrunk = cv2.resize(image.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    resized = cv2.resize(shrunk, size[::-1], interpolation=cv2.INTER_CUBIC)
    return _to_integers(np.asarray(resized, np.float32), highest_level(image), image.dtype)


def crop_centre(image: Image, size: tuple[int, int], name: str) -> tuple[Image, tuple[int, int]]:
    """Crop the centre of an image.

    Args:
        image: (H, W) or (H, W, C).
        size: (height, width) of the crop.
        name: name of the image, for the error message.

    Returns:
        The crop, and its (top, left) pixel in the image.

    Raises:
        ImageError: the image is smaller than ``size``.
    """
    top, left = ((side - cropped + 1) // 2 for side, cropped in zip(image.shape[:2], size, strict=True))
    if top < 0 or left < 0:
        raise ImageError(name, f"is {image.shape[0]}x{image.shape[1]}, too small for a crop of {size[0]}x{size[1]}")
    return image[top : top + size[0], left : left + size[1]], (top, left)


def equalize(image: Image) -> Image:
    """Equalise the histogram of the luma, as in MPIIGaze's patches; 8-bit grey or RGB(A)."""
    grey = to_grey(image)
    equalized = np.asarray(cv2.equalizeHist(grey))
    if image.ndim == 2:
        return equalized
    # Add the change of the luma to every channel.
    change = (equalized.astype(np.float32) - grey)[None] / np.float32(127.5)
    return from_planes(to_planes(image, 1) + change, image)


EQUALIZED_BELOW = 0.05
"""Value of :func:`equalization` below which an image counts as equalised."""


def equalization(image: Image) -> float:
    """Measure how much histogram equalisation would change an image; an equalised image changes little.

    The distance of a histogram from a flat one is less informative: an iris in a single dark level keeps it from ever
    being flat.

    Returns:
        Mean change of a level as a share of all levels; 1 for a constant image. Equalised eye patches have at most
        0.02, even after JPEG compression or refining; other patches have 0.09 and more.
    """
    grey = to_grey(image)
    levels = (grey >> 8).astype(np.uint8) if grey.dtype == np.uint16 else grey
    if levels.min() == levels.max():
        return 1.0
    return float(np.abs(np.asarray(cv2.equalizeHist(levels), np.float32) - levels).mean() / 255)


def contact_sheet(rows: Sequence[Sequence[Image]], *, scale: int = 2, gap: int = 2) -> Image:
    """Arrange images in a grid, with one grid row for each row of images.

    Args:
        rows: 8-bit images of one size; rows may differ in length.
        scale: enlargement; each pixel becomes a square of this side.
        gap: number of white pixels between images.

    Returns:
        uint8, (H, W) if all images are grey, else (H, W, 3) RGB.
    """
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    colour = any(image.ndim == 3 for row in rows for image in row)
    shape = (gap + len(rows) * (height * scale + gap), gap + columns * (width * scale + gap), 3)
    sheet = np.full(shape, 255, np.uint8)
    # Enlarge each image by repeating pixels, and copy it into its cell.
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
        name: name of the image, for the error message.

    Returns:
        (1, height, width), uint8: the luma.

    Raises:
        ImageError: the aspect ratio of the image differs too much from that of ``size``.
    """
    grey = image_patch(image, size, channels=1, name=name)
    return np.asarray(cv2.equalizeHist(grey[0]), np.uint8)[None] if equalize else grey


def image_patch(
    image: Image, size: tuple[int, int], *, channels: int, name: str
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a stored image at another size, with 8 bits.

    Args:
        image: uint8 or uint16, (H, W), (H, W, 3) or (H, W, 4); alpha is ignored.
        size: (height, width) of the result.
        channels: 1 converts colour to luma; 3 repeats grey.
        name: name of the image, for the error message.

    Returns:
        (channels, height, width), uint8.

    Raises:
        ImageError: the aspect ratio of the image differs too much from that of ``size``.
    """
    height, width = image.shape[:2]
    if abs(math.log(height * size[1] / (width * size[0]))) > MAX_SQUEEZE:
        raise ImageError(name, f"is {height}x{width}, too far from the shape of {size[0]}x{size[1]}; crop it")
    resized = resize(image, size)
    levels = to_grey(resized) if channels == 1 else resized
    if levels.dtype == np.uint16:
        levels = np.rint(levels / np.float32(257)).astype(np.uint8)
    if levels.ndim == 2:
        return np.repeat(np.asarray(levels, np.uint8)[None], channels, axis=0)
    return np.ascontiguousarray(levels[..., :3].transpose(2, 0, 1), np.uint8)


GREY_LEVELS = 2.0
"""Largest mean difference of the channels of an image without colours, in levels from 0 to 255."""


def has_colours(image: Image) -> bool:
    """Return whether an image has colours; three equal channels have none."""
    if image.ndim == 2:
        return False
    colour = image[..., :3]
    spread = colour.max(axis=2).astype(np.float32) - colour.min(axis=2)
    return float(spread.mean()) > GREY_LEVELS * highest_level(image) / 255


def luma(images: "Tensor") -> "Tensor":
    """Return images (N, C, H, W) in [-1, 1] in grey, (N, 1, H, W); grey images are returned unchanged."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    return red * float(LUMA[0]) + green * float(LUMA[1]) + blue * float(LUMA[2])


def to_float(images: "Tensor") -> "Tensor":
    """Return uint8 images as float32 in [-1, 1], in a new tensor of the same shape."""
    return images.float().div_(127.5).sub_(1)
