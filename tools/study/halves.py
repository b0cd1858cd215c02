"""Halves of a target: the groups (days or people) that adaptation sees, and those that are tested on."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from refiner.core.errors import DataError
from refiner.core.rng import numpy_generator
from tools.study.configuration import Protocol

ALL, FIRST, SECOND = "all", "first", "second"
"""Parts of a target: everything, or one half of its groups."""


class Halves(NamedTuple):
    """The parts of a target that one seed uses.

    Attributes:
        seen: part that gives the unlabelled real images of adaptation.
        tested: part that is tested on.
        split: number of the division into halves.
    """

    seen: str
    tested: str
    split: int

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the split, empty for split 0, which the first studies had."""
        return {"split": self.split} if self.split else {}


def halves_of(seed: int, protocol: Protocol) -> Halves:
    """Return the parts that a seed uses. Inductive seeds 2k and 2k+1 use split k and swap its halves."""
    if protocol == "transductive":
        return Halves(ALL, ALL, 0)
    split, swapped = divmod(seed, 2)
    return Halves(SECOND, FIRST, split) if swapped else Halves(FIRST, SECOND, split)


def part_numbers(groups: Sequence[str], split: int = 0) -> dict[str, list[int]]:
    """Return the numbers of the images of each part.

    Args:
        groups: the day or the person of each image.
        split: 0 puts every other one of the sorted groups into the first half; any other number draws them at random.

    Raises:
        DataError: all images are of one group.
    """
    names = sorted(set(groups))
    if len(names) < 2:
        raise DataError(f"all images are of one group ({next(iter(names), None)!r}); expected several to halve them by")
    order = np.arange(len(names)) if split == 0 else numpy_generator(split, "halves").permutation(len(names))
    side = {names[number]: place % 2 for place, number in enumerate(order)}
    first, second = ([number for number, group in enumerate(groups) if side[group] == half] for half in (0, 1))
    return {ALL: list(range(len(groups))), FIRST: first, SECOND: second}
