"""Gaze as (pitch, yaw) in radians and as a unit vector, and the angle between two gazes.

Vectors are in the camera coordinates of the normalised eye patch: x right, y down, z away from the camera.
Positive pitch looks up; positive yaw looks to the image's left. With pitch p and yaw y the vector is
g = (-cos p sin y, -sin p, -cos p cos y).
"""

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
