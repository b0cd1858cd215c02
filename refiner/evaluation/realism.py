"""Realism metrics: distances of refined images to real images, on blocks of equal size.

Each metric has a reference (real images against other real images) and a baseline (unrefined renders).
"""

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
"""Number of disjoint blocks that the samples are cut into; intervals are taken over blocks."""

MIN_BLOCK_IMAGES = 8
"""Smallest number of images in a block."""

Distance = Callable[[Tensor, Tensor, int], float]
"""Distance between two equally large sets of images. The integer is the block, from which random draws are seeded."""

NAMES = {
    "sliced_wasserstein": "sliced Wasserstein distance",
    "kernel": "kernel distance of features",
    "spectrum": "spectrum distance",
}
"""Names of the distances to real images, by key."""


def measure_realism(
    synthetic: Tensor,
    refined: Tensor,
    real: Tensor,
    *,
    features: Callable[[Tensor], Tensor],
    groups: Sequence[str] | None,
    seed: int,
) -> list[Metric]:
    """Measure all realism metrics.

    Args:
        synthetic, refined: (N, 1, H, W), in [-1, 1]; refined image i belongs to render i.
        real: (M, 1, H, W), in [-1, 1].
        features: frozen network from (N, 1, H, W) to (N, D), for the kernel distance.
        groups: person or day of each real image; None treats the images as independent.
        seed: seed of all random draws.

    Returns:
        The C2ST accuracy, the distances of :data:`NAMES`, the diversity, and the share of copied real images.

    Raises:
        DataError: there are too few images for an interval.
    """
    distances: dict[str, Distance] = {
        "sliced_wasserstein": lambda one, other, block: sliced_wasserstein(
            one, other, seed=derived_seed(seed, "block", block)
        ),
        "kernel": lambda one, other, block: kernel_distance(features(one), features(other)),
        "spectrum": lambda one, other, block: spectrum_distance(one, other),
    }
    # Compare blocks of images, and classify all of them.
    blocks = _Blocks(synthetic, refined, real, groups, seed)
    metrics = [_c2st(synthetic, refined, real, groups, seed)]
    metrics += [_blockwise(key, distance, blocks) for key, distance in distances.items()]
    metrics.append(_diversity(blocks))
    # Count refined images and, as a baseline, renders that are too close to a real image.
    share = copied(refined, real, groups=groups, seed=seed)
    baseline = copied(synthetic, real, groups=groups, seed=seed)
    metrics.append(
        Metric("copies", "copies of real images", "realism", "", _interval(share), baseline=_interval(baseline))
    )
    return metrics


class _Blocks:
    """Blocks of equal size: two disjoint halves of the real images, and renders paired with refined images."""

    def __init__(
        self, synthetic: Tensor, refined: Tensor, real: Tensor, groups: Sequence[str] | None, seed: int
    ) -> None:
        # Split the real images in two: one half to compare with, the other for the reference. "photographs" and
        # "renders" are part of the random stream; do not change them.
        first, second = (
            real[torch.from_numpy(half)] for half in halves(len(real), groups, numpy_generator(seed, "photographs"))
        )
        size = min(len(first), len(second), len(synthetic)) // BLOCKS
        if size < MIN_BLOCK_IMAGES:
            needed = BLOCKS * MIN_BLOCK_IMAGES
            raise DataError(
                f"{len(synthetic)} renders and {len(real)} real images are too few for an interval; give at least "
                f"{needed} renders and {2 * needed} real images"
            )
        # Renders and refined images share one order, so that they stay pairs.
        order = torch.from_numpy(numpy_generator(seed, "renders").permutation(len(synthetic)))
        self.other_real, self.real = (self._cut(half, size) for half in (first, second))
        self.synthetic, self.refined = (self._cut(images[order], size) for images in (synthetic, refined))

    @staticmethod
    def _cut(images: Tensor, size: int) -> Sequence[Tensor]:
        blocks: Sequence[Tensor] = images[: BLOCKS * size].split(size)
        return blocks


def _blockwise(key: str, distance: Distance, blocks: _Blocks) -> Metric:
    """Measure one distance to real images, block by block."""
    refined, reference, baseline = (
        [distance(one, other, block) for block, (one, other) in enumerate(zip(side, blocks.real, strict=True))]
        for side in (blocks.refined, blocks.other_real, blocks.synthetic)
    )
    gain = [high - low for high, low in zip(baseline, refined, strict=True)]
    return Metric(key, NAMES[key], "realism", "", *map(seed_interval, (refined, reference, baseline, gain)))


def _diversity(blocks: _Blocks) -> Metric:
    """Measure the diversity of the refined images as a share of that of the real images."""
    values, reference, baseline = (
        [diversity(one, other) for one, other in zip(side, blocks.real, strict=True)]
        for side in (blocks.refined, blocks.other_real, blocks.synthetic)
    )
    name = "diversity relative to real images"
    return Metric("diversity", name, "realism", "", *map(seed_interval, (values, reference, baseline)))


def _c2st(synthetic: Tensor, refined: Tensor, real: Tensor, groups: Sequence[str] | None, seed: int) -> Metric:
    """Measure the C2ST accuracy; the reference compares two halves of the real images that share no group."""
    accuracy = partial(c2st_accuracy, seed=seed)
    # "photographs" is part of the random stream; do not change it.
    first, second = (torch.from_numpy(half) for half in halves(len(real), groups, numpy_generator(seed, "photographs")))
    names = None if groups is None else [[groups[number] for number in half.tolist()] for half in (first, second)]
    value, baseline = (accuracy(images, real, groups=(None, groups)) for images in (refined, synthetic))
    sides = (None, None) if names is None else (names[0], names[1])
    reference = accuracy(real[first], real[second], groups=sides)
    return Metric("c2st_accuracy", "C2ST accuracy", "realism", "", *map(_interval, (value, reference, baseline)))


def _interval(share: Share) -> Interval:
    return Interval(share.value, share.low, share.high)
