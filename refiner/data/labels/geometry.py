"""Labels that follow a geometric change of their image: flips, shifts, rotations and scales."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from refiner.core.errors import ImageError, UsageError
from refiner.data.labels.angles import to_angles, to_vectors
from refiner.data.labels.coordinate_columns import move_columns
from refiner.data.labels.coordinates import ANGLES, NOTHING_DECLARED, Change, Declared, array_kind, follow
from refiner.data.labels.records import Labels


def resize_labels(
    labels: Labels, change: Change, declared: Declared = NOTHING_DECLARED, *, sample: str = "the image"
) -> Labels:
    """Return the labels of an image after a crop and a resize; see :mod:`refiner.data.labels.coordinates`.

    Args:
        labels: labels of one image by name; not modified.
        change: the crop and the resize.
        declared: what the user says about labels whose names and shapes do not show what they are.
        sample: id of the image, for messages.

    Raises:
        UsageError: it is not certain whether a label moves.
        ImageError: a label of this image is incomplete or does not fit the image.
    """
    if not change.changes:
        return dict(labels)
    moved = dict(labels)
    try:
        for name, value in labels.items():
            if is_numeric(value):
                kind = array_kind(name, value, change.size, crops=change.crops, declared=declared)
                moved[name] = follow(name, value, kind, change)
        return moved | move_columns(labels, change, declared)
    except ValueError as error:
        raise ImageError(sample, str(error)) from error


def is_numeric(value: Any) -> bool:
    """Return whether a label value is an array of numbers."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"


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

    Text and single numbers are returned unchanged.

    Args:
        labels: labels of one image by name; not modified.
        matrix: (3, 3) on (x, y, 1): a shift, and a scale times a rotation, possibly mirrored.
        size: (height, width) of the image.

    Returns:
        The labels by the same names; floats keep their type, integer points become float64.

    Raises:
        ValueError: an array is none of these, so that it is not known how it moves.
    """
    # An image that did not move keeps its labels bit by bit.
    if np.array_equal(matrix, np.eye(3)):
        return dict(labels)
    linear = matrix[:2, :2]
    mirrors = bool(np.linalg.det(linear) < 0)
    moved = dict(labels)
    # Angles turn, masks are warped, and points follow the matrix.
    for name, value in labels.items():
        if name in ANGLES:
            moved[name] = _like(value, _turn(np.asarray(value, float), linear, mirrors))
        elif name == "mirrored":
            moved[name] = type(value)(not value) if mirrors else value
        elif name == "mask":
            # OpenCV cannot warp booleans.
            mask = np.asarray(value)
            plain = mask.astype(np.uint8) if mask.dtype == bool else mask
            warped = cv2.warpAffine(plain, matrix[:2], (size[1], size[0]), flags=cv2.INTER_NEAREST)
            moved[name] = warped.astype(mask.dtype)
        elif np.ndim(value) and _is_points(name, np.asarray(value), size):
            points = np.array(value, float)
            points[..., :2] = points[..., :2] @ linear.T + matrix[:2, 2]
            moved[name] = _like(value, points)
    return moved


def _is_points(name: str, value: NDArray[Any], size: tuple[int, ...]) -> bool:
    """Return whether an array holds points in pixels.

    Raises:
        ValueError: it holds other numbers, which may move with the image in another way.
    """
    if not is_numeric(value):
        return False
    try:
        points = array_kind(name, value, size, crops=True) == "points"
    except UsageError:
        points = False
    if not points and value.size > 1:
        shape = " x ".join(map(str, value.shape))
        raise ValueError(f"label {name} ({shape} numbers) cannot follow its image; leave it out, or give points (K, 2)")
    return points


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
