"""Do refined images look like photographs? Each distance beside that of photographs and of renders, on equal blocks."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from refiner.core.errors import DataError
from refiner.core.rng import derived_seed, numpy_generator
from refiner.evaluation.measurement import Figure
from refiner.metrics.distances import diversity, kernel_distance, sliced_wasserstein, spectrum_distance
from refiner.metrics.intervals import Interval, seed_interval
from refiner.metrics.memorization import copied
from refiner.metrics.two_sample import Share, halves, told_apart

BLOCKS = 8
"""Disjoint parts of the samples; intervals are over them."""

LEAST = 8
"""Images in a block."""

Distance = Callable[[Tensor, Tensor, int], float]
"""Of two equally large sets of images; the number is of the block, which is compared under the same draws."""


def measure_realism(
    renders: Tensor,
    refined: Tensor,
    photographs: Tensor,
    *,
    features: Callable[[Tensor], Tensor],
    groups: Sequence[str] | None,
    seed: int,
) -> list[Figure]:
    """All figures of realism.

    Args:
        renders, refined: (N, 1, H, W), in [-1, 1], pair by pair.
        photographs: (M, 1, H, W).
        features: (N, 1, H, W) to (N, D), of a frozen network, for the kernel distance.
        groups: person or day of each photograph.
        seed: everything follows from it.

    Raises:
        DataError: too few images for an interval.
    """
    distances: dict[str, Distance] = {
        "sliced_wasserstein": lambda one, other, block: sliced_wasserstein(
            one, other, seed=derived_seed(seed, "block", block)
        ),
        "kernel": lambda one, other, block: kernel_distance(features(one), features(other)),
        "spectrum": lambda one, other, block: spectrum_distance(one, other),
    }
    parts = _Parts(renders, refined, photographs, groups, seed)
    figures = [_told_apart(renders, refined, photographs, groups, seed)]
    figures += [_blockwise(key, distance, parts) for key, distance in distances.items()]
    figures.append(_diversity(parts))
    share = copied(refined, photographs, groups=groups, seed=seed)
    plain = copied(renders, photographs, groups=groups, seed=seed)
    figures.append(Figure("copies", "copies of photographs", "realism", "", _interval(share), ceiling=_interval(plain)))
    return figures


class _Parts:
    """Blocks of equal size: two disjoint halves of the photographs, renders and refined images pair by pair."""

    def __init__(
        self, renders: Tensor, refined: Tensor, photographs: Tensor, groups: Sequence[str] | None, seed: int
    ) -> None:
        first, second = (
            photographs[torch.from_numpy(part)]
            for part in halves(len(photographs), groups, numpy_generator(seed, "photographs"))
        )
        size = min(len(first), len(second), len(renders)) // BLOCKS
        if size < LEAST:
            needed = BLOCKS * LEAST
            raise DataError(
                f"{len(renders)} renders and {len(photographs)} photographs are too few for an interval; give at least "
                f"{needed} renders and {2 * needed} photographs"
            )
        order = torch.from_numpy(numpy_generator(seed, "renders").permutation(len(renders)))
        self.others, self.photographs = (self._cut(half, size) for half in (first, second))
        self.renders, self.refined = (self._cut(images[order], size) for images in (renders, refined))

    @staticmethod
    def _cut(images: Tensor, size: int) -> Sequence[Tensor]:
        blocks: Sequence[Tensor] = images[: BLOCKS * size].split(size)
        return blocks


NAMES = {
    "sliced_wasserstein": "sliced Wasserstein distance",
    "kernel": "kernel distance of features",
    "spectrum": "distance of spectra",
}
"""Distances to photographs, by key."""


def _blockwise(key: str, distance: Distance, parts: _Parts) -> Figure:
    refined, floor, ceiling = (
        [distance(one, other, block) for block, (one, other) in enumerate(zip(side, parts.photographs, strict=True))]
        for side in (parts.refined, parts.others, parts.renders)
    )
    gain = [high - low for high, low in zip(ceiling, refined, strict=True)]
    return Figure(key, NAMES[key], "realism", "", *map(seed_interval, (refined, floor, ceiling, gain)))


def _diversity(parts: _Parts) -> Figure:
    """Of the refined images, as a share of the photographs'."""
    values, floor, ceiling = (
        [diversity(one, other) for one, other in zip(side, parts.photographs, strict=True)]
        for side in (parts.refined, parts.others, parts.renders)
    )
    name = "diversity, share of the photographs'"
    return Figure("diversity", name, "realism", "", *map(seed_interval, (values, floor, ceiling)))


def _told_apart(
    renders: Tensor, refined: Tensor, photographs: Tensor, groups: Sequence[str] | None, seed: int
) -> Figure:
    """Share that a network tells from photographs; photographs are told from one another by people that differ."""
    tell = partial(told_apart, seed=seed)
    first, second = (
        torch.from_numpy(part) for part in halves(len(photographs), groups, numpy_generator(seed, "photographs"))
    )
    names = None if groups is None else [[groups[number] for number in part.tolist()] for part in (first, second)]
    value, ceiling = (tell(images, photographs, groups=(None, groups)) for images in (refined, renders))
    sides = (None, None) if names is None else (names[0], names[1])
    floor = tell(photographs[first], photographs[second], groups=sides)
    return Figure("told_apart", "told from photographs", "realism", "", *map(_interval, (value, floor, ceiling)))


def _interval(share: Share) -> Interval:
    return Interval(share.value, share.low, share.high)
