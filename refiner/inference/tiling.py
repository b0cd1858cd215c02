"""Large images piece by piece, with the same result as in one piece and a fraction of the memory."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]

SIDE = 768
"""Height and width of a tile, without what it overlaps with its neighbours; even, as folded pixels demand."""


class Tile(NamedTuple):
    """A part of an image.

    Attributes:
        core: (top, bottom, left, right) of the pixels that it gives.
        window: the same of the pixels that these follow from.
    """

    core: tuple[int, int, int, int]
    window: tuple[int, int, int, int]


def tiles(height: int, width: int, *, reach: int, side: int = SIDE) -> Iterator[Tile]:
    """Cut an image of a size into tiles.

    Args:
        height, width: of the image.
        reach: pixels on either side that a pixel follows from, a multiple of the block that the network folds.
        side: of the cores, such a multiple as well.
    """
    for top in range(0, height, side):
        for left in range(0, width, side):
            bottom, right = min(top + side, height), min(left + side, width)
            window = max(0, top - reach), min(height, bottom + reach), max(0, left - reach), min(width, right + reach)
            yield Tile((top, bottom, left, right), window)


def by_tiles(network: Callable[[Array], Array], images: Array, *, reach: int, side: int = SIDE) -> Array:
    """Apply a network that keeps the size of images, tile by tile.

    Args:
        network: of whose output each pixel follows from those at most ``reach`` away.
        images: (N, C, H, W).
        reach, side: see :func:`tiles`.

    Returns:
        (N, C, H, W), as the network would give it in one piece, but for rounding.
    """
    refined = np.empty_like(images)
    for (top, bottom, left, right), (first, last, start, end) in tiles(*images.shape[2:], reach=reach, side=side):
        piece = network(images[..., first:last, start:end])
        refined[..., top:bottom, left:right] = piece[..., top - first : bottom - first, left - start : right - start]
    return refined
