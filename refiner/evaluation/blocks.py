"""Blocks of equal size that realism is measured on: whole people in each, so that intervals hold for other people."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from refiner.core.errors import DataError
from refiner.core.rng import numpy_generator
from refiner.metrics.two_sample import Indices

BLOCKS = 8
"""Largest number of disjoint blocks that the samples are cut into; intervals are taken over blocks."""

MIN_BLOCK_IMAGES = 8
"""Smallest number of images in a block."""


class Blocks:
    """Blocks of real images, each with as many renders and their refined images.

    No person is in two blocks. Blocks therefore differ as other people would, and intervals over them are honest.

    Args:
        synthetic, refined: (N, C, H, W), in [-1, 1]; refined image i belongs to render i.
        real: (M, C, H, W), in [-1, 1].
        groups: person or day of each real image; None treats the images as independent.
        seed: seed of the random order.

    Attributes:
        synthetic, refined, real: the blocks.
        are_whole: False if the people could not be kept whole, because too few of them have enough images.

    Raises:
        DataError: there are too few images for an interval.
    """

    def __init__(
        self, synthetic: Tensor, refined: Tensor, real: Tensor, groups: Sequence[str] | None, seed: int
    ) -> None:
        # "photographs" and "renders" are part of the random stream; do not change them.
        rng = numpy_generator(seed, "photographs")
        dealt = None if groups is None else deal(groups, rng)
        self.are_whole = groups is None or dealt is not None
        if dealt is None:
            dealt = np.array_split(rng.permutation(len(real)), BLOCKS)
        size = min(*(len(block) for block in dealt), len(synthetic) // len(dealt))
        if size < MIN_BLOCK_IMAGES:
            needed = BLOCKS * MIN_BLOCK_IMAGES
            raise DataError(
                f"{len(synthetic)} renders and {len(real)} real images are too few for an interval; give at least "
                f"{needed} of each"
            )
        # Renders and refined images share one order, so that they stay pairs.
        order = torch.from_numpy(numpy_generator(seed, "renders").permutation(len(synthetic)))
        self.real = [real[torch.from_numpy(block[:size])] for block in dealt]
        self.synthetic, self.refined = (
            list(images[order[: len(dealt) * size]].split(size)) for images in (synthetic, refined)
        )


def deal(groups: Sequence[str], rng: np.random.Generator) -> list[Indices] | None:
    """Deal whole groups to at most :data:`BLOCKS` blocks of similar size.

    Args:
        groups: group of each image.
        rng: random generator of the order.

    Returns:
        Indices of the images of each block, in random order; None if there are not two blocks of
        :data:`MIN_BLOCK_IMAGES`.
    """
    # The largest group goes first, and each group goes to the block that is the smallest so far.
    names, counts = np.unique(np.asarray(groups), return_counts=True)
    order = rng.permutation(len(names))
    order = order[np.argsort(-counts[order], kind="stable")]
    shuffled = rng.permutation(len(groups))
    for blocks in range(min(BLOCKS, len(names)), 1, -1):
        sizes, of_name = np.zeros(blocks, np.int64), np.empty(len(names), np.int64)
        for name in order:
            of_name[name] = sizes.argmin()
            sizes[of_name[name]] += counts[name]
        if sizes.min() >= MIN_BLOCK_IMAGES:
            of_image = of_name[np.searchsorted(names, np.asarray(groups))]
            return [shuffled[of_image[shuffled] == block] for block in range(blocks)]
    return None
