"""New structure outside the labelled objects: an object that a refiner added or copied has no label."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from refiner.data.drift.object_windows import MARGIN, label_extent
from refiner.data.drift.scores import TEXTURE
from refiner.data.labels.objects import ObjectLabel

Array = np.ndarray[Any, np.dtype[np.float32]]

SIDE = 96
"""Size of the shorter side, in pixels, at which the background is compared; larger images are averaged down to it."""

WINDOW = 7
"""Side of the square in which structure is measured, in pixels of the averaged image."""

LIMIT = 2.0
"""Contrast of new structure, in multiples of what is usual in the image, that counts as a score of 1."""


def score_background(synthetic: Any, refined: Any, objects: Sequence[ObjectLabel]) -> float:
    """Score the new structure outside the objects of an image.

    In each square, the part of the refined image that the render does not explain is compared with the contrast that
    was there before and with what is usual in this image, such as noise. A score of 1 is a square in which
    the new contrast is twice as large as these together; the worst square counts.

    Args:
        synthetic, refined: the pair of images, (C, H, W), float32, in [-1, 1].
        objects: the objects of the image.
    """
    before, after = (np.asarray(image, np.float32) for image in (synthetic, refined))
    height, width = before.shape[1:]
    factor = max(1, round(min(height, width) / SIDE))
    size = (height // factor, width // factor)
    before, after = (_shrunk(image, size, factor) for image in (before, after))
    # Leave out the objects with their margins.
    free = np.ones((*size, 1), np.float32)
    for label in objects:
        extent = label_extent(label, (height, width))
        if extent is not None:
            _leave_out(free, extent, factor)
    share = _mean(free)
    judged = share[..., 0] > 0.5
    if not judged.any():
        return 0.0
    # Measure contrast in each square, and the part of it that the render explains.
    means = [_mean(image * free) / np.maximum(share, 1e-6) for image in (before, after)]
    (own, new, common) = (
        (_mean(first * second * free) / np.maximum(share, 1e-6) - one * other).mean(axis=2)
        for first, second, one, other in (
            (before, before, means[0], means[0]),
            (after, after, means[1], means[1]),
            (before, after, means[0], means[1]),
        )
    )
    unexplained = np.maximum(new - np.maximum(common, 0) ** 2 / np.maximum(own, 1e-6), 0)
    # Compare it with the contrast of the render, as the refined image shows it, and with what is usual.
    gain = float(after.var()) / max(float(before.var()), 1e-9)
    usual = float(np.median(unexplained[judged])) + gain * TEXTURE**2
    ratios = unexplained[judged] / (gain * np.maximum(own[judged], 0) + max(usual, 1e-9))
    return float(np.sqrt(ratios.max())) / LIMIT


def _shrunk(image: Array, size: tuple[int, int], factor: int) -> Array:
    """Average over squares of ``factor`` pixels, from (C, H, W) to (h, w, C)."""
    height, width = size
    planes = image[:, : height * factor, : width * factor]
    if factor > 1:
        planes = np.stack([cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA) for plane in planes])
    return np.ascontiguousarray(planes.transpose(1, 2, 0), np.float32)


def _mean(image: Array) -> Array:
    """Return the mean of each square around a pixel, (h, w, C)."""
    blurred = cv2.blur(image, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float32).reshape(image.shape)


def _leave_out(free: Array, extent: tuple[float, float, float, float], factor: int) -> None:
    left, top, right, bottom = (at / factor for at in extent)
    margin = max(2, MARGIN * min(extent[2] - extent[0], extent[3] - extent[1])) / factor + 1
    rows = slice(max(0, int(top - margin)), int(np.ceil(bottom + margin)))
    columns = slice(max(0, int(left - margin)), int(np.ceil(right + margin)))
    free[rows, columns] = 0
