"""Masks as run lengths, in both forms that COCO knows: numbers, and compressed text."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from refiner.data.labels.objects import RunLengths

Mask = NDArray[np.uint8]
"""A mask, (H, W), of zeros and ones."""


def decode(mask: RunLengths) -> Mask:
    """Return a mask, (H, W), from its run lengths.

    Raises:
        ValueError: the run lengths are damaged, or do not fill the mask's size.
    """
    height, width = mask_size(mask)
    lengths = run_lengths(mask)
    if int(lengths.sum()) != height * width:
        raise ValueError(f"the run lengths of a mask add up to {lengths.sum():,}, not to its {height}x{width} pixels")
    values = np.arange(len(lengths), dtype=np.uint8) & 1
    return np.asarray(np.repeat(values, lengths).reshape(width, height).T)


def encode(mask: Mask, like: RunLengths | None = None) -> dict[str, Any]:
    """Return the run lengths of a mask, (H, W): as numbers if ``like`` has numbers, else as compressed text."""
    compressed = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    result = {"size": [int(side) for side in compressed["size"]], "counts": compressed["counts"].decode("ascii")}
    if like is not None and not isinstance(like["counts"], str):
        result["counts"] = run_lengths(result).tolist()
    return result


def mask_size(mask: RunLengths) -> tuple[int, int]:
    """Return (height, width) of a mask.

    Raises:
        ValueError: it states none.
    """
    size = mask.get("size")
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(_is_whole(side) and side > 0 for side in size):
        raise ValueError(f"the size of a mask is {size!r}, but it has to be [height, width]")
    return int(size[0]), int(size[1])


def run_lengths(mask: RunLengths) -> NDArray[np.int64]:
    """Return the lengths of runs of zeros and ones in turn, zeros first, down the columns.

    Raises:
        ValueError: they are damaged.
    """
    counts = mask.get("counts")
    if isinstance(counts, str):
        return _from_text(counts)
    if not isinstance(counts, list | tuple) or not (set(map(type, counts)) <= {int} or all(map(_is_whole, counts))):
        raise ValueError("the counts of a mask are neither a list of run lengths nor compressed text")
    lengths = np.array(counts, np.float64)  # no integer is too large
    if lengths.size and not 0 <= lengths.min() <= lengths.max() < 2**53:
        raise ValueError("the counts of a mask are negative or larger than any image")
    return lengths.astype(np.int64)


def pixel_count(mask: RunLengths) -> int:
    """Return the number of pixels in a mask, without decoding it."""
    return int(run_lengths(mask)[1::2].sum())


def _from_text(text: str) -> NDArray[np.int64]:
    """Return the run lengths of COCO's compressed text.

    Each character holds five bits, the lowest ones first, and a sixth that says whether the number continues. From the
    fourth number on, each is the difference to the one before the last.
    """
    codes = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - 48
    if codes.size == 0:
        return codes
    if codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("the compressed counts of a mask are damaged")
    # Find the numbers, and the place of each character in its number.
    ends = (codes < 32).nonzero()[0]
    starts = np.zeros_like(ends)
    starts[1:] = ends[:-1] + 1
    digits = ends - starts + 1
    if digits.max() > 12:
        raise ValueError("the compressed counts of a mask are damaged")
    places = np.arange(codes.size) - starts.repeat(digits)
    numbers = np.add.reduceat((codes & 31) << (5 * places), starts)
    # Restore signs, then sum the differences, even and odd ones apart.
    lengths: NDArray[np.int64] = numbers - ((codes[ends] & 16) >> 4 << (5 * digits))
    lengths[1::2].cumsum(out=lengths[1::2])
    lengths[2::2].cumsum(out=lengths[2::2])
    if lengths.min() < 0:
        raise ValueError("the compressed counts of a mask are damaged")
    return lengths


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
