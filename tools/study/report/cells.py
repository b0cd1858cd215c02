"""Errors by seed and group, and their intervals over seeds and groups together."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from refiner.metrics.intervals import Interval, crossed_interval

Cells = dict[tuple[int, str], "Cell"]
"""Errors by seed and group (day or person)."""


class Cell(NamedTuple):
    """The error of one seed on one group.

    Attributes:
        images: number of images.
        error: mean error in degrees.
    """

    images: int
    error: float


def error_cells(found: Mapping[int, dict[str, Any]], *, unbiased: bool) -> Cells:
    """Return the errors of each seed on each group that it was tested on.

    Args:
        found: metrics by seed, with their groups.
        unbiased: remove the bias of each seed over all its groups.
    """
    place = 2 if unbiased else 1
    return {
        (seed, group): Cell(values[0], values[place])
        for seed, entry in found.items()
        for group, values in entry["groups"].items()
    }


def has_cells(entry: dict[str, Any]) -> bool:
    """Check whether metrics hold errors of groups with and without the bias; those of the first studies do not."""
    groups = entry.get("groups", {})
    return bool(groups) and all(len(values) == 3 for values in groups.values())


def mean_error(cells: Cells) -> float:
    """Return the mean over all images."""
    return float(np.average([cell.error for cell in cells.values()], weights=[cell.images for cell in cells.values()]))


def cell_interval(cells: Cells) -> Interval:
    """Return the mean over all images, with its interval over seeds and groups."""
    errors, images = (np.array([cell[place] for cell in cells.values()], float) for place in (1, 0))
    return crossed_interval(errors, [group for _, group in cells], [str(seed) for seed, _ in cells], images)


def paired_cells(first: Cells, second: Cells) -> tuple[Cells, Cells]:
    """Return the differences of two variants on the seeds and groups of both, and the errors of the second there."""
    shared = [key for key in first if key in second]
    differences = {key: Cell(second[key].images, first[key].error - second[key].error) for key in shared}
    return differences, {key: second[key] for key in shared}
