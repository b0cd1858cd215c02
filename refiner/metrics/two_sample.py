"""Can a small network tell two sets of images apart? The classifier two-sample test.

Source: Lopez-Paz and Oquab 2017, arXiv:1610.06545.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from refiner.core.rng import numpy_generator
from refiner.models.regressor import SmallRegressor, fit_regressor, predict

Indices = np.ndarray[Any, np.dtype[np.int64]]


class Share(NamedTuple):
    """A share of images with its 95 % Wilson interval.

    Attributes:
        value: hits over count.
        low, high: of the interval.
        images: that it is a share of.
    """

    value: float
    low: float
    high: float
    images: int

    @classmethod
    def of(cls, hits: int, count: int) -> "Share":
        """From counts, at least one image."""
        low, high = stats.binomtest(hits, count).proportion_ci(method="wilson")
        return cls(hits / count, float(low), float(high), count)

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


def c2st_accuracy(
    first: Tensor,
    second: Tensor,
    *,
    seed: int,
    groups: tuple[Sequence[str] | None, Sequence[str] | None] = (None, None),
    images: int = 2000,
    steps: int = 200,
) -> Share:
    """How many unseen images a small network, trained on half of two sets, assigns rightly.

    Args:
        first, second: (N, 1, H, W) and (M, 1, H, W), in [-1, 1].
        seed: of the halves and of the network.
        groups: people or days of each image; none is in both halves, so that nobody is told by a face seen in training.
        images: at most so many of each are used.
        steps: updates of the network.

    Returns:
        1/2 is chance, for both sides have equally many unseen images; 1 means that the sets look different.

    Raises:
        ValueError: fewer than four images, or one group alone.
    """
    rng = numpy_generator(seed, "two-sample")
    parts = [halves(len(some), names, rng) for some, names in zip((first, second), groups, strict=True)]
    known, unseen = (
        [some[torch.from_numpy(half[part])] for some, half in zip((first, second), parts, strict=True)]
        for part in (0, 1)
    )
    known, unseen = (_as_many(sides, images // 2) for sides in (known, unseen))
    sides = np.repeat([-1.0, 1.0], len(known[0]))
    network = fit_regressor(
        partial(SmallRegressor, outputs=1), torch.cat(known), sides[:, None], steps=steps, seed=seed
    )
    answers = predict(network, torch.cat(unseen))[:, 0] > 0
    hits = int((answers == (np.repeat([-1.0, 1.0], len(unseen[0])) > 0)).sum())
    return Share.of(hits, len(answers))


def _as_many(sides: Sequence[Tensor], most: int) -> list[Tensor]:
    count = min(most, *map(len, sides))
    return [side[:count] for side in sides]


def halves(count: int, groups: Sequence[str] | None, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Indices of two halves of a data set in random order.

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
