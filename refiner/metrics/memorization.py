"""Does a refiner paste photographs? How near the nearest photograph is, and how near would be too near."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from refiner.core.rng import numpy_generator
from refiner.metrics.two_sample import Share, halves

NEAR = 0.01
"""Share of photographs that are nearer than this limit to a photograph of other people or days."""

_BLOCK = 1024


class Neighbours(NamedTuple):
    """The nearest photograph of each image.

    Attributes:
        numbers: (N,), of the photographs.
        distances: (N,), 0 for the same picture up to light and contrast, about 1.4 for unrelated ones.
    """

    numbers: Tensor
    distances: Tensor


def nearest(images: Tensor, real: Tensor) -> Neighbours:
    """Find the nearest photograph of each image.

    Args:
        images, photographs: (N, C, H, W) and (M, C, H, W); each is compared without its own mean and spread, at half of
            its size, so that noise is none of the likeness.
    """
    ours, theirs = _described(images), _described(real)
    likeness = [(part @ theirs.T).max(dim=1) for part in ours.split(_BLOCK)]
    values, numbers = (torch.cat([part[which] for part in likeness]) for which in (0, 1))
    return Neighbours(numbers, (2 - 2 * values).clamp(min=0).sqrt())


def _described(images: Tensor) -> Tensor:
    """(N, K) of unit length."""
    small = functional.avg_pool2d(images, 2, ceil_mode=True) if min(images.shape[2:]) > 1 else images
    flat = small.flatten(1)
    return functional.normalize(flat - flat.mean(dim=1, keepdim=True), dim=1)


def copied(refined: Tensor, real: Tensor, *, seed: int, groups: Sequence[str] | None = None) -> Share:
    """Share of refined images that are nearer to a photograph than photographs of other people or days ever are.

    Args:
        refined, photographs: (N, C, H, W) and (M, C, H, W), in [-1, 1].
        seed: of the halves of the photographs that set the limit.
        groups: person or day of each photograph.

    Returns:
        About :data:`NEAR` or less where nothing is copied; near 1 for a refiner that pastes.

    Raises:
        ValueError: fewer than four photographs, or all of one group.
    """
    first, second = (
        real[torch.from_numpy(part)] for part in halves(len(real), groups, numpy_generator(seed, "memorization"))
    )
    limit = nearest(first, second).distances.quantile(NEAR)
    near = nearest(refined, real).distances < limit
    return Share.of(int(near.sum()), len(near))
