"""Parts of an image in which objects are searched for: where an object lies, its surroundings, and their weights."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from refiner.data.annotations.positions.run_lengths import decode
from refiner.data.drift.scores import SCALE
from refiner.data.labels.objects import ObjectLabel

Array = np.ndarray[Any, np.dtype[np.float32]]

MARGIN = 0.15
"""Width of the surroundings that are compared with an object, as a share of its shorter side; at least two pixels."""

SURROUNDINGS = 0.5
"""Largest weight of the surroundings, as a share of that of the object."""

MIN_SIDE = 4
"""Shorter side, in pixels inside the image, below which an object is too small to be followed."""

MAX_PIXELS = 96**2
"""Number of pixels above which an object is averaged down further, however thin it is."""

VISIBLE = 2
"""Visibility of a keypoint that can be seen; hidden ones cannot be followed."""

Extent = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of an image, in pixels."""


class Window(NamedTuple):
    """A part of an image on a coarse grid, ``factor`` pixels wide each, from the pixel (left, top)."""

    left: int
    top: int
    width: int
    height: int
    factor: int

    def cut(self, image: Array, reach: int = 0) -> Array:
        """Cut the part out of an image (C, H, W), widened by ``reach``, and average it down to (h, w, C)."""
        rows = _clipped(self.top - reach * self.factor, self.height + 2 * reach, self.factor, image.shape[1])
        columns = _clipped(self.left - reach * self.factor, self.width + 2 * reach, self.factor, image.shape[2])
        part = np.ascontiguousarray(image[:, rows][:, :, columns].transpose(1, 2, 0))
        return _averaged(part, self.factor)

    def inside(self, size: Sequence[int]) -> Array:
        """Return 1 for each coarse pixel whose centre lies in an image of (height, width), else 0; (h, w)."""
        rows = self.top + (np.arange(self.height) + 0.5) * self.factor
        columns = self.left + (np.arange(self.width) + 0.5) * self.factor
        within = ((rows > 0) & (rows < size[0]))[:, None] & ((columns > 0) & (columns < size[1]))
        return within.astype(np.float32)


def _clipped(start: int, count: int, factor: int, size: int) -> Any:
    """Return the pixels of a row or column, with the edge of the image repeated; a slice if none is repeated."""
    stop = start + count * factor
    if start >= 0 and stop <= size:
        return slice(start, stop)
    return np.clip(np.arange(start, stop), 0, size - 1)


def _averaged(image: Array, factor: int) -> Array:
    """Average over squares of ``factor`` pixels, from (H, W, C) to (h, w, C)."""
    if factor > 1:
        size = (image.shape[1] // factor, image.shape[0] // factor)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)
    return image.reshape(*image.shape[:2], -1)  # OpenCV drops a single channel


def label_extent(label: ObjectLabel, size: Sequence[int]) -> Extent | None:
    """Return the bounding box of the part of an object in an image of (height, width); None if that is too small."""
    return extent_of(label, mask_of(label, size), size)


def extent_of(label: ObjectLabel, mask: Array | None, size: Sequence[int]) -> Extent | None:
    """Return the part of an object's bounding box that is in the image; None if that is too small or has no size."""
    # The mask or the outline says it best, then the box, then the keypoints.
    if mask is not None:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return None
        found = (float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1)
    elif label.polygons:
        points = np.concatenate([np.reshape(part, (-1, 2)) for part in label.polygons])
        found = (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
    elif label.box is not None:
        left, top, width, height = label.box
        found = (left, top, left + width, top + height)
    elif len(visible := visible_keypoints(label, size)):
        found = (*(visible.min(axis=0) - 1.5).tolist(), *(visible.max(axis=0) + 2.5).tolist())
    else:
        return None
    if not all(map(math.isfinite, found)):
        return None
    left, top, right, bottom = max(0.0, found[0]), max(0.0, found[1]), min(size[1], found[2]), min(size[0], found[3])
    return (left, top, right, bottom) if min(right - left, bottom - top) >= MIN_SIDE else None


def window_around(extent: Extent) -> Window:
    """Return the window around an object: its extent and a margin, on a grid that keeps it small."""
    left, top, right, bottom = extent
    side = min(right - left, bottom - top)
    factor = max(1, round(side / SCALE), math.ceil(math.sqrt((right - left) * (bottom - top) / MAX_PIXELS)))
    margin = factor * max(2, round(MARGIN * side / factor))
    start_x, start_y = math.floor(left) - margin, math.floor(top) - margin
    width = math.ceil((math.ceil(right) + margin - start_x) / factor)
    height = math.ceil((math.ceil(bottom) + margin - start_y) / factor)
    return Window(start_x, start_y, width, height, factor)


def weights_in(label: ObjectLabel, mask: Array | None, extent: Extent, window: Window) -> Array:
    """Return the weight of each coarse pixel, (h, w): 1 in the object, less in its surroundings, 0 elsewhere."""
    shape = (window.height * window.factor, window.width * window.factor)
    if mask is not None:
        rows = _clipped(window.top, window.height, window.factor, mask.shape[0])
        columns = _clipped(window.left, window.width, window.factor, mask.shape[1])
        covered = np.ascontiguousarray(mask[rows][:, columns], np.float32)
    else:
        covered = np.zeros(shape, np.float32)
        if label.polygons:
            for part in label.polygons:  # each alone: where two overlap, OpenCV would leave a hole
                corners = np.reshape(part, (-1, 2)) - (window.left + 0.5, window.top + 0.5)
                cv2.fillPoly(covered, [np.rint(corners).astype(np.int32)], 1.0)
        else:
            left, top, right, bottom = extent
            rows, columns = (
                slice(round(top) - window.top, round(bottom) - window.top),
                slice(round(left) - window.left, round(right) - window.left),
            )
            covered[rows, columns] = 1
    covered = _averaged(covered[..., None], window.factor)[..., 0]
    # Widen by the margin, and weigh the surroundings so that they do not outweigh the object.
    margin = max(2, round(MARGIN * min(extent[2] - extent[0], extent[3] - extent[1]) / window.factor))
    widened = np.asarray(cv2.dilate(covered, np.ones((2 * margin + 1,) * 2, np.uint8)), np.float32)
    around = np.maximum(widened - covered, 0)
    weight = min(1.0, SURROUNDINGS * float(covered.sum()) / max(float(around.sum()), 1e-6))
    return np.asarray(covered + np.float32(weight) * around, np.float32)


def mask_of(label: ObjectLabel, size: Sequence[int]) -> Array | None:
    """Return the mask of an object, (H, W); None if it has none, or it does not fit the image."""
    if label.mask is None:
        return None
    try:
        mask = decode(label.mask)
    except ValueError:
        return None
    return np.asarray(mask, np.float32) if mask.shape == tuple(size) else None


def visible_keypoints(label: ObjectLabel, size: Sequence[int]) -> Array:
    """Return the visible keypoints in the image, (K, 2)."""
    if not label.keypoints:
        return np.zeros((0, 2), np.float32)
    points = np.reshape(np.asarray(label.keypoints, np.float64), (-1, 3))
    x, y, visibility = points.T
    inside = (x >= -0.5) & (y >= -0.5) & (x <= size[1] - 0.5) & (y <= size[0] - 0.5)
    return np.asarray(points[inside & (visibility >= VISIBLE), :2], np.float32)
