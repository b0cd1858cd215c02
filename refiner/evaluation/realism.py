"""Realism metrics: distances of refined images to real images, on blocks of equal size.

Each metric has a reference (real images against other real images) and a baseline (unrefined renders). The reference
needs four groups of real images, such as people: two on each side, so that it has an interval.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from refiner.core.rng import derived_seed, numpy_generator
from refiner.evaluation.blocks import MIN_BLOCK_IMAGES, Blocks
from refiner.evaluation.measurement import Metric
from refiner.metrics.distances import diversity, kernel_distance, sliced_wasserstein, spectrum_distance
from refiner.metrics.intervals import CONFIDENCE, Interval, jackknife_interval, seed_interval
from refiner.metrics.memorization import copied
from refiner.metrics.two_sample import Share, classify, halves

MIN_GROUPS = 4
"""Smallest number of groups of real images at which real images are compared with each other."""

NEARER = ("sliced_wasserstein", "kernel")
"""Keys of the distances of which one must fall for a refiner to be nearer to the real images."""

NEARER_CONFIDENCE = 1 - (1 - CONFIDENCE) / len(NEARER)
"""Confidence of the gain of each of these distances. Any of them suffices, so each gets its share of the 5 %."""

Distance = Callable[[Tensor, Tensor, int], float]
"""Distance between two equally large sets. The integer is the block, from which random draws are seeded."""

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
        synthetic, refined: (N, C, H, W), in [-1, 1]; refined image i belongs to render i.
        real: (M, C, H, W), in [-1, 1].
        features: frozen network from (N, C, H, W) to (N, D), for the kernel distance.
        groups: person or day of each real image; None treats the images as independent.
        seed: seed of all random draws.

    Returns:
        The C2ST accuracy, the distances of :data:`NAMES`, the diversity, and the share of copied real images. Fewer
        than :data:`MIN_GROUPS` groups give no reference.

    Raises:
        DataError: there are too few images for an interval.
    """
    blocks = Blocks(synthetic, refined, real, groups, seed)
    described = [[features(block) for block in side] for side in (blocks.refined, blocks.synthetic, blocks.real)]
    pixels = [blocks.refined, blocks.synthetic, blocks.real]
    # Classify all images, and compare them block by block.
    metrics = [_c2st(synthetic, refined, real, groups, seed)]
    metrics.append(
        blockwise(
            "sliced_wasserstein",
            lambda one, other, block: sliced_wasserstein(one, other, seed=derived_seed(seed, "block", block)),
            pixels,
        )
    )
    metrics.append(blockwise("kernel", lambda one, other, block: kernel_distance(one, other), described))
    metrics.append(blockwise("spectrum", lambda one, other, block: spectrum_distance(one, other), pixels))
    metrics.append(_diversity(blocks))
    # Count refined images and, as a baseline, renders that are too close to a real image.
    share = copied(refined, real, groups=groups, seed=seed)
    baseline = copied(synthetic, real, groups=groups, seed=seed)
    metrics.append(
        Metric("copies", "copies of real images", "realism", "", _interval(share), baseline=_interval(baseline))
    )
    return metrics


def reference_note(metrics: Sequence[Metric], groups: Sequence[str] | None) -> list[str]:
    """Return the reason why metrics have no reference, as a list of sentences; empty if they have one."""
    if all(metric.reference is not None for metric in metrics if metric.ideal is not None):
        return []
    count = len(set(groups or ()))
    return [
        f"The reference (real images against other real images) is left out: it needs {MIN_GROUPS} groups of real "
        f"images, such as people, places or days, of at least {MIN_BLOCK_IMAGES} images each, and --real has {count} "
        "groups."
    ]


def blockwise(key: str, distance: Distance, sides: Sequence[Sequence[Tensor]]) -> Metric:
    """Measure one distance to real images, block by block; ``sides`` are refined, synthetic and real blocks."""
    refined, synthetic, real = sides

    def measure(some: Sequence[Tensor], others: Sequence[Tensor]) -> list[float]:
        return [distance(one, other, block) for block, (one, other) in enumerate(zip(some, others, strict=True))]

    value, baseline = measure(refined, real), measure(synthetic, real)
    gain = [high - low for high, low in zip(baseline, value, strict=True)]
    # Real blocks are compared in pairs that share no block, so that the reference has an interval of its own.
    first, second = _pairs(real)
    reference = seed_interval(measure(first, second)) if len(real) >= MIN_GROUPS else None
    confidence = NEARER_CONFIDENCE if key in NEARER else CONFIDENCE
    return Metric(
        key,
        NAMES[key],
        "realism",
        "",
        seed_interval(value),
        reference,
        seed_interval(baseline),
        seed_interval(gain, confidence=confidence),
        ideal=0.0,
    )


def _pairs(blocks: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return the first and the second block of each pair; an odd last block is left out."""
    count = len(blocks) // 2 * 2
    return blocks[0:count:2], blocks[1:count:2]


def _diversity(blocks: Blocks) -> Metric:
    """Measure the diversity of the refined images as a share of that of the real images.

    The diversity of a block of few people would be too low, so it is measured over all blocks.
    """
    value, baseline = (_jackknife(diversity, side, blocks.real) for side in (blocks.refined, blocks.synthetic))
    reference = _jackknife(diversity, *_pairs(blocks.real)) if len(blocks.real) >= MIN_GROUPS else None
    return Metric("diversity", "diversity relative to real images", "realism", "", value, reference, baseline)


def _jackknife(
    statistic: Callable[[Tensor, Tensor], float], some: Sequence[Tensor], others: Sequence[Tensor]
) -> Interval:
    """Return a statistic of two sets of blocks, with an interval by leaving out one block of both at a time."""
    without = [
        statistic(torch.cat([*some[:block], *some[block + 1 :]]), torch.cat([*others[:block], *others[block + 1 :]]))
        for block in range(len(some))
    ]
    return jackknife_interval(statistic(torch.cat(list(some)), torch.cat(list(others))), without)


def _c2st(synthetic: Tensor, refined: Tensor, real: Tensor, groups: Sequence[str] | None, seed: int) -> Metric:
    """Measure the C2ST accuracy; the reference compares two halves of the real images that share no group."""
    separate = partial(classify, seed=seed)
    value, baseline = (separate(images, real, groups=(None, groups)) for images in (refined, synthetic))
    # "photographs" is part of the random stream; do not change it.
    sides = halves(len(real), groups, numpy_generator(seed, "photographs"))
    names = [None if groups is None else [groups[number] for number in side.tolist()] for side in sides]
    reference = None
    if all(len(side) >= MIN_GROUPS and (of is None or len(set(of)) > 1) for side, of in zip(sides, names, strict=True)):
        first, second = (real[torch.from_numpy(side)] for side in sides)
        reference = _interval(separate(first, second, groups=(names[0], names[1])).share())
    return Metric(
        "c2st_accuracy",
        "C2ST accuracy",
        "realism",
        "",
        _interval(value.share()),
        reference,
        _interval(baseline.share()),
        baseline.gain(value),
        ideal=0.5,
    )


def _interval(share: Share) -> Interval:
    return Interval(share.value, share.low, share.high)
