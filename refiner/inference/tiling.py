"""Refinement of large images in tiles: the same result as in one piece, with a fraction of the memory."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]

SIDE = 768
"""Height and width of a tile's core in pixels; a multiple of the pixel blocks that networks fold."""


class Tile(NamedTuple):
    """One tile of an image.

    Attributes:
        core: (top, bottom, left, right) of the pixels that the tile contributes to the result.
        window: (top, bottom, left, right) of the pixels that the network reads for them.
    """

    core: tuple[int, int, int, int]
    window: tuple[int, int, int, int]


def tiles(height: int, width: int, *, reach: int, side: int = SIDE) -> Iterator[Tile]:
    """Divide an image into tiles whose cores cover every pixel once.

    Args:
        height, width: size of the image in pixels.
        reach: distance in pixels up to which the network reads; a multiple of the blocks that it folds.
        side: height and width of the cores in pixels; a multiple of the blocks, too.
    """
    for top in range(0, height, side):
        for left in range(0, width, side):
            bottom, right = min(top + side, height), min(left + side, width)
            window = max(0, top - reach), min(height, bottom + reach), max(0, left - reach), min(width, right + reach)
            yield Tile((top, bottom, left, right), window)


def apply_in_tiles(network: Callable[[Array], Array], images: Array, *, reach: int, side: int = SIDE) -> Array:
    """Apply a network to images tile by tile.

    Args:
        network: keeps the size of images; each output pixel depends on input pixels at most ``reach`` away.
        images: (N, C, H, W).
        reach, side: see :func:`tiles`.

    Returns:
        (N, C, H, W): the result of the network on the whole images, except for rounding.
    """
    refined = np.empty_like(images)
    for (top, bottom, left, right), (first, last, start, end) in tiles(*images.shape[2:], reach=reach, side=side):
        # Refine the whole window, and keep only its core.
        piece = network(images[..., first:last, start:end])
        refined[..., top:bottom, left:right] = piece[..., top - first : bottom - first, left - start : right - start]
    return refined
