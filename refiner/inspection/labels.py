"""What the labels of a data set are: how many, of what shape, between which values; no row of them is kept.

Gaze and head pose are (pitch, yaw) in radians, the pupil (x, y) in pixels; outlines are points in pixels.
"""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refiner.data.labels.records import Labels

ANGLES = ("gaze", "head_pose")
"""Labels that are (pitch, yaw)."""

MAX_VALUES = 1000
"""Different texts of one label that are counted; beyond it there are simply many."""

Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Range:
    """Where the numbers of one component of a label lie, in the label's unit.

    Attributes:
        name: ``pitch``, ``yaw``, ``x``, ``y``, or empty.
    """

    name: str
    lowest: float
    highest: float
    mean: float
    deviation: float


@dataclass(frozen=True)
class LabelFacts:
    """One label of a data set.

    Attributes:
        name: as in :data:`refiner.data.labels.records.Labels`.
        count: images that have it.
        shape: of one value, as in ``2`` or ``32x2``; ``varies`` when it does; empty for a single number or text.
        unit: ``rad``, ``px`` or empty.
        ranges: where the numbers lie, one for each component; empty for text.
        values: how many different texts there are, at most 1,000 of them counted; 0 for numbers.
        outside: images in which it lies outside the picture: the pupil, or more than half of an outline.
    """

    name: str
    count: int
    shape: str
    unit: str
    ranges: tuple[Range, ...] = ()
    values: int = 0
    outside: int = 0


@dataclass
class _Meter:
    """Sums over one label."""

    count: int = 0
    shapes: set[tuple[int, ...]] = field(default_factory=set)
    lowest: Values | None = None
    highest: Values | None = None
    total: Values | float = 0.0
    squares: Values | float = 0.0
    numbers: int = 0
    texts: Counter[str] = field(default_factory=Counter)
    outside: int = 0

    def add_numbers(self, value: Values) -> None:
        parts = (
            value.reshape(-1, value.shape[-1]) if value.shape and value.shape[-1] in (2, 3) else value.reshape(-1, 1)
        )
        if not len(parts) or (self.lowest is not None and len(self.lowest) != parts.shape[1]):
            return
        lowest, highest = parts.min(axis=0), parts.max(axis=0)
        self.lowest = lowest if self.lowest is None else np.minimum(self.lowest, lowest)
        self.highest = highest if self.highest is None else np.maximum(self.highest, highest)
        self.total = self.total + parts.sum(axis=0)
        self.squares = self.squares + (parts**2).sum(axis=0)
        self.numbers += len(parts)


class LabelMeter:
    """Gathers the labels of one image after the other.

    Attributes:
        angles: (pitch, yaw) of every image that has them, by label, as flat columns of single precision.
    """

    def __init__(self) -> None:
        self.angles = {name: array("f") for name in ANGLES}
        self._meters: dict[str, _Meter] = {}

    def add(self, labels: Labels, size: tuple[int, int]) -> None:
        """Take the labels of one image of (height, width) into account."""
        for name, value in labels.items():
            meter = self._meters.setdefault(name, _Meter())
            meter.count += 1
            numbers = as_numbers(value)
            if numbers is None:
                if len(meter.texts) < MAX_VALUES or str(value) in meter.texts:
                    meter.texts[str(value)] += 1
                continue
            meter.shapes.add(numbers.shape)
            meter.add_numbers(numbers)
            if is_in_pixels(name) and lies_outside(numbers, size):
                meter.outside += 1
            if name in ANGLES and numbers.shape == (2,):
                self.angles[name].extend(numbers.tolist())

    def pairs(self, name: str) -> Values:
        """(N, 2): pitch and yaw of the images that have that label."""
        return np.asarray(self.angles[name], np.float64).reshape(-1, 2)

    def result(self) -> dict[str, LabelFacts]:
        """What was gathered, by label."""
        return {name: _facts(name, meter) for name, meter in self._meters.items()}


def as_numbers(value: object) -> Values | None:
    """A label value as an array, numbers that stand as text in a table too; None for words."""
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return None
    return numbers if np.isfinite(numbers).all() else None


def is_in_pixels(name: str) -> bool:
    """Whether a label is a point or points of the image."""
    return name in ("pupil", "caruncle") or name.endswith("_outline")


def lies_outside(points: Values, size: tuple[int, int]) -> bool:
    """Whether more than half of the points (..., 2) lie outside an image of (height, width)."""
    if points.shape[-1:] != (2,):
        return False
    limits = np.array(size[::-1]) - 0.5  # centres of pixels are at whole numbers
    inside = ((points >= -0.5) & (points <= limits)).all(axis=-1)
    return bool(np.mean(inside) < 0.5)


def _facts(name: str, meter: _Meter) -> LabelFacts:
    unit = "rad" if name in ANGLES else "px" if is_in_pixels(name) else ""
    shapes = {"x".join(str(side) for side in shape) for shape in meter.shapes}
    ranges: tuple[Range, ...] = ()
    if meter.lowest is not None and meter.highest is not None and not meter.texts:
        mean = np.atleast_1d(meter.total) / meter.numbers
        deviation = np.sqrt(np.maximum(np.atleast_1d(meter.squares) / meter.numbers - mean**2, 0))
        names = _component_names(name, len(meter.lowest))
        columns = (meter.lowest, meter.highest, mean, deviation)
        ranges = tuple(Range(part, *(float(value) for value in row)) for part, *row in zip(names, *columns))
    return LabelFacts(
        name=name,
        count=meter.count,
        shape=shapes.pop() if len(shapes) == 1 else "varies" if shapes else "",
        unit=unit,
        ranges=ranges,
        values=len(meter.texts),
        outside=meter.outside,
    )


def _component_names(name: str, count: int) -> tuple[str, ...]:
    if name in ANGLES and count == 2:
        return "pitch", "yaw"
    return ("x", "y", "z")[:count] if 1 < count <= 3 else ("",) * count
