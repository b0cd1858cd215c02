"""Label drift of each object in an image: how far it moved, how much of it is left, and whether it vanished.

An object is cut out with a narrow margin and searched for in the refined image, by weighted cross-correlation over all
colour channels. Each channel is compared with its own mean. So light, contrast and tone of the image do not matter, but
an object that changes its colour against its surroundings is seen. Large objects are averaged down first, so that all
objects cost about the same.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from refiner.data.drift.object_windows import (
    Array,
    Window,
    extent_of,
    mask_of,
    visible_keypoints,
    weights_in,
    window_around,
)
from refiner.data.drift.scores import REACH, SCALE, TEXTURE
from refiner.data.labels.objects import ObjectLabel

LOST = 0.5
"""Share of its structure below which an object is not found again."""

VANISHED = 0.5
"""Share of its contrast below which an object that is not found again has vanished into its surroundings."""

VANISHED_SCORE = 2.0
"""Lowest score of a vanished object."""

KEYPOINT_RADIUS = 5
"""Half the side of a keypoint's neighbourhood, in pixels of an object whose shorter side is 36."""


class ObjectDrift(NamedTuple):
    """Label drift of one object; a high score means a doubtful label.

    Attributes:
        id: id of the object in its image.
        category: its class; empty if it has none.
        x, y: shift in pixels of the image; of the worst keypoint, if that is worse than the object as a whole. 0 if it
            vanished.
        score: length of the shift, in pixels of an object whose shorter side is 36 (or of the image, if the object is
            smaller), plus twice the loss of structure; at least :data:`VANISHED_SCORE` if it vanished.
        structure: share of its structure that is left, 0 to 1: the correlation at the best position.
        vanished: True if it is not found, and its contrast with its surroundings is gone.
        known: False if it is too small, outside the image, or has too little texture to be followed; the other values
            are then 0.
    """

    id: str
    category: str
    x: float = 0.0
    y: float = 0.0
    score: float = 0.0
    structure: float = 0.0
    vanished: bool = False
    known: bool = True

    @property
    def pixels(self) -> float:
        """Length of the shift, in pixels."""
        return math.hypot(self.x, self.y)

    @property
    def name(self) -> str:
        """Name of the object for messages."""
        return f"object {self.id}" + (f" ({self.category})" if self.category else "")

    def to_row(self) -> list[Any]:
        """Return the fields as a row of JSON; :meth:`from_row` restores them."""
        return list(self)

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> "ObjectDrift":
        """Build a drift from what :meth:`to_row` returned."""
        return cls(*row)

    def cells(self) -> dict[str, str]:
        """Return the cells of the object's row of ``drift.csv``, without the column ``file``."""
        found = {"object": self.id, "class": self.category, "known": str(int(self.known))}
        if not self.known:
            return found
        numbers = {"drift_px": self.pixels, "score": self.score, "structure": self.structure}
        found |= {name: f"{value:.3f}" for name, value in numbers.items()}
        return {**found, "vanished": str(int(self.vanished))}

    def values(self) -> dict[str, Any]:
        """Return what :meth:`cells` says as JSON."""
        numbers = {"drift_px": round(self.pixels, 4), "score": self.score, "structure": self.structure}
        known = {**numbers, "vanished": self.vanished} if self.known else {}
        return {"object": self.id, "class": self.category, "known": self.known, **known}

    def sentence(self) -> str:
        """Describe the drift in words, for the reason of a rejection."""
        if self.vanished:
            return f"{self.name} vanished against its surroundings"
        if self.structure < LOST:
            return f"{self.name} lost {1 - self.structure:.0%} of its structure"
        return f"{self.name} moved by about {self.pixels:.1f} px and lost {1 - self.structure:.0%} of its structure"


def score_objects(synthetic: Any, refined: Any, objects: Sequence[ObjectLabel]) -> list[ObjectDrift]:
    """Score the label drift of each object in an image.

    An object with a mask or polygons is weighted by them, one with a box by the box; its visible keypoints are followed
    as well, each with its neighbourhood.

    Args:
        synthetic, refined: the pair of images, (C, H, W), float32, in [-1, 1].
        objects: the objects of the image.

    Returns:
        One drift for each object, in order.
    """
    before, after = (np.asarray(image, np.float32) for image in (synthetic, refined))
    # Contrast that the whole image lost is no loss of an object; every fourth pixel shows it.
    spreads = [float(image[:, ::4, ::4].std()) for image in (before, after)]
    gain = spreads[1] / max(spreads[0], 1e-6)
    return [_score(before, after, each, gain) for each in objects]


def _score(before: Array, after: Array, label: ObjectLabel, gain: float) -> ObjectDrift:
    unknown = ObjectDrift(label.id, label.category, known=False)
    size = before.shape[1:]
    mask = mask_of(label, size)
    box = extent_of(label, mask, size)
    if box is None:
        return unknown
    scale = max(1.0, min(box[2] - box[0], box[3] - box[1]) / SCALE)
    # Follow the object as a whole, then its keypoints, and keep the worst.
    found = []
    if label.box is not None or label.polygons or mask is not None:
        window = window_around(box)
        weights = weights_in(label, mask, box, window) * window.inside(size)
        found.append(_follow(before, after, window, weights, gain))
    side = 2 * KEYPOINT_RADIUS + 1
    factor = max(1, round(scale))
    for x, y in visible_keypoints(label, size):
        left, top = (math.floor(at + 0.5 - side * factor / 2 + 0.5) for at in (x, y))
        window = Window(left, top, side, side, factor)
        found.append(_follow(before, after, window, window.inside(size), gain))
    known = [each for each in found if each is not None]
    if not known:
        return unknown
    drifts = [_drift(label, each, scale) for each in known]
    return max(drifts, key=lambda drift: drift.score)


class _Followed(NamedTuple):
    """A part of an image that was searched for: shift (x, y) in pixels, structure left, and whether it vanished."""

    x: float
    y: float
    structure: float
    vanished: bool


def _drift(label: ObjectLabel, found: _Followed, scale: float) -> ObjectDrift:
    score = math.hypot(found.x, found.y) / scale + 2 * (1 - found.structure)
    x, y = found.x, found.y
    if found.vanished:
        x, y, score = 0.0, 0.0, max(VANISHED_SCORE, 2 * (1 - found.structure))
    # Four decimals are enough, and equal wherever drift is recorded.
    x, y, score, structure = (round(value, 4) for value in (x, y, score, found.structure))
    return ObjectDrift(label.id, label.category, x, y, score, structure, found.vanished)


def _follow(before: Array, after: Array, window: Window, weights: Array, gain: float) -> _Followed | None:
    """Search for a weighted part in the refined image; None if it has too little texture."""
    total = float(weights.sum())
    if total <= 0:
        return None
    weights = weights / np.float32(total)
    # Subtract the weighted mean of each channel.
    part = window.cut(before)
    part -= np.einsum("hw,hwc->c", weights, part)
    spread = math.sqrt(float(np.einsum("hw,hwc->", weights, part**2)) / part.shape[2])
    if spread <= TEXTURE:
        return None
    # Compute the weighted correlation at every shift, over all channels.
    area = window.cut(after, REACH)
    products = _correlated(area, weights[..., None] * part)
    squares = _correlated(np.asarray(np.einsum("hwc,hwc->hw", area, area), np.float32), weights)
    for channel in range(area.shape[2]):
        squares -= _correlated(np.ascontiguousarray(area[..., channel]), weights) ** 2
    spreads = np.sqrt(np.maximum(squares / part.shape[2], 0))  # (7, 7), of the refined image
    agreement = products / (part.shape[2] * spread * np.maximum(spreads, 1e-3))
    row, column = divmod(int(agreement.argmax()), agreement.shape[1])
    structure = min(max(float(agreement[row, column]), 0.0), 1.0)
    # Compare the contrast that is left at the best position.
    contrast = float(spreads[row, column]) / (spread * max(gain, 1e-6))
    x = window.factor * (column - REACH + _peak(agreement[row].tolist(), column))
    y = window.factor * (row - REACH + _peak(agreement[:, column].tolist(), row))
    return _Followed(x, y, structure, structure < LOST and contrast < VANISHED)


def _peak(line: Sequence[float], at: int) -> float:
    """Return the offset of the peak of a parabola through the best value of a line and its neighbours."""
    if not 0 < at < len(line) - 1:
        return 0.0
    left, centre, right = line[at - 1 : at + 2]
    curvature = left - 2 * centre + right
    return min(max(0.5 * (left - right) / curvature, -0.5), 0.5) if curvature < 0 else 0.0


def _correlated(area: Array, template: Array) -> Array:
    return np.asarray(cv2.matchTemplate(area, template, cv2.TM_CCORR), np.float32)
