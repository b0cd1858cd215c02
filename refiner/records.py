"""One labelled image, and the table in which labels stand beside a folder of images.

``labels.csv`` has a header row and one row per image, keyed by ``file``: the path below the folder, with
suffix. Gaze and head pose are (pitch, yaw) in radians, the pupil (x, y) in pixels with the centre of the
top-left pixel at (0, 0). Arrays beyond these stand in one cell as JSON; other columns are carried along.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from refiner.errors import DataError
from refiner.files import write_text
from refiner.image_files import Image

Labels = dict[str, Any]
"""Label values by name: ``gaze``, ``head_pose`` and ``pupil`` are float64 arrays (2,), outlines (K, 2) in pixels,
``subject`` is text, ``mirrored`` 0 or 1; further names are carried along."""

LABELS_FILE = "labels.csv"

REJECTED_FILE = "rejected.csv"

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


def write_labels(path: Path, labels: Mapping[str, Labels]) -> None:
    """Write a label table atomically.

    Args:
        path: the table, usually ``labels.csv`` in the folder of the images.
        labels: labels by sample id.
    """
    rows = [{"file": sample, **_cells(values)} for sample, values in labels.items()]
    write_table(path, list(dict.fromkeys(column for row in rows for column in row)) or ["file"], rows)


def write_rejected(path: Path, rejected: Iterable[tuple[str, str, str]]) -> None:
    """Write ``rejected.csv``: file, stage and reason of each input that was left out, sorted."""
    columns = ("file", "stage", "reason")
    write_table(path, columns, [dict(zip(columns, row, strict=True)) for row in sorted(rejected)])


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    """Write a CSV table with a header row atomically; a cell that a row lacks is empty."""
    stream = io.StringIO()
    # Before Python 3.13 a carriage return alone is not quoted, and would end the line when it is read.
    returns = any("\r" in cell for row in rows for cell in row.values())
    quoting: Literal[0, 1] = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n", quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, stream.getvalue())


def read_labels(path: Path) -> dict[str, Labels]:
    """Read a label table.

    Returns:
        Labels by sample id; a label whose cells are empty is left out.

    Raises:
        DataError: there is no column ``file``, a row has none or stands twice, or a number is none (NaN included).
    """
    labels: dict[str, Labels] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream)
            if "file" not in (rows.fieldnames or ()):
                raise DataError(f"{path}: has no column 'file'; expected a header row with file, gaze_pitch_rad, ...")
            for row in rows:
                sample = row["file"]
                if not sample:
                    raise DataError(f"{path}: line {rows.line_num}: has no file; expected a path below the folder")
                if sample in labels:
                    raise DataError(f"{path}: line {rows.line_num}: {sample} stands twice; keep one row per image")
                labels[sample] = _values(row, f"{path}: line {rows.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a CSV table ({error})") from error
    return labels


def _cells(labels: Labels) -> dict[str, str]:
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
    return f"{float(value):.7g}"


def _values(row: Mapping[str | None, Any], where: str) -> Labels:
    labels: Labels = {}
    cells = {key: value for key, value in row.items() if key not in (None, "file") and value not in (None, "")}
    for name, columns in PAIRS.items():
        found = [cells.pop(column) for column in columns if column in cells]
        if len(found) == 2:
            labels[name] = np.array([_finite(text, f"{where}: {name}") for text in found])
    for name, text in cells.items():
        if text.startswith("["):
            labels[str(name)] = _array(text, f"{where}: {name}")
        elif name == "mirrored":
            if text not in ("0", "1"):
                raise DataError(f"{where}: mirrored is {text!r}, expected 0 or 1")
            labels["mirrored"] = int(text)
        else:
            labels[str(name)] = text
    return labels


def _array(text: str, where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        values = np.array(json.loads(text), float)
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{where} holds no JSON array of numbers") from error
    if not np.isfinite(values).all():
        raise DataError(f"{where} holds numbers that are not finite")
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
