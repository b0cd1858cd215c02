"""Classifier two-sample test (C2ST): the accuracy of a small network that separates two sets of images.

An accuracy of 1/2 means that the network finds no difference between the sets.

Source: Lopez-Paz and Oquab 2017, arXiv:1610.06545.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import special
from torch import Tensor

from refiner.core.rng import numpy_generator
from refiner.metrics.intervals import CONFIDENCE, Interval, Spread, add_spreads, cluster_spread
from refiner.models.regressor import SmallRegressor, fit_regressor, predict

Indices = np.ndarray[Any, np.dtype[np.int64]]
Correct = np.ndarray[Any, np.dtype[Any]]


MAX_PIXELS = 2**15
"""Largest number of pixels that the network sees of an image; of larger images it sees a window."""

WINDOW = (128, 160)
"""(height, width) of that window, at a random place."""


class Share(NamedTuple):
    """Share of images with its 95 % Wilson interval.

    Attributes:
        value: the share, from 0 to 1.
        low, high: bounds of the interval; 0 and 1 if there are too few people for one.
        images: number of images in total.
    """

    value: float
    low: float
    high: float
    images: int

    @classmethod
    def of(cls, successes: int, count: int, spread: Spread | None = None) -> "Share":
        """Compute the share of successes among ``count`` images, at least one.

        Args:
            successes: number of successes.
            count: number of images.
            spread: variance of the share if images are dependent; None takes them as independent. The interval is
                never narrower than that of independent images.

        Source:
            Korn and Graubard 1998, Survey Methodology 24: Wilson's interval of the effective number of images.
        """
        value, normal = successes / count, float(special.ndtri(0.5 + CONFIDENCE / 2))
        effective = float(count)
        if spread is not None and spread.variance > 0:
            half = spread.half_width()
            effective = min(effective, value * (1 - value) * (normal / half) ** 2 if np.isfinite(half) else 0.0)
        if effective == 0:
            return cls(value, 0.0, 1.0, count)
        squared = normal**2 / effective
        middle = (value + squared / 2) / (1 + squared)
        half = normal / (1 + squared) * np.sqrt(value * (1 - value) / effective + (squared / normal / 2) ** 2)
        return cls(value, max(0.0, float(middle - half)), min(1.0, float(middle + half)), count)

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


class Classified(NamedTuple):
    """Test images of both sets, with equally many of each.

    Attributes:
        correct: for each set, (N,), whether the network assigned the image to the right set.
        groups: for each set, person or day of the images; None if they are independent.
    """

    correct: tuple[Correct, Correct]
    groups: tuple[Sequence[str] | None, Sequence[str] | None]

    def share(self) -> Share:
        """Return the accuracy; its interval holds for other people."""
        right = np.concatenate(self.correct)
        return Share.of(int(right.sum()), len(right), _spread(self.correct, self.groups))

    def gain(self, other: "Classified") -> Interval:
        """Return how much lower the accuracy of the ``other`` first set is, on the same images of the second."""
        before, after = ([np.asarray(side, float) for side in found.correct] for found in (self, other))
        differences = before[0] - after[0], before[1] - after[1]
        mean, half = np.concatenate(differences).mean(), _spread(differences, self.groups).half_width()
        return Interval(float(mean), float(mean - half), float(mean + half))


def _spread(sides: Sequence[Correct], groups: Sequence[Sequence[str] | None]) -> Spread:
    """Variance of the mean over two sets of equal size, each of which has its own people."""
    spreads = [cluster_spread(np.asarray(side, float), names) for side, names in zip(sides, groups, strict=True)]
    return add_spreads([Spread(spread.variance / 4, spread.freedom) for spread in spreads])


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

    Args:
        first, second, seed, groups, images, steps: see :func:`classify`.

    Returns:
        The accuracy. 1/2 is chance, since both sets have the same number of test images; 1 means that the sets are
        easy to distinguish.

    Raises:
        ValueError: a set has fewer than four images, or only one group.
    """
    return classify(first, second, seed=seed, groups=groups, images=images, steps=steps).share()


def classify(
    first: Tensor,
    second: Tensor,
    *,
    seed: int,
    groups: tuple[Sequence[str] | None, Sequence[str] | None] = (None, None),
    images: int = 2000,
    steps: int = 200,
) -> Classified:
    """Train a small network on one half of each set, and classify the images of the other half.

    Of large images, the network sees a window at a random place: what refining changes shows at full resolution.

    Args:
        first, second: (N, C, H, W) and (M, C, H, W), in [-1, 1].
        seed: seed of the halves and of the network.
        groups: person or day of each image of both sets. No group is in both halves, so that the network cannot
            recognise people from training.
        images: largest number of images of each set.
        steps: number of updates of the network.

    Raises:
        ValueError: a set has fewer than four images, or only one group.
    """
    rng = numpy_generator(seed, "two-sample")
    # Split each set into training and test images, and use equally many images of both sets.
    splits = [halves(len(samples), names, rng) for samples, names in zip((first, second), groups, strict=True)]
    train, test = (
        [split[half][: min(images // 2, *(len(other[half]) for other in splits))] for split in splits]
        for half in (0, 1)
    )
    # Train the classifier on targets of -1 and 1, and count correct signs on the test images.
    streams = [numpy_generator(seed, "two-sample windows", side) for side in (0, 1)]
    sets = [_windows(images, stream) for images, stream in zip((first, second), streams, strict=True)]
    targets = np.repeat([-1.0, 1.0], len(train[0]))
    build = partial(SmallRegressor, outputs=1, channels=first.shape[1])
    network = fit_regressor(build, _joined(sets, train), targets[:, None], steps=steps, seed=seed)
    is_second = predict(network, _joined(sets, test))[:, 0] > 0
    size = len(test[0])
    names = [None if of is None else [of[number] for number in chosen] for of, chosen in zip(groups, test, strict=True)]
    return Classified((~is_second[:size], is_second[size:]), (names[0], names[1]))


def _joined(sets: Sequence[Tensor], chosen: Sequence[Indices]) -> Tensor:
    return torch.cat([images[torch.from_numpy(numbers)] for images, numbers in zip(sets, chosen, strict=True)])


def _windows(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Cut a window out of each image, if the images are large."""
    height, width = images.shape[2:]
    if height * width <= MAX_PIXELS:
        return images
    rows, columns = min(height, WINDOW[0]), min(width, WINDOW[1])
    tops = rng.integers(0, height - rows + 1, len(images)).tolist()
    lefts = rng.integers(0, width - columns + 1, len(images)).tolist()
    pairs = zip(images, tops, lefts, strict=True)
    return torch.stack([image[:, top : top + rows, left : left + columns] for image, top, left in pairs])


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
