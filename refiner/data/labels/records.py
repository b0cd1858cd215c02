"""Records: one labelled image each, and the conversion of labels to and from the cells of a table.

Gaze and head pose are (pitch, yaw) in radians. The pupil is (x, y) in pixels, with the centre of the top-left pixel
at (0, 0). Each of these numbers has its own column. Any other array is one cell of JSON, and so are the objects in an
image. Other columns are kept as text.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refiner.core.errors import DataError
from refiner.data.labels.objects import JSON_START, OBJECTS, ImageAnnotations
from refiner.images.io import Image

Labels = dict[str, Any]
"""Label values by name.

``gaze`` and ``head_pose`` are float64 arrays (2,) in radians, ``pupil`` is a float64 array (2,) in pixels, outlines
are arrays (K, 2) in pixels, ``subject`` is text, ``mirrored`` is 0 or 1, and ``objects`` are
:class:`refiner.data.labels.objects.ImageAnnotations`. Other names are kept as they are.
"""

PAIRS = {
    "gaze": ("gaze_pitch_rad", "gaze_yaw_rad"),
    "head_pose": ("head_pitch_rad", "head_yaw_rad"),
    "pupil": ("pupil_x", "pupil_y"),
}
"""Names of the two columns of each label that is a pair of numbers."""


@dataclass(frozen=True)
class Record:
    """An image with its labels.

    Attributes:
        id: path relative to the root of its data set, with suffix and forward slashes.
        image: uint8 or uint16, (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA.
        labels: see :data:`Labels`; empty if there are none.
        profile: ICC colour profile of the image; empty if it has none.
    """

    id: str
    image: Image
    labels: Labels = field(default_factory=dict)
    profile: bytes = b""


def to_cells(labels: Labels) -> dict[str, str]:
    """Return labels as the cells of a table row, by column.

    Pairs are written with nine significant digits, other arrays as JSON that restores every number exactly. A missing
    number, NaN, is an empty cell or null.
    """
    cells: dict[str, str] = {}
    for name, value in labels.items():
        if name in PAIRS:
            cells.update(zip(PAIRS[name], (_number(part) for part in value), strict=True))
        elif isinstance(value, np.ndarray):
            numbers = value.astype(float).astype(object)
            numbers[value != value] = None  # NaN is no JSON
            cells[name] = json.dumps(numbers.tolist())
        elif isinstance(value, ImageAnnotations):
            cells[name] = value.to_json()
        else:
            value = int(value) if isinstance(value, bool | np.bool_) else value
            cells[name] = _number(value) if isinstance(value, float) else str(value)
    return cells


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{float(value):.9g}"


def from_cells(row: Mapping[str, str], where: str) -> Labels:
    """Return labels from the cells of a table row.

    Args:
        row: cells by column; empty cells and the column ``file`` are ignored.
        where: name of the row, for messages.

    Raises:
        DataError: a cell is not UTF-8 text, is not a finite number where one is expected, or is not a JSON array. Some
            numbers of an array may be missing, as null or NaN.
    """
    labels: Labels = {}
    cells = {key: value for key, value in row.items() if key != "file" and value}
    # Refuse bytes that were no UTF-8: they were read as surrogates.
    for name, text in cells.items():
        if not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text):
            raise DataError(f"{where}: {name} is not UTF-8 text; save the table as UTF-8")
    # Join the two columns of each pair; one without the other stays a column of its own.
    for name, columns in PAIRS.items():
        numbers = {column: _finite(cells[column], f"{where}: {name}") for column in columns if column in cells}
        if len(numbers) == len(columns):
            labels[name] = np.array(list(numbers.values()))
            cells = {column: text for column, text in cells.items() if column not in columns}
    # Read the other columns: objects, pairs in one cell, arrays, the flag, and text.
    for name, text in cells.items():
        if name == OBJECTS and text.startswith(JSON_START):
            labels[name] = ImageAnnotations.from_json(text, f"{where}: {name}")
        elif name in PAIRS:
            labels[name] = _pair(text, f"{where}: {name}")
        elif text.startswith("[") and name != "subject":
            labels[name] = _array(text, f"{where}: {name}")
        elif name == "mirrored":
            if text not in ("0", "1"):
                raise DataError(f"{where}: mirrored is {text!r}; expected 0 or 1")
            labels["mirrored"] = int(text)
        else:
            labels[name] = text
    return labels


_NUMBERS = re.compile(r"(?:[-+.\deE,\s\[\]]|null|NaN|Infinity)*", re.ASCII)
"""An array of numbers as JSON; true or "7" would become numbers in silence."""

_INEXACT = re.compile(r"(?<![.\d])\d{17,}(?![.\d])", re.ASCII)
"""Whole numbers that floating point does not hold exactly."""


def _array(text: str, where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        if not _NUMBERS.fullmatch(text):
            raise ValueError
        values = np.array(json.loads(text), float)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"{where} is not a JSON array of numbers") from error
    if np.isinf(values).any() or _INEXACT.search(text):
        raise DataError(f"{where} contains numbers that are infinite or too large to be kept exactly")
    return values


def _pair(text: str, where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = _array(text, where)
    if values.shape != (2,) or not np.isfinite(values).all():
        raise DataError(f"{where} is {text[:40]!r}; expected two numbers, as in [0.1, -0.2]")
    return values


def _finite(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where} is {text!r}; expected a finite number")
    return value


def column_values(labels: Iterable[Labels], name: str) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Return one label of many images as a float64 array (N, ...), or None if any image lacks it."""
    values = [row.get(name) for row in labels]
    return None if not values or any(value is None for value in values) else np.array(values, np.float64)
