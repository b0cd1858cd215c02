"""Memorization test: the share of refined images that are suspiciously close to a real image."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from refiner.core.rng import numpy_generator
from refiner.metrics.two_sample import Share, halves

NEAR = 0.01
"""Quantile of the real-vs-real distances that serves as the limit; closer refined images count as copies."""

_BLOCK = 1024


class Neighbours(NamedTuple):
    """Nearest real image of each image.

    Attributes:
        numbers: (N,), indices of the real images.
        distances: (N,), 0 for equal images up to light and contrast, about 1.4 for unrelated images.
    """

    numbers: Tensor
    distances: Tensor


def nearest(images: Tensor, real: Tensor) -> Neighbours:
    """Find the nearest real image of each image.

    Images are compared at half size, which reduces noise, and after normalisation of mean and contrast.

    Args:
        images: (N, C, H, W).
        real: (M, C, H, W).
    """
    # Compare in blocks, which bounds the memory. The largest product of unit vectors is the nearest.
    queries, candidates = _descriptors(images), _descriptors(real)
    best = [(block @ candidates.T).max(dim=1) for block in queries.split(_BLOCK)]
    similarities, numbers = (torch.cat([block[which] for block in best]) for which in (0, 1))
    return Neighbours(numbers, (2 - 2 * similarities).clamp(min=0).sqrt())


def _descriptors(images: Tensor) -> Tensor:
    """Unit vectors, (N, K), of the centred and downscaled pixels."""
    small = functional.avg_pool2d(images, 2, ceil_mode=True) if min(images.shape[2:]) > 1 else images
    flat = small.flatten(1)
    return functional.normalize(flat - flat.mean(dim=1, keepdim=True), dim=1)


def copied(refined: Tensor, real: Tensor, *, seed: int, groups: Sequence[str] | None = None) -> Share:
    """Share of refined images that are copies, closer to a real image than other real images usually are.

    The limit is the :data:`NEAR` quantile of the distances from one half of the real images to the other.

    Args:
        refined: (N, C, H, W), in [-1, 1].
        real: (M, C, H, W), in [-1, 1].
        seed: seed of the two halves of the real images.
        groups: person or day of each real image; the halves share no group.

    Returns:
        About :data:`NEAR` or less if nothing is copied; close to 1 if the refiner outputs real images.

    Raises:
        ValueError: there are fewer than four real images, or all belong to one group.
    """
    # Find how close real images come to each other, then count the refined ones that come closer.
    first, second = (
        real[torch.from_numpy(half)] for half in halves(len(real), groups, numpy_generator(seed, "memorization"))
    )
    limit = nearest(first, second).distances.quantile(NEAR)
    near = nearest(refined, real).distances < limit
    return Share.of(int(near.sum()), len(near))
