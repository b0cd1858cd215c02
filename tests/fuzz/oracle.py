"""What a command should have written, by formulas of its own, and what is there, read without the package.

After a crop of the centre and a resize, the point (x, y) lies at ((x - left + 1/2) * scale - 1/2, ...), since pixel
centres are whole numbers. Images are planes, so their values show where the pixels went; see ``labelled.py``.
"""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from labelled import PAIRS, POINTS, SAME, XYWH, Label, Sample, read

LUMA = np.array([0.299, 0.587, 0.114])


class Change(NamedTuple):
    """What happens to each image: a crop of the centre, a resize, grey."""

    crop: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    grey: bool = False

    def corner(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return (top, left) of the crop."""
        return (0, 0) if self.crop is None else ((shape[0] - self.crop[0] + 1) // 2, (shape[1] - self.crop[1] + 1) // 2)

    def scale(self, shape: tuple[int, ...]) -> tuple[float, float]:
        """Return the factors of rows and columns."""
        cut = self.crop or (shape[0], shape[1])
        return (1.0, 1.0) if self.size is None else (self.size[0] / cut[0], self.size[1] / cut[1])

    @property
    def moves(self) -> bool:
        """True if pixels may have another place afterwards."""
        return self.crop is not None or self.size is not None

    def nearest(self, mask: np.ndarray[Any, Any], tie: float) -> np.ndarray[Any, Any]:
        """Return a mask after the change: each pixel has the value at its middle; ``tie`` decides between two."""
        (top, left), (down, across) = self.corner(mask.shape), self.scale(mask.shape)
        height, width = self.size or self.crop or mask.shape[:2]
        rows = np.floor((np.arange(height) + 0.5) / down + tie).astype(int) + top
        columns = np.floor((np.arange(width) + 0.5) / across + tie).astype(int) + left
        return mask[rows[:, None], columns]

    def point(self, x: float, y: float, shape: tuple[int, ...]) -> list[float]:
        """Return the new place of a point."""
        (top, left), (down, across) = self.corner(shape), self.scale(shape)
        return [(x - left + 0.5) * across - 0.5, (y - top + 0.5) * down - 0.5]


def expected(label: Label, value: Any, change: Change, shape: tuple[int, ...]) -> Any:
    """Return what a label should be after the change."""
    if value is None or label.kind == SAME:
        return value
    if label.kind == POINTS:
        rows = [[*change.point(row[0], row[1], shape), *row[2:]] for row in np.atleast_2d(value).tolist()]
        return rows if isinstance(value[0], list) else rows[0]
    x, y, right, bottom = value
    if label.kind == XYWH:
        down, across = change.scale(shape)
        return [*change.point(x, y, shape), right * across, bottom * down]
    return [*change.point(x, y, shape), *change.point(right, bottom, shape)]


def label_problem(label: Label, wanted: Any, found: Any, *, exact_text: bool = True) -> str | None:
    """Compare one label; ``found`` is None if it is missing."""
    if wanted is None or found is None:
        if wanted is None and (found is None or (isinstance(found, list) and np.isnan(np.array(found, float)).all())):
            return None
        return f"{label.name} is {found!r}, not {wanted!r}"
    if isinstance(wanted, str):
        same = found == wanted or (not exact_text and _as_number(found) == _as_number(wanted) is not None)
        return None if same else f"{label.name} is {found!r}, not {wanted!r}"
    try:
        values = np.array(found, float)
    except (TypeError, ValueError):
        return f"{label.name} is {found!r}, not {wanted!r}"
    if values.shape != np.shape(wanted):
        return f"{label.name} has the shape {values.shape}, not {np.shape(wanted)}"
    tolerance = 1e-8 if label.name in ("gaze", "head_pose") else 2e-3
    if not np.allclose(values, np.array(wanted, float), rtol=1e-8, atol=tolerance, equal_nan=True):
        return f"{label.name} is {values.tolist()}, not {np.round(wanted, 3).tolist()}"
    return None


def _as_number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def image_problem(sample: Sample, found: np.ndarray[Any, Any], change: Change, lossy: bool) -> str | None:
    """Compare an image with its plane, moved by the change."""
    before = sample.image
    if found.dtype != before.dtype:
        return f"its depth is {found.dtype}, not {before.dtype}"
    size = change.size or change.crop or before.shape[:2]
    if found.shape[:2] != size:
        return f"its size is {found.shape[:2]}, not {size}"
    level = np.iinfo(before.dtype).max / 255
    if change == Change() and not lossy:
        if found.shape == before.shape and np.array_equal(found, before):
            return None
        return f"its pixels changed: {before.shape} became {found.shape}"
    planes = _planes(before.astype(float), change.grey)
    values = _planes(found.astype(float), change.grey)
    if len(planes) != len(values):
        return f"it has {len(values)} channels, not {len(planes)}"
    return next(filter(None, (_plane_problem(*pair, change, level, lossy) for pair in zip(planes, values))), None)


def _planes(image: np.ndarray[Any, Any], grey: bool) -> list[np.ndarray[Any, Any]]:
    if image.ndim == 2:
        return [image]
    return [image[..., :3] @ LUMA] if grey else [image[..., channel] for channel in range(image.shape[2])]


def _plane_problem(
    before: np.ndarray[Any, Any], after: np.ndarray[Any, Any], change: Change, level: float, lossy: bool
) -> str | None:
    """Fit a plane to the original, predict the result, and compare the means of its quarters."""
    down, across, middle = _fit(before)
    (top, left), (rows, columns) = change.corner(before.shape), change.scale(before.shape)
    y = ((np.arange(after.shape[0]) + 0.5) / rows - 0.5 + top)[:, None]
    x = ((np.arange(after.shape[1]) + 0.5) / columns - 0.5 + left)[None]
    differences = after - (middle + down * y + across * x)
    halves = [slice(None, (side + 1) // 2) for side in after.shape], [slice(side // 2, None) for side in after.shape]
    worst = max(
        abs(differences[a, b].mean()) for a in (halves[0][0], halves[1][0]) for b in (halves[0][1], halves[1][1])
    )
    # Rounding and the frame of a cubic resize change the mean of a quarter by less than a level.
    limit = (3.0 if lossy else 1.2) + 0.15 * max(abs(down), abs(across)) / level
    return f"a quarter of it is {worst / level:.1f} levels off" if worst > limit * level else None


def _fit(plane: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    y, x = np.mgrid[: plane.shape[0], : plane.shape[1]]
    design = np.stack([y.ravel(), x.ravel(), np.ones(plane.size)], axis=1)
    down, across, middle = np.linalg.lstsq(design, plane.ravel(), rcond=None)[0]
    return float(down), float(across), float(middle)


class Found(NamedTuple):
    """One sample of a result; labels as texts or lists of numbers."""

    image: np.ndarray[Any, Any]
    labels: dict[str, Any]


def read_folder(root: Path, names: Iterator[str] | None = None) -> dict[str, Found]:
    """Read a folder of images with ``labels.csv``."""
    table: dict[str, dict[str, str]] = {}
    if (root / "labels.csv").exists():
        with (root / "labels.csv").open(encoding="utf-8", newline="") as stream:
            table = {row.pop("file"): row for row in csv.DictReader(stream)}
    files = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}
    images = {
        name: path
        for name, path in files.items()
        if not name.startswith(".refiner/") and path.suffix not in (".csv", ".json", ".txt", ".xml")
    }
    if strays := table.keys() - images.keys():
        raise ValueError(f"labels.csv names {sorted(strays)[:2]}, which are not there")
    return {name: Found(read(path), _from_cells(table.get(name, {}))) for name, path in images.items()}


def _from_cells(row: dict[str, str]) -> dict[str, Any]:
    labels: dict[str, Any] = {name: text for name, text in row.items() if text}
    for name, columns in PAIRS.items():
        if all(column in labels for column in columns):
            labels[name] = [float(labels.pop(column)) for column in columns]
    return {
        name: json.loads(text) if isinstance(text, str) and text.startswith("[") else text
        for name, text in labels.items()
    }


def read_store(path: Path) -> dict[str, Found]:
    """Read a store with h5py alone."""
    with h5py.File(path, "r", locking=False) as file:
        ids = [name.decode() for name in file["ids"][:]]
        columns = {name.replace("%2F", "/"): values[:] for name, values in file["labels"].items()}
        if "subjects" in file:
            columns["subject"] = file["subjects"][:]
        images = file["images"][:]
    found = {}
    for number, name in enumerate(ids):
        labels = {column: _plain(values[number]) for column, values in columns.items()}
        for pair, parts in PAIRS.items():
            if all(labels.get(part) is not None for part in parts):
                labels[pair] = [float(labels.pop(part)) for part in parts]
        image = images[number]
        found[name] = Found(image[..., 0] if image.shape[2] == 1 else image, labels)
    return found


def _plain(value: Any) -> Any:
    """Return a stored value as text or a list of numbers; None for a missing one."""
    if isinstance(value, bytes):
        text = value.decode()
        return (json.loads(text) if text.startswith("[") else text) if text else None
    if np.ndim(value):
        return value.tolist()
    return None if math.isnan(value) else repr(value.item())
