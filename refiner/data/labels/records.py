"""One labelled image, and its labels as the cells of a table.

Gaze and head pose are (pitch, yaw) in radians, the pupil (x, y) in pixels with the centre of the top-left pixel at
(0, 0). Each number of these has a column of its own. Arrays beyond these stand in one cell as JSON; other columns are
carried along.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refiner.core.errors import DataError
from refiner.images.io import Image

Labels = dict[str, Any]
"""Label values by name: ``gaze``, ``head_pose`` and ``pupil`` are float64 arrays (2,), outlines (K, 2) in pixels,
``subject`` is text, ``mirrored`` 0 or 1; further names are carried along."""

PAIRS = {
    "gaze": ("gaze_pitch_rad", "gaze_yaw_rad"),
    "head_pose": ("head_pitch_rad", "head_yaw_rad"),
    "pupil": ("pupil_x", "pupil_y"),
}
"""Labels of two numbers, and the columns they stand in."""


@dataclass(frozen=True)
class Record:
    """An image with what is known about it.

    Attributes:
        id: path relative to the root of its data set, with suffix.
        image: uint8 or uint16, (H, W), (H, W, 3) or (H, W, 4).
        labels: see :data:`Labels`; empty when there are none.
    """

    id: str
    image: Image
    labels: Labels = field(default_factory=dict)


def to_cells(labels: Labels) -> dict[str, str]:
    """Labels as the cells of a table row, by column."""
    cells: dict[str, str] = {}
    for name, value in labels.items():
        if name in PAIRS:
            cells.update(zip(PAIRS[name], (_number(part) for part in value), strict=True))
        elif isinstance(value, np.ndarray):
            cells[name] = json.dumps(np.round(value.astype(float), 3).tolist())
        else:
            value = int(value) if isinstance(value, bool | np.bool_) else value
            cells[name] = _number(value) if isinstance(value, float) else str(value)
    return cells


def _number(value: float) -> str:
    return f"{float(value):.9g}"


def from_cells(row: Mapping[str, str], where: str) -> Labels:
    """Labels from the cells of a table row; ``where`` is for messages.

    Raises:
        DataError: a cell is faulty.
    """
    labels: Labels = {}
    cells = {key: value for key, value in row.items() if key != "file" and value}
    for name, text in cells.items():
        if not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text):
            raise DataError(f"{where}: {name} is no UTF-8 text; save the table as UTF-8")
    for name, columns in PAIRS.items():
        found = [cells.pop(column) for column in columns if column in cells]
        if len(found) == 2:
            labels[name] = np.array([_finite(text, f"{where}: {name}") for text in found])
    for name, text in cells.items():
        if name in PAIRS:
            labels[name] = _pair(text, f"{where}: {name}")
        elif text.startswith("[") and name != "subject":
            labels[name] = _array(text, f"{where}: {name}")
        elif name == "mirrored":
            if text not in ("0", "1"):
                raise DataError(f"{where}: mirrored is {text!r}, expected 0 or 1")
            labels["mirrored"] = int(text)
        else:
            labels[name] = text
    return labels


def _array(text: str, where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        values = np.array(json.loads(text), float)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"{where} holds no JSON array of numbers") from error
    if not np.isfinite(values).all():
        raise DataError(f"{where} holds numbers that are not finite")
    return values


def _pair(text: str, where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = _array(text, where)
    if values.shape != (2,):
        raise DataError(f"{where} is {text[:40]!r}, expected two numbers, as in [0.1, -0.2]")
    return values


def _finite(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where} is {text!r}, expected a finite number")
    return value


def column_values(labels: Iterable[Labels], name: str) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """One label of many images as an array (N, ...), or None when any image lacks it."""
    values = [row.get(name) for row in labels]
    return None if not values or any(value is None for value in values) else np.array(values, np.float64)
