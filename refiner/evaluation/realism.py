"""Do refined images look like photographs? Each distance beside that of photographs and of renders, on equal blocks."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from refiner.core.errors import DataError
from refiner.core.rng import derived_seed, numpy_generator
from refiner.evaluation.measurement import Metric
from refiner.metrics.distances import diversity, kernel_distance, sliced_wasserstein, spectrum_distance
from refiner.metrics.intervals import Interval, seed_interval
from refiner.metrics.memorization import copied
from refiner.metrics.two_sample import Share, c2st_accuracy, halves

BLOCKS = 8
"""Disjoint parts of the samples; intervals are over them."""

LEAST = 8
"""Images in a block."""

Distance = Callable[[Tensor, Tensor, int], float]
"""Of two equally large sets of images; the number is of the block, which is compared under the same draws."""


def measure_realism(
    synthetic: Tensor,
    refined: Tensor,
    real: Tensor,
    *,
    features: Callable[[Tensor], Tensor],
    groups: Sequence[str] | None,
    seed: int,
) -> list[Metric]:
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
    parts = _Parts(synthetic, refined, real, groups, seed)
    metrics = [_c2st(synthetic, refined, real, groups, seed)]
    metrics += [_blockwise(key, distance, parts) for key, distance in distances.items()]
    metrics.append(_diversity(parts))
    share = copied(refined, real, groups=groups, seed=seed)
    plain = copied(synthetic, real, groups=groups, seed=seed)
    metrics.append(
        Metric("copies", "copies of photographs", "realism", "", _interval(share), baseline=_interval(plain))
    )
    return metrics


class _Parts:
    """Blocks of equal size: two disjoint halves of the photographs, renders and refined images pair by pair."""

    def __init__(
        self, synthetic: Tensor, refined: Tensor, real: Tensor, groups: Sequence[str] | None, seed: int
    ) -> None:
        first, second = (
            real[torch.from_numpy(part)] for part in halves(len(real), groups, numpy_generator(seed, "photographs"))
        )
        size = min(len(first), len(second), len(synthetic)) // BLOCKS
        if size < LEAST:
            needed = BLOCKS * LEAST
            raise DataError(
                f"{len(synthetic)} renders and {len(real)} photographs are too few for an interval; give at least "
                f"{needed} renders and {2 * needed} photographs"
            )
        order = torch.from_numpy(numpy_generator(seed, "renders").permutation(len(synthetic)))
        self.others, self.real = (self._cut(half, size) for half in (first, second))
        self.synthetic, self.refined = (self._cut(images[order], size) for images in (synthetic, refined))

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


def _blockwise(key: str, distance: Distance, parts: _Parts) -> Metric:
    refined, reference, baseline = (
        [distance(one, other, block) for block, (one, other) in enumerate(zip(side, parts.real, strict=True))]
        for side in (parts.refined, parts.others, parts.synthetic)
    )
    gain = [high - low for high, low in zip(baseline, refined, strict=True)]
    return Metric(key, NAMES[key], "realism", "", *map(seed_interval, (refined, reference, baseline, gain)))


def _diversity(parts: _Parts) -> Metric:
    """Of the refined images, as a share of the photographs'."""
    values, reference, baseline = (
        [diversity(one, other) for one, other in zip(side, parts.real, strict=True)]
        for side in (parts.refined, parts.others, parts.synthetic)
    )
    name = "diversity, share of the photographs'"
    return Metric("diversity", name, "realism", "", *map(seed_interval, (values, reference, baseline)))


def _c2st(synthetic: Tensor, refined: Tensor, real: Tensor, groups: Sequence[str] | None, seed: int) -> Metric:
    """Share that a network tells from photographs; photographs are told from one another by people that differ."""
    tell = partial(c2st_accuracy, seed=seed)
    first, second = (torch.from_numpy(part) for part in halves(len(real), groups, numpy_generator(seed, "photographs")))
    names = None if groups is None else [[groups[number] for number in part.tolist()] for part in (first, second)]
    value, baseline = (tell(images, real, groups=(None, groups)) for images in (refined, synthetic))
    sides = (None, None) if names is None else (names[0], names[1])
    reference = tell(real[first], real[second], groups=sides)
    return Metric(
        "c2st_accuracy", "told from photographs", "realism", "", *map(_interval, (value, reference, baseline))
    )


def _interval(share: Share) -> Interval:
    return Interval(share.value, share.low, share.high)
