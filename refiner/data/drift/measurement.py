"""Measurement of label drift in pairs of images: of points, of annotated objects, of a mask, or of the whole image."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from refiner.data.drift.background import score_background
from refiner.data.drift.objects import ObjectDrift, score_objects
from refiner.data.drift.regions import MASK, PUPIL, UNKNOWN
from refiner.data.drift.scores import degrees_of_gaze, score_drift
from refiner.data.drift.table import LabelDrift
from refiner.data.labels.objects import OBJECTS
from refiner.data.labels.records import Labels


def measure_label_drift(before: Any, after: Any, watched: Sequence[Labels]) -> list[LabelDrift]:
    """Measure the label drift of pairs of images.

    Args:
        before, after: synthetic and refined images, (N, C, H, W), float32, in [-1, 1].
        watched: the points, the objects or the mask that must not move in each image, from
            :meth:`refiner.data.drift.regions.LabelRegion.watched`. An image with an empty entry is scored as a whole,
            and so is one of which nothing that is labelled can be followed; its drift is then unknown.

    Returns:
        One drift for each image, in order.
    """
    synthetic, refined = (np.asarray(planes, np.float32) for planes in (before, after))
    # Follow the objects of each image; one of which an object is known need not be scored as a whole.
    objects = [
        tuple(score_objects(one, other, row[OBJECTS])) if OBJECTS in row else None
        for one, other, row in zip(synthetic, refined, watched, strict=True)
    ]
    kinds = [next((kind for kind in row if kind != OBJECTS), None) for row in watched]
    settled = [
        kind is None and some is not None and any(each.known for each in some)
        for kind, some in zip(kinds, objects, strict=True)
    ]
    found: list[LabelDrift] = [_STILL] * len(watched)
    # Score images with the same kind of label together, in one registration.
    for kind in dict.fromkeys(kinds):
        numbers = [number for number, other in enumerate(kinds) if other == kind and not settled[number]]
        if not numbers:
            continue
        values = [] if kind is None else [watched[number][kind] for number in numbers]
        points = _stacked(values) if kind not in (None, MASK, UNKNOWN) else None
        mask = np.stack(values) if kind == MASK else None
        scores = score_drift(synthetic[numbers], refined[numbers], points=points, mask=mask)
        # A shift of a pupil is also an angle of gaze.
        lengths = np.hypot(scores.shifts[:, 0], scores.shifts[:, 1])
        degrees = degrees_of_gaze(lengths, synthetic.shape[3]).tolist() if kind == PUPIL else None
        for index, (number, (x, y)) in enumerate(zip(numbers, scores.shifts.tolist(), strict=True)):
            known = kind != UNKNOWN and bool(scores.known[index])
            angle = None if degrees is None or not known else degrees[index]
            found[number] = LabelDrift(x, y, angle, float(scores.scores[index]), known)
    # Join the drift of the objects to that of the points.
    for number, some in enumerate(objects):
        if some is not None:
            background = score_background(synthetic[number], refined[number], watched[number][OBJECTS])
            has_points = kinds[number] is not None
            found[number] = _joined(found[number], some, background, has_points=has_points)
    return found


_STILL = LabelDrift(0.0, 0.0, None, 0.0)


def _joined(base: LabelDrift, objects: tuple[ObjectDrift, ...], background: float, *, has_points: bool) -> LabelDrift:
    """Join the drift of the points of an image, or of the image as a whole, with that of its objects.

    Args:
        base: drift of the points or of the whole image; nothing moved if the objects alone count.
        objects: drift of each object.
        background: score of new structure outside the objects.
        has_points: True if ``base`` is that of points.
    """
    followed = [each for each in objects if each.known]
    # Points that cannot be followed do not count, and the whole image counts only if there is nothing else.
    counts = base.known if has_points else not followed
    rest = _largest([background, *([base.score] if counts else [])])
    score = _largest([rest, *(each.score for each in followed)])
    known = bool(followed) or (base.known if has_points else not objects)
    drift = base._replace(known=known, background=background, rest=rest, objects=objects, score=score)
    # The shift is that of the worst object, unless the points are worse.
    worst = max(followed, key=lambda each: each.score, default=None)
    if worst is None or (counts and base.score >= worst.score):
        return drift
    return drift._replace(x=worst.x, y=worst.y)


def _largest(scores: Sequence[float]) -> float:
    """Return the largest score; NaN if any is NaN, so that no limit passes it."""
    return float(np.max(scores))


def _stacked(points: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Points of each image as one array (N, K, 2), padded with NaN."""
    arrays = [np.asarray(values, np.float32).reshape(-1, 2) for values in points]
    stacked = np.full((len(arrays), max(map(len, arrays)), 2), np.nan, np.float32)
    for number, values in enumerate(arrays):
        stacked[number, : len(values)] = values
    return stacked
