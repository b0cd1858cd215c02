"""Comparison of the labels of a render with those of its refined image: numbers, texts, lists and annotated objects."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from refiner.data.drift.table import DROPPED_FILE
from refiner.data.labels.objects import ImageAnnotations, ObjectLabel
from refiner.data.labels.records import PAIRS

_TOLERANCE = 2e-3
"""Difference of two numbers that are the same: tables keep three decimals of arrays, and stores keep float32."""

_PAIR_TOLERANCE = 1e-5
"""The same for gaze, head pose and pupil, of which tables keep nine digits."""

_NOT_COMPARED = frozenset(["yolo_line"])
"""Fields of an object that repeat its place in another form."""


def same_label(name: str, first: Any, second: Any, *, drops: bool = False) -> bool:
    """Return whether two values of a label are the same, but for the digits that tables and stores keep.

    Args:
        name: name of the label.
        first, second: the values.
        drops: True if ``second`` may lack some of the objects of ``first``, as ``refine --drop-objects`` leaves it.
    """
    if isinstance(first, ImageAnnotations) and isinstance(second, ImageAnnotations):
        return _same_objects(first, second, drops=drops)
    return _same(first, second, _PAIR_TOLERANCE if name in PAIRS else _TOLERANCE)


def _same_objects(first: ImageAnnotations, second: ImageAnnotations, *, drops: bool) -> bool:
    """Return whether the objects are the same, in the same order. Ids may differ: some count the lines of a file."""
    if not drops and len(first.objects) != len(second.objects):
        return False
    left = iter(first.objects)
    return all(any(_same_object(each, other) for each in left) for other in second.objects)


def dropped_objects(first: ImageAnnotations, second: ImageAnnotations) -> tuple[int, ...]:
    """Return the numbers of the objects that the second lacks; the others are the same, in the same order."""
    left, missing = list(second.objects), []
    for number, each in enumerate(first.objects):
        if left and _same_object(each, left[0]):
            left.pop(0)
        else:
            missing.append(number)
    return tuple(missing)


def _same_object(first: ObjectLabel, second: ObjectLabel) -> bool:
    if first.category != second.category:
        return False
    places = ("box", "polygons", "mask", "keypoints")
    return all(_same(getattr(first, key), getattr(second, key), _TOLERANCE) for key in places) and all(
        _same(value, second.extra[key], _TOLERANCE)
        for key, value in first.extra.items()
        if key in second.extra and key not in _NOT_COMPARED
    )


def _same(first: Any, second: Any, tolerance: float) -> bool:
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return _same_arrays(np.asarray(first), np.asarray(second), tolerance)
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(_same(part, second[key], tolerance) for key, part in first.items())
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        pairs = zip(first, second, strict=False)
        return len(first) == len(second) and all(_same(one, other, tolerance) for one, other in pairs)
    if isinstance(first, int | float) and isinstance(second, int | float):
        both_nan = first != first and second != second
        return both_nan or math.isclose(first, second, rel_tol=1e-5, abs_tol=tolerance)
    if isinstance(first, str) and isinstance(second, str) and first != second:
        return _is_same_number(first, second)
    if isinstance(first, str) != isinstance(second, str):  # one data set holds the number, the other one its text
        return str(first) == str(second) or _is_same_number(str(first), str(second))
    return bool(first == second)


def _is_same_number(first: str, second: str) -> bool:
    """Return whether two texts are the same number, such as 0.5 and 0.50."""
    try:
        return float(first) == float(second)
    except ValueError:
        return False


def _same_arrays(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any], tolerance: float) -> bool:
    if first.dtype.kind not in "fiub" or second.dtype.kind not in "fiub":
        return first.shape == second.shape and bool((first == second).all())
    numbers = first.astype(np.float64), second.astype(np.float64)
    return first.shape == second.shape and np.allclose(*numbers, rtol=1e-5, atol=tolerance, equal_nan=True)


def lists_dropped(refined: Path) -> bool:
    """Return whether ``refine --drop-objects`` wrote a folder of refined images."""
    return refined.is_dir() and (refined / DROPPED_FILE).is_file()
