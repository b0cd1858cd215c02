"""Facts about the labels of a data set: count, shape and range of each. No single label is kept, except angles.

Gaze and head pose are (pitch, yaw) in radians. The pupil is (x, y) in pixels, and outlines are points in pixels.
"""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refiner.data.labels.objects import ImageAnnotations
from refiner.data.labels.records import Labels

ANGLES = ("gaze", "head_pose")
"""Names of labels that are (pitch, yaw) in radians."""

MAX_VALUES = 1000
"""Largest number of different texts of one label that are counted."""

Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Range:
    """Statistics of one component of a label, in the unit of the label.

    Attributes:
        name: ``pitch``, ``yaw``, ``x``, ``y``, ``z`` or empty.
        lowest, highest: extreme values.
        mean, deviation: mean and standard deviation.
    """

    name: str
    lowest: float
    highest: float
    mean: float
    deviation: float


@dataclass(frozen=True)
class LabelFacts:
    """Facts about one label of a data set.

    Attributes:
        name: name of the label, as in :data:`refiner.data.labels.records.Labels`.
        count: number of images that have the label.
        shape: shape of one value, such as ``2`` or ``32x2``; ``varies`` if it differs; empty for a number or a text.
        unit: ``rad``, ``px`` or empty.
        ranges: statistics of each component; empty for texts.
        values: number of different texts, counted up to :data:`MAX_VALUES`; 0 for numbers.
        outside: number of images in which the pupil, or more than half of an outline, is outside the image.
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
    """Sums over the values of one label."""

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
        rows = value.reshape(-1, value.shape[-1]) if value.shape and value.shape[-1] in (2, 3) else value.reshape(-1, 1)
        if not len(rows) or (self.lowest is not None and len(self.lowest) != rows.shape[1]):
            return
        lowest, highest = rows.min(axis=0), rows.max(axis=0)
        self.lowest = lowest if self.lowest is None else np.minimum(self.lowest, lowest)
        self.highest = highest if self.highest is None else np.maximum(self.highest, highest)
        self.total = self.total + rows.sum(axis=0)
        self.squares = self.squares + (rows**2).sum(axis=0)
        self.numbers += len(rows)


class LabelMeter:
    """Collect the labels of one image after the other.

    Attributes:
        angles: pitch and yaw in turn, for each label of :data:`ANGLES`, in single precision.
    """

    def __init__(self) -> None:
        self.angles = {name: array("f") for name in ANGLES}
        self._meters: dict[str, _Meter] = {}

    def add(self, labels: Labels, size: tuple[int, int]) -> None:
        """Add the labels of one image with the size (height, width)."""
        for name, value in labels.items():
            if isinstance(value, ImageAnnotations):  # the business of refiner.inspection.objects
                continue
            meter = self._meters.setdefault(name, _Meter())
            meter.count += 1
            numbers = as_numbers(value)
            # Texts are counted; numbers are summed up.
            if numbers is None:
                if len(meter.texts) < MAX_VALUES or str(value) in meter.texts:
                    meter.texts[str(value)] += 1
                continue
            meter.shapes.add(numbers.shape)
            meter.add_numbers(numbers)
            # Points are checked against the image, and angles are kept.
            if is_in_pixels(name) and are_outside(numbers, size):
                meter.outside += 1
            if name in ANGLES and numbers.shape == (2,):
                self.angles[name].extend(numbers.tolist())

    def pairs(self, name: str) -> Values:
        """Return pitch and yaw of the images that have a label, (N, 2)."""
        return np.asarray(self.angles[name], np.float64).reshape(-1, 2)

    def result(self) -> dict[str, LabelFacts]:
        """Return the facts about each label, by its name."""
        return {name: _facts(name, meter) for name, meter in self._meters.items()}


def as_numbers(value: object) -> Values | None:
    """Convert a label value, or its text, to an array; None if it is not numeric or not finite."""
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return None
    return numbers if np.isfinite(numbers).all() else None


def is_in_pixels(name: str) -> bool:
    """True if a label holds one or more points in pixels of the image."""
    return name in ("pupil", "caruncle") or name.endswith("_outline")


def are_outside(points: Values, size: tuple[int, int]) -> bool:
    """True if more than half of the points (..., 2) are outside an image of (height, width)."""
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
