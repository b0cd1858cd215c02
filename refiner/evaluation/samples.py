"""Halves of data sets that share no person and no day."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.int64]]


def halves(count: int, groups: Sequence[str] | None, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
    """Numbers of two halves of a data set in random order.

    Args:
        count: of images.
        groups: person or day of each image, kept whole; None makes each its own.
        rng: what the order is drawn from.

    Raises:
        ValueError: fewer than four images, or one group alone.
    """
    names = np.arange(count) if groups is None else np.asarray(groups)
    order = rng.permutation(np.unique(names))
    if count < 4 or len(order) < 2:
        raise ValueError(f"{count} images of {len(order)} groups cannot be halved; expected four images of two groups")
    first = np.isin(names, order[: len(order) // 2])
    shuffled = rng.permutation(count)
    return shuffled[first[shuffled]], shuffled[~first[shuffled]]
