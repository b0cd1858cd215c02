"""Interface of the heads: small networks, each for one kind of label, with the measures of their errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

from refiner.data.labels.objects import AnnotationInfo
from refiner.evaluation.samples import Original

Sums = np.ndarray[Any, np.dtype[np.float64]]
"""(..., F), sums over images."""

MAX_SIDE = 96
"""Longer side, in pixels, above which images are made smaller for a head."""

MIN_TRAINED = 64
"""Smallest number of labelled renders to train a head on."""

MIN_TESTED = 16
"""Smallest number of labelled real images to test a head on."""


class Measure(NamedTuple):
    """A measure of how well a head predicts labels.

    Attributes:
        key: short name; the first measure of a head is the one that the verdict looks up.
        name: description in a few words.
        unit: unit of the values.
        rises: True if a higher value is better.
        statistic: function from sums over images, (..., F), to values, (...).
        constant: value of the best constant prediction.
    """

    key: str
    name: str
    unit: str
    rises: bool
    statistic: Callable[[Sums], Sums]
    constant: float


class Head(Protocol):
    """A kind of small network for one kind of label."""

    @property
    def steps(self) -> int:
        """Number of updates."""

    @property
    def batch_size(self) -> int:
        """Number of images of an update."""

    def build(self, size: tuple[int, int], channels: int) -> nn.Module:
        """Build the network for images of (height, width)."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of outputs."""

    def outcomes(self, outputs: Tensor, targets: Tensor) -> Sums:
        """Return what each image adds to the sums of the measures, (N, F)."""

    def measures(self, trained: Tensor, tested: Tensor) -> Sequence[Measure]:
        """Return the measures.

        Args:
            trained, tested: targets of the renders and of the real images.
        """


@dataclass(frozen=True)
class Labelled:
    """Labels of some images, as their data set has them.

    Attributes:
        where: name of the data set in messages.
        rows: labels and size of each image.
        info: facts about annotated objects; None if there are none.
    """

    where: str
    rows: Sequence[Original]
    info: AnnotationInfo | None = None


@dataclass(frozen=True)
class Shared:
    """Labels that the renders and the labelled real images share.

    Attributes:
        task: kind of the labels, such as ``points``.
        about: the labels in a few words.
        head: the head that learns them.
        raw, refined: (N, ...), targets of the pairs in ``pairs``. They differ if refining dropped objects.
        real: (M, ...), targets of the real images in ``tested``.
        pairs, tested: numbers of the images whose labels can be used.
        notes: full sentences on labels that are not used.
    """

    task: str
    about: str
    head: Head
    raw: Tensor
    refined: Tensor
    real: Tensor
    pairs: Sequence[int]
    tested: Sequence[int]
    notes: list[str] = field(default_factory=list)


class UnfitError(Exception):
    """Labels that cannot test a refiner in some way; the message is a clause that says why."""


def check_counts(trained: int, tested: int, renders: Labelled, real: Labelled, what: str) -> None:
    """Refuse too few labelled images.

    Raises:
        UnfitError: there are fewer than :data:`MIN_TRAINED` renders or :data:`MIN_TESTED` real images.
    """
    for count, least, side in ((trained, MIN_TRAINED, renders), (tested, MIN_TESTED, real)):
        if count < least:
            raise UnfitError(
                f"{count} of {len(side.rows):,} images of {side.where} have {what}, but {least} are needed"
            )
