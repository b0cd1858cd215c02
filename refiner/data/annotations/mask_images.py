"""Masks from pictures: of one object, or of several that have a value or a colour each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from refiner.core.errors import DataError
from refiner.data.annotations.positions.run_lengths import encode
from refiner.data.labels.objects import Box, RunLengths
from refiner.images.io import Image, read_image

Mask = NDArray[np.bool_]
"""A mask, (H, W)."""


def read_mask(path: Path) -> Mask:
    """Return the mask of a picture in which every value but zero is the object; alpha does not count.

    Raises:
        ImageError: the picture cannot be read.
    """
    image = read_image(path)
    return np.asarray(image > 0 if image.ndim == 2 else (image[..., :3] > 0).any(axis=2))


def open_as_stored(path: Path, modes: Sequence[str] = ("P", "1", "F")) -> Pillow.Image | None:
    """Return a picture that decoding to levels would change; None for all others, and for those that it cannot read.

    Args:
        path: the picture.
        modes: kinds of pictures: ``P`` holds numbers of a palette, ``1`` bits, ``F`` floats.
    """
    try:
        with Pillow.open(path) as picture:
            if picture.mode not in modes or getattr(picture, "n_frames", 1) != 1:
                return None
            picture.load()
            return picture
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Pillow.DecompressionBombError):
        return None


def codes_of(image: Image) -> NDArray[Any]:
    """Return a picture, (H, W) or (H, W, C), as one number for each pixel: its value, or its packed colour."""
    if image.ndim == 2:
        return image
    bits = 8 * image.dtype.itemsize
    codes = np.zeros(image.shape[:2], np.uint32 if bits == 8 else np.uint64)
    for channel in range(image.shape[2]):
        codes = (codes << codes.dtype.type(bits)) | image[..., channel]
    return codes


def values_in(codes: NDArray[Any]) -> NDArray[Any]:
    """Return the different numbers of a picture, from the smallest to the largest."""
    if codes.dtype.itemsize <= 2:
        return np.flatnonzero(np.bincount(codes.ravel()))
    return np.unique(codes)


def code_of(colour: Sequence[int], image: Image) -> int:
    """Return the number that a colour has in :func:`codes_of` of a picture, which may lack the alpha of the colour.

    Raises:
        DataError: the picture is grey.
    """
    if image.ndim == 2:
        raise DataError("the picture has grey levels; expected colours")
    code = 0
    for part in [*colour, 255][: image.shape[2]]:
        code = (code << 8 * image.dtype.itemsize) | part
    return code


def colour_of(code: int, image: Image) -> tuple[int, ...]:
    """Return the colour of a number in :func:`codes_of` of a picture in colours."""
    bits, channels = 8 * image.dtype.itemsize, image.shape[2]
    return tuple(code >> (bits * (channels - 1 - channel)) & (2**bits - 1) for channel in range(channels))


def mask_and_box(mask: Mask) -> tuple[RunLengths | None, Box | None]:
    """Return the run lengths of a mask and the box around its pixels; None if it has no pixel."""
    if (box := box_of(mask)) is None:
        return None, None
    return encode(mask.astype(np.uint8)), box


def box_of(mask: NDArray[Any]) -> Box | None:
    """Return the box around the pixels of a mask, from edge to edge; None if it has none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top
