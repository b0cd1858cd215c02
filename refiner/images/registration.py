"""Whether labels survived: how far what lies at a labelled point moved between a render and its refined image.

:func:`measure_drift` reads points of a whole data set, :func:`score_drift` says of each image how much its label is to
be doubted. The neighbourhood of the point is searched for in the refined image by normalised cross-correlation, which
light, contrast and noise leave in place, and its best position is refined below a pixel. Nothing is trained, so a
refiner cannot fool it by looking unlike anything it was trained on.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]

RADIUS = 8
"""Half the side of the neighbourhood, in pixels: 17x17 holds an iris of a 36x60 patch."""

REACH = 3
"""Largest shift that is looked for, in pixels."""


_FLAT = 1e-6
"""Spread of the levels of [-1, 1] below which there is no structure at all."""


class Drift(NamedTuple):
    """What became of labelled points.

    Attributes:
        shifts: (N, 2), x and y in pixels, from render to refined.
        agreement: (N,), correlation at the best position, at most 1; low where the structure is gone.
    """

    shifts: Array
    agreement: Array

    @property
    def vector(self) -> tuple[float, float]:
        """Mean shift (x, y): near 0 when points move, but in no common direction."""
        x, y = self.shifts.mean(axis=0).tolist()
        return x, y

    @property
    def distance(self) -> float:
        """Mean length of the shifts."""
        return float(_lengths(self.shifts).mean())


def measure_drift(synthetic: Any, refined: Any, points: Any) -> Drift:
    """How far the surroundings of labelled points moved.

    Args:
        synthetic, refined: arrays or tensors (N, C, H, W), in [-1, 1], pair by pair; channels are averaged.
        points: (N, 2), x and y in pixels of ``synthetic``, for example the centres of the pupils.

    Raises:
        ValueError: the images are not pairs, or there is not one point for each.
    """
    before, after, places = (np.asarray(values, np.float32) for values in (synthetic, refined, points))
    if before.shape != after.shape or places.shape != (len(before), 2):
        shapes = [values.shape for values in (before, after, places)]
        raise ValueError(f"shapes are {shapes}; expected two of (N, C, H, W) and (N, 2)")
    centres = np.rint(places).astype(int)
    return _search(_windows(before, centres, RADIUS), _windows(after, centres, RADIUS + REACH))


def _search(templates: Array, surroundings: Array) -> Drift:
    """Where each template (N, h, w) is found in its surroundings (N, h + 2 REACH, w + 2 REACH)."""
    pairs = zip(surroundings, templates, strict=True)
    agreement = np.stack([cv2.matchTemplate(image, part, cv2.TM_CCOEFF_NORMED) for image, part in pairs])
    agreement[_spread(templates) < _FLAT] = 0  # OpenCV has it that nothing agrees with anything
    return _find_peak(agreement)


def _find_peak(agreement: Array) -> Drift:
    """Shifts (N, 2) below a pixel and the best agreement (N,), from (N, side, side): rows of y, columns of x."""
    number = np.arange(len(agreement))
    row, column = np.divmod(agreement.reshape(len(agreement), -1).argmax(axis=1), agreement.shape[1])
    x = column - REACH + _peak(agreement[number, row], column)
    y = row - REACH + _peak(agreement[number, :, column], row)
    return Drift(np.stack([x, y], axis=1).astype(np.float32), agreement[number, row, column])


EYEBALL = 0.32
"""Radius of an eyeball in widths of a normalised eye patch: 12 mm of 37.5 (60 pixels at 0.625 mm)."""

SCALE = 36
"""Rows or columns, whichever are fewer, at which images are scored; larger ones are averaged down to about so many."""

TEXTURE = 0.03
"""Spread of the levels of [-1, 1] in a neighbourhood below which there is nothing to be found again."""


class DriftScores(NamedTuple):
    """How much the label of each image is to be doubted.

    Attributes:
        shifts: (N, 2), x and y in pixels of the image: of the worst point where there are several.
        scores: (N,), their length, plus how much of the structure is gone: 1 less the correlation, as so many pixels of
            a 36x60 patch. A pupil that was erased or swapped scores high, wherever it is found. 0 where there was no
            structure to lose.
    """

    shifts: Array
    scores: Array


def score_drift(synthetic: Any, refined: Any, *, points: Any = None, mask: Any = None) -> DriftScores:
    """Score each image by itself.

    Args:
        synthetic, refined: arrays or tensors (N, C, H, W), in [-1, 1], pair by pair.
        points: (N, K, 2), x and y in pixels; NaN where one is missing, and points outside the image do not count.
        mask: (N, H, W), weights of at least 0: the region whose structure should stay, as one. Without points and
            without a mask it is the whole image.
    """
    height, width = synthetic.shape[-2:]
    factor = max(1, round(min(height, width) / SCALE))
    before, after = (_shrunk(np.asarray(images, np.float32), factor) for images in (synthetic, refined))
    if points is not None:
        shifts, scores = _score_points(before, after, (np.asarray(points, np.float32) - (factor - 1) / 2) / factor)
    elif mask is not None:
        shifts, scores = _score_region(before, after, _shrunk(np.asarray(mask, np.float32)[:, None], factor)[:, 0])
    else:
        shifts, scores = _score_whole(before, after)
    return DriftScores(factor * shifts, factor * scores)


def _score_points(before: Array, after: Array, points: Array) -> DriftScores:
    last = np.array([before.shape[3] - 1, before.shape[2] - 1], np.float32)
    inside = np.all((points >= 0) & (points <= last), axis=2)
    found = []
    for number in range(points.shape[1]):
        centres = np.rint(np.where(inside[:, number, None], points[:, number], 0)).astype(int)
        templates = _windows(before, centres, RADIUS)
        drift = _search(templates, _windows(after, centres, RADIUS + REACH))
        found.append(_scored(drift, inside[:, number] & (_spread(templates) > TEXTURE)))
    shifts, scores = (np.stack(values, axis=1) for values in zip(*found, strict=True))
    worst = scores.argmax(axis=1)
    rows = np.arange(len(worst))
    return DriftScores(shifts[rows, worst], scores[rows, worst])


def _scored(drift: Drift, counts: np.ndarray[Any, Any]) -> DriftScores:
    """Shifts and scores, 0 where there was nothing to be found again."""
    scores = _lengths(drift.shifts) + 1 - drift.agreement
    return DriftScores(drift.shifts * counts[:, None], scores * counts)


def _score_whole(before: Array, after: Array) -> DriftScores:
    images = _grey(before)
    return _scored(_search(images, _widened(after)), _spread(images) > TEXTURE)


def _widened(images: Array) -> Array:
    """(N, H + 2 REACH, W + 2 REACH), grey; edges are repeated."""
    return np.pad(_grey(images), ((0, 0), (REACH, REACH), (REACH, REACH)), mode="edge")


def _score_region(before: Array, after: Array, weights: Array) -> DriftScores:
    """A weighted region, weights (N, h, w), is searched for as the neighbourhood of a point is."""
    side = 2 * REACH + 1
    count, height, width = weights.shape
    weights = weights.reshape(count, -1, 1)  # (N, h * w, 1)
    weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
    grey = _grey(before).reshape(count, -1, 1)
    corrected = grey - (weights * grey).sum(axis=1, keepdims=True)
    spread = np.sqrt((weights * corrected**2).sum(axis=(1, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(_widened(after), (height, width), axis=(1, 2))
    candidates = windows.reshape(count, side * side, height * width)
    products, means = np.moveaxis(candidates @ np.concatenate([weights * corrected, weights], axis=2), 2, 0)
    squares = (candidates**2 @ weights)[..., 0]
    spreads = np.sqrt(np.maximum(squares - means**2, 0))
    agreement = products / np.maximum(spread[:, None] * spreads, 1e-6)
    return _scored(_find_peak(agreement.reshape(count, side, side)), spread > TEXTURE)


def degrees_of_gaze(pixels: Array, width: int) -> Array:
    """What a shift of the pupil is worth in degrees of gaze, in a normalised eye patch of this width.

    Source:
        The paper's 1.1 pixels at a width of 55 are 3.6 degrees (section 3.1), as here.
    """
    degrees: Array = np.rad2deg(np.arcsin(np.minimum(pixels / (EYEBALL * width), 1)))
    return degrees


def _grey(images: Array) -> Array:
    """(N, H, W), the mean of the channels of (N, C, H, W)."""
    return images[:, 0] if images.shape[1] == 1 else images.mean(axis=1)


def _shrunk(images: Array, factor: int) -> Array:
    """(N, C, h, w), means of squares; at the far edges of what is left of them."""
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
    """Standard deviation of each image (N,)."""
    spread: Array = images.reshape(len(images), -1).std(axis=1)
    return spread


def _windows(images: Array, centres: np.ndarray[Any, Any], radius: int) -> Array:
    """(N, 2 radius + 1, 2 radius + 1) of grey images around (x, y); edges are repeated."""
    height, width = images.shape[-2:]
    offsets = np.arange(-radius, radius + 1)
    rows = np.clip(centres[:, 1, None] + offsets, 0, height - 1)[:, :, None]
    columns = np.clip(centres[:, 0, None] + offsets, 0, width - 1)[:, None, :]
    windows: Array = _grey(images)[np.arange(len(images))[:, None, None], rows, columns]
    return windows


def _peak(line: Array, at: np.ndarray[Any, Any]) -> Array:
    """Where a parabola through the best of each line (N, S) and its neighbours peaks, relative to the best."""
    middle = np.clip(at, 1, line.shape[1] - 2)
    left, centre, right = (line[np.arange(len(line)), middle + step] for step in (-1, 0, 1))
    curvature = left - 2 * centre + right
    peaks = (middle == at) & (curvature < 0)
    offset = 0.5 * (left - right) / np.where(peaks, curvature, -1)
    return np.where(peaks, np.clip(offset, -0.5, 0.5), 0)
