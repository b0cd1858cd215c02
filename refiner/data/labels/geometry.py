"""Labels that follow a geometric change of their image: flips, shifts, rotations and scales."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from refiner.data.labels.angles import to_angles, to_vectors
from refiner.data.labels.records import Labels


def keeps_angles(matrix: NDArray[np.float64]) -> bool:
    """Return whether the linear part of a (3, 3) matrix is a scale times a rotation, possibly mirrored."""
    linear = matrix[:2, :2]
    scale = abs(np.linalg.det(linear))
    return bool(np.allclose(linear @ linear.T, scale * np.eye(2), atol=1e-6 * scale))


def move_labels(labels: Labels, matrix: NDArray[np.float64], size: tuple[int, ...]) -> Labels:
    """Return the labels of an image after its points were moved.

    - Points: ``pupil`` (2,), ``joints`` (K, 2 or more) and any array (K, 2), in pixels, with the centre of the
      top-left pixel at (0, 0). Only x and y of joints move. The order of points stays.
    - ``gaze`` and ``head_pose``: (pitch, yaw) in radians. They follow flips and rotations, not shifts and scales.
    - ``mask`` (H, W): warped with nearest neighbours and filled with zeros.
    - ``mirrored``: toggled by a mirror image.

    Other labels are returned unchanged.

    Args:
        labels: labels of one image by name; not modified.
        matrix: (3, 3) on (x, y, 1): a shift, and a scale times a rotation, possibly mirrored.
        size: (height, width) of the image.

    Returns:
        The labels by the same names; floats keep their type, integer points become float64.
    """
    # An image that did not move keeps its labels bit by bit.
    if np.array_equal(matrix, np.eye(3)):
        return dict(labels)
    linear = matrix[:2, :2]
    mirrors = bool(np.linalg.det(linear) < 0)
    moved = dict(labels)
    # Angles turn, masks are warped, and points follow the matrix.
    for name, value in labels.items():
        if name in ("gaze", "head_pose"):
            moved[name] = _like(value, _turn(np.asarray(value, float), linear, mirrors))
        elif name == "mirrored":
            moved[name] = type(value)(not value) if mirrors else value
        elif name == "mask":
            # OpenCV cannot warp booleans.
            mask = np.asarray(value)
            plain = mask.astype(np.uint8) if mask.dtype == bool else mask
            warped = cv2.warpAffine(plain, matrix[:2], (size[1], size[0]), flags=cv2.INTER_NEAREST)
            moved[name] = warped.astype(mask.dtype)
        elif name in ("pupil", "joints") or (np.ndim(value) == 2 and np.shape(value)[1] == 2):
            points = np.array(value, float)
            points[..., :2] = points[..., :2] @ linear.T + matrix[:2, 2]
            moved[name] = _like(value, points)
    return moved


def _turn(angles: NDArray[np.float64], linear: NDArray[np.float64], mirrors: bool) -> NDArray[np.float64]:
    """(pitch, yaw) after a rotation of the image plane: x and y of the direction turn with it, z stays.

    The same rule holds for gaze and head pose, since their vectors differ only in sign.
    """
    # Flip first, by the sign of yaw.
    flip = np.diag([-1.0 if mirrors else 1.0, 1.0])
    angles = angles * [1, flip[0, 0]]
    # Then rotate the vector. A pure flip returns above this, so that two flips restore the angles exactly.
    rotation = linear @ flip / np.sqrt(abs(np.linalg.det(linear)))
    if np.allclose(rotation, np.eye(2), rtol=0, atol=1e-12):
        return angles
    vector = to_vectors(angles)
    vector[:2] = rotation @ vector[:2]
    return to_angles(vector)


def _like(value: Any, moved: NDArray[np.float64]) -> NDArray[Any]:
    """Moved values in the float type of the original; integers become float64."""
    dtype = np.asarray(value).dtype
    return moved.astype(dtype) if np.issubdtype(dtype, np.floating) else moved
