"""Classifier two-sample test (C2ST): the accuracy of a small network that separates two sets of images.

An accuracy of 1/2 means that the network finds no difference between the sets.

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
    """Share of images with its 95 % Wilson interval.

    Attributes:
        value: the share, from 0 to 1.
        low, high: bounds of the interval.
        images: number of images in total.
    """

    value: float
    low: float
    high: float
    images: int

    @classmethod
    def of(cls, successes: int, count: int) -> "Share":
        """Compute the share of successes among ``count`` images, at least one."""
        low, high = stats.binomtest(successes, count).proportion_ci(method="wilson")
        return cls(successes / count, float(low), float(high), count)

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
    """C2ST accuracy: the share of test images that a small network assigns to the right set.

    The network is trained on one half of each set and tested on the other half.

    Args:
        first, second: (N, 1, H, W) and (M, 1, H, W), in [-1, 1].
        seed: seed of the halves and of the network.
        groups: person or day of each image of both sets. No group is in both halves, so that the network cannot
            recognise people from training.
        images: largest number of images of each set.
        steps: number of updates of the network.

    Returns:
        The accuracy. 1/2 is chance, since both sets have the same number of test images; 1 means that the sets are
        easy to distinguish.

    Raises:
        ValueError: a set has fewer than four images, or only one group.
    """
    rng = numpy_generator(seed, "two-sample")
    # Split each set into training and test images, and use equally many images of both sets.
    splits = [halves(len(samples), names, rng) for samples, names in zip((first, second), groups, strict=True)]
    train, test = (
        [samples[torch.from_numpy(split[half])] for samples, split in zip((first, second), splits, strict=True)]
        for half in (0, 1)
    )
    train, test = (_equal_counts(sets, images // 2) for sets in (train, test))
    # Train the classifier on targets of -1 and 1, and count correct signs on the test images.
    targets = np.repeat([-1.0, 1.0], len(train[0]))
    network = fit_regressor(
        partial(SmallRegressor, outputs=1), torch.cat(train), targets[:, None], steps=steps, seed=seed
    )
    predictions = predict(network, torch.cat(test))[:, 0] > 0
    correct = int((predictions == (np.repeat([-1.0, 1.0], len(test[0])) > 0)).sum())
    return Share.of(correct, len(predictions))


def _equal_counts(sets: Sequence[Tensor], most: int) -> list[Tensor]:
    count = min(most, *map(len, sets))
    return [images[:count] for images in sets]


def halves(count: int, groups: Sequence[str] | None, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Split a data set into two random halves.

    Args:
        count: number of images.
        groups: person or day of each image. A group is never split. None puts each image into a group of its own.
        rng: random generator of the split and of the order.

    Returns:
        The indices of both halves, in random order.

    Raises:
        ValueError: there are fewer than four images, or only one group.
    """
    # Deal whole groups to the halves, so that no person is on both sides.
    names = np.arange(count) if groups is None else np.asarray(groups)
    order = rng.permutation(np.unique(names))
    if count < 4 or len(order) < 2:
        raise ValueError(
            f"{count} images of {len(order)} groups cannot be halved; expected at least four images of two groups"
        )
    first = np.isin(names, order[: len(order) // 2])
    # Shuffle the images, so that the first ones of a half are a random choice.
    shuffled = rng.permutation(count)
    return shuffled[first[shuffled]], shuffled[~first[shuffled]]
