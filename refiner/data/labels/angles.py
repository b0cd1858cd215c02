"""Gaze as (pitch, yaw) in radians and as a unit vector, and the angle between two gazes.

Vectors are in the camera coordinates of the normalised eye patch: x right, y down, z away from the camera.
Positive pitch looks up; positive yaw looks to the image's left. With pitch p and yaw y the vector is
g = (-cos p sin y, -sin p, -cos p cos y).
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

Angles = np.ndarray[Any, np.dtype[np.float64]]
"""Arrays (..., 2), float64: pitch and yaw in radians."""

Vectors = np.ndarray[Any, np.dtype[np.float64]]
"""Arrays (..., 3), float64: unit vectors (x, y, z)."""


def to_vectors(angles: Angles) -> Vectors:
    """Return the unit gaze vectors (..., 3) of (pitch, yaw) in radians (..., 2)."""
    pitch, yaw = angles[..., 0], angles[..., 1]
    return np.stack([-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)], axis=-1)


def to_angles(vectors: Vectors) -> Angles:
    """Return (pitch, yaw) in radians (..., 2) of gaze vectors (..., 3) of any length but 0."""
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.stack([np.arcsin(np.clip(-unit[..., 1], -1, 1)), np.arctan2(-unit[..., 0], -unit[..., 2])], axis=-1)


def angular_error_degrees(first: Angles, second: Angles) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the angle between two gazes, in degrees.

    Args:
        first, second: (..., 2), pitch and yaw in radians.

    Returns:
        (...), float64, in [0, 180]; 0 if the gazes agree, never NaN for finite angles.
    """
    cosine = np.sum(to_vectors(np.asarray(first, float)) * to_vectors(np.asarray(second, float)), axis=-1)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


BEYOND_PI = "beyond pi"
"""Words in the message about angles that are not in radians."""

ANGLE_COLUMNS = ("gaze_pitch_rad", "gaze_yaw_rad", "gaze", "head_pitch_rad", "head_yaw_rad", "head_pose")
"""Columns of a table that hold angles in radians; ``gaze`` and ``head_pose`` hold two in a list."""


class RadiansCheck:
    """Search for angles that cannot be radians, row by row.

    One angle beyond pi makes the whole column doubtful: a column in degrees also holds small angles, which would pass
    for radians.

    Args:
        columns: names of the columns of a table; those in :data:`ANGLE_COLUMNS` are checked.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = [(number, name) for number, name in enumerate(columns) if name in ANGLE_COLUMNS]
        self._beyond: dict[str, tuple[int, float, int]] = {}  # rows beyond pi, the largest angle, the first line

    def see(self, row: Sequence[str], line: int) -> None:
        """Check one row of cells; cells that are no numbers are left to the reader of the row."""
        for number, name in self._columns:
            text = row[number] if number < len(row) else ""
            try:
                largest = float(np.abs(np.array(json.loads(text), float)).max()) if "[" in text else abs(float(text))
            except (ValueError, TypeError, OverflowError, RecursionError):
                continue
            if np.pi < largest < np.inf:
                count, before, first = self._beyond.get(name, (0, 0.0, line))
                self._beyond[name] = (count + 1, max(before, largest), first)

    @property
    def problem(self) -> str:
        """A sentence about the first column that is not in radians; empty if all are."""
        for name, (count, largest, line) in self._beyond.items():
            return not_radians(name, count, largest, f"line {line}")
        return ""


def check_radians(name: str, angles: Any) -> str:
    """Return a sentence if an array of angles, (N, 2), cannot be in radians; empty if it can. NaN is passed over."""
    largest = np.abs(np.asarray(angles, np.float64)).max(axis=-1, initial=0)
    beyond = np.flatnonzero((largest > np.pi) & (largest < np.inf))
    return not_radians(name, len(beyond), float(largest[beyond].max()), f"row {beyond[0]}") if len(beyond) else ""


def not_radians(name: str, count: int, largest: float, first: str) -> str:
    """Return the sentence about a column of angles that are not in radians."""
    return (
        f"{name} is {BEYOND_PI} in {count:,} row{'s' if count > 1 else ''}, up to {largest:.4g} and first in {first}, "
        "so it is not in radians; multiply degrees by pi / 180 (0.0174533), and correct rows that are wrong"
    )
