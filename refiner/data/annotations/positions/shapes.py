"""Boxes, outlines, masks and keypoints that follow a crop and a resize of their image, one at a time."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from refiner.data.annotations.positions.polygons import Points, clip_polygon
from refiner.data.annotations.positions.run_lengths import decode, encode, mask_size
from refiner.data.labels.coordinates import Change
from refiner.data.labels.objects import Box

DIGITS = 6
"""Decimals of moved coordinates: millionths of a pixel are enough."""


def move_box(box: Box, change: Change) -> Box | None:
    """Return a box after a crop and a resize; None if it is outside of the crop. Without a crop it is not cut.

    Raises:
        ValueError: its numbers are not four finite ones.
    """
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise ValueError(f"its box is {list(box)}; expected four finite numbers")
    corners = np.array([[box[0], box[1]], [box[0] + box[2], box[1] + box[3]]], np.float64) - _corner(change)
    if change.crops:
        size = np.array(change.crop[::-1], np.float64)
        # Touching the border is outside, but for boxes without extent.
        extent = corners[1] > corners[0]
        if np.where(extent, corners[1] <= 0, corners[1] < 0).any():
            return None
        if np.where(extent, corners[0] >= size, corners[0] > size).any():
            return None
        corners = np.clip(corners, 0, size)
    corners *= change.scale
    (left, top), (right, bottom) = corners.tolist()
    return (round(left, DIGITS), round(top, DIGITS), round(right - left, DIGITS), round(bottom - top, DIGITS))


def move_outline(outline: Sequence[float], change: Change) -> tuple[float, ...]:
    """Return an outline, x1, y1, x2, y2, ..., after a crop and a resize; empty if it is outside of the crop.

    Raises:
        ValueError: its numbers are not finite pairs.
    """
    points = pairs(outline, 2, "outline") - _corner(change)
    if change.crops:
        points = clip_polygon(points, change.crop)
        if not len(points):
            return ()
    return tuple(np.round(points * change.scale, DIGITS).ravel().tolist())


def move_mask(mask: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """Return a mask after a crop and a resize by nearest neighbour, in the same form.

    Raises:
        ValueError: it is damaged, or has another size than the image.
    """
    if mask_size(mask) != change.size:
        sizes = "{}x{}".format(*mask_size(mask)), "{}x{}".format(*change.size)
        raise ValueError(f"its mask is {sizes[0]}, but the image is {sizes[1]}; a mask needs the same size")
    return {**mask, **encode(change.sample(decode(mask)), like=mask)}


def move_keypoints(keypoints: Sequence[float], change: Change) -> tuple[float, ...]:
    """Return keypoints, x, y and visibility in turn, after a crop and a resize.

    Keypoints at 0, 0 with visibility 0 are not labelled, and stay. Those outside of a crop become such.

    Raises:
        ValueError: their numbers are not finite triples.
    """
    if not keypoints:
        return ()
    points = pairs(keypoints, 3, "keypoints")
    moved = np.round(change.move(points[:, :2]), DIGITS)
    unlabelled = (points == 0).all(axis=1)
    if change.crops:
        edges = np.array(change.result[::-1], np.float64) - 0.5
        outside = ((moved < -0.5) | (moved >= edges)).any(axis=1)
        unlabelled |= outside
    result: list[float] = []
    for (x, y), visibility, is_unlabelled in zip(moved.tolist(), keypoints[2::3], unlabelled, strict=True):
        result += [0, 0, 0] if is_unlabelled else [x, y, visibility]
    return tuple(result)


def _corner(change: Change) -> Points:
    return np.array([change.corner[1], change.corner[0]], np.float64)


def pairs(values: Sequence[float], length: int, what: str) -> Points:
    """Return numbers as an array (N, length).

    Raises:
        ValueError: there are too many or too few, or they are not finite.
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or array.size % length or not np.isfinite(array).all():
        raise ValueError(f"its {what} has {array.size} numbers; expected finite ones, {length} for each point")
    return array.reshape(-1, length)
