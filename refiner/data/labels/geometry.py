"""What becomes of labels when the points of their image are moved."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from refiner.data.labels.angles import to_angles, to_vectors
from refiner.data.labels.records import Labels


def keeps_angles(matrix: NDArray[np.float64]) -> bool:
    """Whether the linear part of a (3, 3) matrix is a scale times a rotation, or a mirror image of one."""
    linear = matrix[:2, :2]
    scale = abs(np.linalg.det(linear))
    return bool(np.allclose(linear @ linear.T, scale * np.eye(2), atol=1e-6 * scale))


def move_labels(labels: Labels, matrix: NDArray[np.float64], size: tuple[int, ...]) -> Labels:
    """Labels of an image whose points were moved.

    Points are ``pupil`` (2,), ``joints`` (K, 2 or more: only x and y move) and any array (K, 2), in pixels, the
    centre of the top-left pixel at (0, 0); their order stays. ``gaze`` and ``head_pose``, (pitch, yaw) in radians,
    follow flips and rotations, not shifts and scales. A ``mask`` (H, W) is moved by nearest neighbours, zeros coming
    in. A mirror image toggles ``mirrored`` where it is there. Other labels are returned as they are.

    Args:
        labels: by name, of one image; left as they are.
        matrix: (3, 3) on (x, y, 1): a shift, and a scale times a rotation or a mirror image of one.
        size: (height, width) of the image.
    """
    if np.array_equal(matrix, np.eye(3)):
        return dict(labels)
    linear = matrix[:2, :2]
    mirrors = bool(np.linalg.det(linear) < 0)
    moved = dict(labels)
    for name, value in labels.items():
        if name in ("gaze", "head_pose"):
            moved[name] = _like(value, _turn(np.asarray(value, float), linear, mirrors))
        elif name == "mirrored":
            moved[name] = type(value)(not value) if mirrors else value
        elif name == "mask":
            mask = np.asarray(value)
            plain = mask.astype(np.uint8) if mask.dtype == bool else mask
            warped = cv2.warpAffine(plain, matrix[:2], (size[1], size[0]), flags=cv2.INTER_NEAREST)
            moved[name] = warped.astype(mask.dtype)
        elif name == "pupil" or name == "joints" or (np.ndim(value) == 2 and np.shape(value)[1] == 2):
            points = np.array(value, float)
            points[..., :2] = points[..., :2] @ linear.T + matrix[:2, 2]
            moved[name] = _like(value, points)
    return moved


def _turn(angles: NDArray[np.float64], linear: NDArray[np.float64], mirrors: bool) -> NDArray[np.float64]:
    """(pitch, yaw) after the image plane was moved: (x, y) of the direction turns with it, z stays.

    Holds for gaze and for head pose alike: their vectors differ in sign alone.
    """
    flip = np.diag([-1.0 if mirrors else 1.0, 1.0])
    angles = angles * [1, flip[0, 0]]
    rotation = linear @ flip / np.sqrt(abs(np.linalg.det(linear)))
    if np.allclose(rotation, np.eye(2), rtol=0, atol=1e-12):
        return angles  # exact: a flip undoes a flip
    vector = to_vectors(angles)
    vector[:2] = rotation @ vector[:2]
    return to_angles(vector)


def _like(value: Any, moved: NDArray[np.float64]) -> NDArray[Any]:
    """Floats keep their precision; whole pixels become float64."""
    dtype = np.asarray(value).dtype
    return moved.astype(dtype) if np.issubdtype(dtype, np.floating) else moved
