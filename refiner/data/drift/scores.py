"""Label drift: the shift of labelled structures between a synthetic image and its refined image.

A label stays valid only if the structure it describes, such as a pupil, stays in place. :func:`measure_drift` measures
the shifts of points in a whole data set. :func:`score_drift` scores each image; images with high scores have doubtful
labels. Both search for the neighbourhood of a point in the refined image by normalised cross-correlation, which is
insensitive to light, contrast and noise, and estimate the best position to a fraction of a pixel. No network is
involved, so that unfamiliar images cannot mislead the measurement.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]

RADIUS = 8
"""Half the side of a neighbourhood, in pixels; 17x17 pixels contain the iris of a 36x60 patch."""

REACH = 3
"""Largest shift that can be found, in pixels."""

_FLAT = 1e-6
"""Standard deviation, in units of [-1, 1], below which a neighbourhood is constant."""


class Drift(NamedTuple):
    """Shifts of labelled points.

    Attributes:
        shifts: (N, 2), x and y in pixels, from the synthetic to the refined image.
        agreement: (N,), correlation at the best position, at most 1; low if the structure has disappeared.
    """

    shifts: Array
    agreement: Array

    @property
    def vector(self) -> tuple[float, float]:
        """Mean shift (x, y) in pixels; close to 0 if points move in random directions."""
        x, y = self.shifts.mean(axis=0).tolist()
        return x, y

    @property
    def distance(self) -> float:
        """Mean length of the shifts in pixels."""
        return float(_lengths(self.shifts).mean())


def measure_drift(synthetic: Any, refined: Any, points: Any) -> Drift:
    """Measure the shift of the neighbourhood of each labelled point.

    Args:
        synthetic, refined: arrays or tensors, (N, C, H, W), in [-1, 1], in pairs; channels are averaged.
        points: (N, 2), x and y in pixels of ``synthetic``, for example the centres of the pupils.

    Raises:
        ValueError: the shapes of the images differ, or there is not one point for each image.
    """
    before, after, positions = (np.asarray(values, np.float32) for values in (synthetic, refined, points))
    if before.shape != after.shape or positions.shape != (len(before), 2):
        shapes = [values.shape for values in (before, after, positions)]
        raise ValueError(f"the shapes are {shapes}; expected (N, C, H, W) twice and (N, 2)")
    centres = np.rint(positions).astype(int)
    return _search(_windows(before, centres, RADIUS), _windows(after, centres, RADIUS + REACH))


def _search(templates: Array, surroundings: Array) -> Drift:
    """Find each template, (N, h, w), in its surroundings, (N, h + 2 REACH, w + 2 REACH)."""
    pairs = zip(surroundings, templates, strict=True)
    agreement = np.stack([cv2.matchTemplate(image, template, cv2.TM_CCOEFF_NORMED) for image, template in pairs])
    agreement[_spread(templates) < _FLAT] = 0  # OpenCV reports agreement for constant templates
    return _find_peak(agreement)


def _find_peak(agreement: Array) -> Drift:
    """Find the best shift to a fraction of a pixel, from the agreement of each shift, (N, y, x)."""
    # Take the best whole-pixel shift, and refine it along both axes.
    number = np.arange(len(agreement))
    row, column = np.divmod(agreement.reshape(len(agreement), -1).argmax(axis=1), agreement.shape[1])
    x = column - REACH + _peak(agreement[number, row], column)
    y = row - REACH + _peak(agreement[number, :, column], row)
    return Drift(np.stack([x, y], axis=1).astype(np.float32), agreement[number, row, column])


EYEBALL = 0.32
"""Radius of an eyeball as a share of the width of a normalised eye patch: 12 mm of 37.5 mm (60 pixels of 0.625 mm)."""

SCALE = 36
"""Size of the shorter side, in pixels, at which images are scored; larger images are averaged down to about it."""

TEXTURE = 0.03
"""Standard deviation, in units of [-1, 1], below which a neighbourhood has too little texture to be found again."""


def patch_scale(size: Sequence[int]) -> float:
    """Return how many pixels of an image of (height, width) are one pixel of a 36x60 patch, by the shorter sides."""
    return min(size) / SCALE


class DriftScores(NamedTuple):
    """Label drift of each image; a high score means a doubtful label.

    Attributes:
        shifts: (N, 2), x and y in pixels of the image; with several points, those of the point with the highest score.
        scores: (N,), length of the shift, in pixels of a 36x60 patch, plus the loss of structure, 1 minus the
            correlation. A pupil that was erased or replaced thus gets a high score at any position.
        known: (N,), booleans. False if no point lies in the image, or if the points or the mask have too little texture
            to be found again; the whole image is scored instead. A whole image without any structure scores 0.
    """

    shifts: Array
    scores: Array
    known: np.ndarray[Any, np.dtype[np.bool_]]


def score_drift(synthetic: Any, refined: Any, *, points: Any = None, mask: Any = None) -> DriftScores:
    """Score the label drift of each image.

    Args:
        synthetic, refined: arrays or tensors, (N, C, H, W), in [-1, 1], in pairs.
        points: (N, K, 2), x and y in pixels. Missing points, NaN, and points outside the image are ignored.
        mask: (N, H, W), weights of at least 0 of the region whose structure should stay in place. It is used if there
            are no points. Without points and mask, the whole image is scored.
    """
    height, width = synthetic.shape[-2:]
    # Average large images down, then score points, a region, or the whole image.
    factor = max(1, round(patch_scale((height, width))))
    before, after = (_shrunk(np.asarray(images, np.float32), factor) for images in (synthetic, refined))
    if points is not None:
        positions = np.asarray(points, np.float32)
        inside = np.all((positions >= -0.5) & (positions <= np.array([width, height], np.float32) - 0.5), axis=2)
        positions = np.asarray((positions - (factor - 1) / 2) / factor, np.float32)
        found = _score_points(before, after, positions, inside)
    elif mask is not None:
        found = _score_region(before, after, _shrunk(np.asarray(mask, np.float32)[:, None], factor)[:, 0])
    else:
        found = _score_whole(before, after)
    # Where points or mask show nothing, the whole image is the second best.
    if not found.known.all() and not (points is None and mask is None):
        lost = ~found.known
        whole = _score_whole(before[lost], after[lost])
        found.shifts[lost], found.agreement[lost] = whole.shifts, whole.agreement
    # Shifts become pixels of the image, and scores those of a patch.
    shifts = factor * found.shifts
    return DriftScores(shifts, _lengths(shifts) / patch_scale((height, width)) + 1 - found.agreement, found.known)


class _Found(NamedTuple):
    """Shifts (N, 2) and agreement (N,) of regions that were found again, and whether they are known (N,).

    An unknown region has no shift and an agreement of 1.
    """

    shifts: Array
    agreement: Array
    known: np.ndarray[Any, np.dtype[np.bool_]]


def _score_points(before: Array, after: Array, points: Array, inside: np.ndarray[Any, Any]) -> _Found:
    # Search for each of the K points in all images.
    found = []
    for number in range(points.shape[1]):
        centres = np.rint(np.where(inside[:, number, None], points[:, number], 0)).astype(int)
        templates = _windows(before, centres, RADIUS)
        drift = _search(templates, _windows(after, centres, RADIUS + REACH))
        found.append(_known(drift, inside[:, number] & (_spread(templates) > TEXTURE)))
    shifts, agreement, known = (np.stack(values, axis=1) for values in zip(*found, strict=True))
    # Keep the worst known point of each image.
    badness = np.hypot(shifts[..., 0], shifts[..., 1]) + 1 - agreement
    worst = np.where(known, badness, -1).argmax(axis=1)
    rows = np.arange(len(worst))
    return _Found(shifts[rows, worst], agreement[rows, worst], np.any(known, axis=1))


def _known(drift: Drift, known: np.ndarray[Any, Any]) -> _Found:
    return _Found(drift.shifts * known[:, None], np.where(known, drift.agreement, 1), known)


def _score_whole(before: Array, after: Array) -> _Found:
    images = _grey(before)
    found = _known(_search(images, _widened(after)), _spread(images) > TEXTURE)
    return found._replace(known=np.ones(len(images), bool))


def _widened(images: Array) -> Array:
    """Repeat the edges of grey images, (N, H + 2 REACH, W + 2 REACH)."""
    return np.pad(_grey(images), ((0, 0), (REACH, REACH), (REACH, REACH)), mode="edge")


def _score_region(before: Array, after: Array, weights: Array) -> _Found:
    """Search for a weighted region, with weights (N, h, w), by weighted correlation at every shift."""
    side = 2 * REACH + 1
    count, height, width = weights.shape
    weights = weights.reshape(count, -1, 1)  # (N, h * w, 1)
    weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
    # Subtract the weighted mean of the region.
    grey = _grey(before).reshape(count, -1, 1)
    corrected = grey - (weights * grey).sum(axis=1, keepdims=True)
    spread = np.sqrt((weights * corrected**2).sum(axis=(1, 2)))
    # Compute the weighted correlation with the refined image at every shift.
    windows = np.lib.stride_tricks.sliding_window_view(_widened(after), (height, width), axis=(1, 2))
    candidates = windows.reshape(count, side * side, height * width)
    products, means = np.moveaxis(candidates @ np.concatenate([weights * corrected, weights], axis=2), 2, 0)
    squares = (candidates**2 @ weights)[..., 0]
    spreads = np.sqrt(np.maximum(squares - means**2, 0))
    agreement = products / np.maximum(spread[:, None] * spreads, 1e-6)
    return _known(_find_peak(agreement.reshape(count, side, side)), spread > TEXTURE)


def degrees_of_gaze(pixels: Array, width: int) -> Array:
    """Convert a shift of the pupil to degrees of gaze.

    Args:
        pixels: (N,), lengths of shifts.
        width: width in pixels of the normalised eye patch.

    Source:
        arXiv:1612.07828, section 3.1: 1.1 pixels at a width of 55 are 3.6 degrees, as here.
    """
    degrees: Array = np.rad2deg(np.arcsin(np.minimum(pixels / (EYEBALL * width), 1)))
    return degrees


def _grey(images: Array) -> Array:
    """Average the channels, from (N, C, H, W) to (N, H, W)."""
    return images[:, 0] if images.shape[1] == 1 else images.mean(axis=1)


def _shrunk(images: Array, factor: int) -> Array:
    """Average over squares of ``factor`` pixels, which are cut off at the right and bottom edges, to (N, C, h, w)."""
    if factor == 1:
        return images
    height, width = images.shape[2:]
    rows, columns = np.arange(0, height, factor), np.arange(0, width, factor)
    sums = np.add.reduceat(np.add.reduceat(images, rows, axis=2), columns, axis=3)
    counts = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))
    means: Array = np.divide(sums, counts, dtype=np.float32)
    return means


def _lengths(shifts: Array) -> Array:
    return np.hypot(shifts[:, 0], shifts[:, 1])


def _spread(images: Array) -> Array:
    """Compute the standard deviation of each image, (N,)."""
    spread: Array = images.reshape(len(images), -1).std(axis=1)
    return spread


def _windows(images: Array, centres: np.ndarray[Any, Any], radius: int) -> Array:
    """Cut grey windows, (N, 2 radius + 1, 2 radius + 1), around (x, y); edges are repeated."""
    height, width = images.shape[-2:]
    offsets = np.arange(-radius, radius + 1)
    rows = np.clip(centres[:, 1, None] + offsets, 0, height - 1)[:, :, None]
    columns = np.clip(centres[:, 0, None] + offsets, 0, width - 1)[:, None, :]
    windows: Array = _grey(images)[np.arange(len(images))[:, None, None], rows, columns]
    return windows


def _peak(line: Array, at: np.ndarray[Any, Any]) -> Array:
    """Offset of the peak of a parabola through each line's best value and its neighbours, relative to the best."""
    middle = np.clip(at, 1, line.shape[1] - 2)
    left, centre, right = (line[np.arange(len(line)), middle + step] for step in (-1, 0, 1))
    curvature = left - 2 * centre + right
    peaks = (middle == at) & (curvature < 0)
    offset = 0.5 * (left - right) / np.where(peaks, curvature, -1)
    return np.where(peaks, np.clip(offset, -0.5, 0.5), 0)
