"""Whether labels survived: how far what lies at a labelled point moved between a render and its refined image.

:func:`measure_drift` reads points of a whole data set, :func:`score_drift` says of each image how much its label is to
be doubted. The neighbourhood of the point is searched for in the refined image by normalised cross-correlation, which
light, contrast and noise leave in place, and its best position is refined below a pixel. Nothing is trained, so a
refiner cannot fool it by looking unlike anything it was trained on.
"""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

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

    shifts: Tensor
    agreement: Tensor

    @property
    def vector(self) -> tuple[float, float]:
        """Mean shift (x, y): near 0 when points move, but in no common direction."""
        x, y = self.shifts.mean(dim=0).tolist()
        return x, y

    @property
    def distance(self) -> float:
        """Mean length of the shifts."""
        return float(self.shifts.norm(dim=1).mean())


def measure_drift(synthetic: Tensor, refined: Tensor, points: Tensor) -> Drift:
    """How far the surroundings of labelled points moved.

    Args:
        synthetic, refined: (N, C, H, W), in [-1, 1], pair by pair; channels are averaged.
        points: (N, 2), x and y in pixels of ``synthetic``, for example the centres of the pupils.

    Raises:
        ValueError: the images are not pairs, or there is not one point for each.
    """
    if synthetic.shape != refined.shape or points.shape != (len(synthetic), 2):
        shapes = [tuple(tensor.shape) for tensor in (synthetic, refined, points)]
        raise ValueError(f"shapes are {shapes}; expected two of (N, C, H, W) and (N, 2)")
    centres = points.round().long()
    return _search(_windows(synthetic, centres, RADIUS), _windows(refined, centres, RADIUS + REACH))


def _search(templates: Tensor, surroundings: Tensor) -> Drift:
    """Where each template (N, h, w) is found in its surroundings (N, h + 2 REACH, w + 2 REACH)."""
    pairs = zip(surroundings.numpy(), templates.numpy(), strict=True)
    agreement = np.stack([cv2.matchTemplate(image, part, cv2.TM_CCOEFF_NORMED) for image, part in pairs])
    agreement[_spread(templates).numpy() < _FLAT] = 0  # OpenCV has it that nothing agrees with anything
    return Drift(*_find_peak(torch.from_numpy(agreement)))


def _find_peak(agreement: Tensor) -> tuple[Tensor, Tensor]:
    """Shifts (N, 2) below a pixel and the best agreement (N,), from (N, side, side): rows of y, columns of x."""
    side = agreement.shape[1]
    best, index = agreement.flatten(1).max(dim=1)
    row, column = index // side, index % side
    number = torch.arange(len(agreement))
    x = column - REACH + _peak(agreement[number, row], column)
    y = row - REACH + _peak(agreement[number, :, column], row)
    return torch.stack([x, y], dim=1), best


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

    shifts: Tensor
    scores: Tensor


def score_drift(
    synthetic: Tensor, refined: Tensor, *, points: Tensor | None = None, mask: Tensor | None = None
) -> DriftScores:
    """Score each image by itself.

    Args:
        synthetic, refined: (N, C, H, W), in [-1, 1], pair by pair.
        points: (N, K, 2), x and y in pixels; NaN where one is missing, and points outside the image do not count.
        mask: (N, H, W), weights of at least 0: the region whose structure should stay, as one. Without points and
            without a mask it is the whole image, which takes a quarter of the time.
    """
    height, width = synthetic.shape[-2:]
    factor = max(1, round(min(height, width) / SCALE))
    before, after = _shrunk(synthetic, factor), _shrunk(refined, factor)
    if points is not None:
        shifts, scores = _score_points(before, after, (points - (factor - 1) / 2) / factor)
    elif mask is not None:
        shifts, scores = _score_region(before, after, _shrunk(mask.float()[:, None], factor))
    else:
        shifts, scores = _score_whole(before, after)
    return DriftScores(factor * shifts, factor * scores)


def _score_points(before: Tensor, after: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    inside = ((points >= 0) & (points <= torch.tensor([before.shape[3] - 1, before.shape[2] - 1]))).all(dim=2)
    found = []
    for number in range(points.shape[1]):
        point = torch.where(inside[:, number, None], points[:, number], 0).float()
        spread = _spread(_windows(before, point.round().long(), RADIUS))
        found.append(_scored(measure_drift(before, after, point), inside[:, number] & (spread > TEXTURE)))
    shifts, scores = (torch.stack(values, dim=1) for values in zip(*found, strict=True))
    worst = scores.argmax(dim=1)
    rows = torch.arange(len(worst))
    return shifts[rows, worst], scores[rows, worst]


def _scored(drift: Drift, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Shifts and scores, 0 where there was nothing to be found again."""
    scores = drift.shifts.norm(dim=1) + 1 - drift.agreement
    return drift.shifts * counts[:, None], scores * counts


def _score_whole(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    images = before.mean(dim=1)
    return _scored(_search(images, _widened(after)[:, 0]), _spread(images) > TEXTURE)


def _widened(images: Tensor) -> Tensor:
    """(N, 1, H + 2 REACH, W + 2 REACH), grey; edges are repeated."""
    return functional.pad(images.mean(dim=1, keepdim=True), (REACH, REACH, REACH, REACH), mode="replicate")


def _score_region(before: Tensor, after: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """A weighted region, weights (N, 1, h, w), is searched for as the neighbourhood of a point is."""
    side = 2 * REACH + 1
    weights = (weights / weights.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)).flatten(1)  # (N, h * w)
    grey = before.mean(dim=1).flatten(1)
    centred = grey - (weights * grey).sum(dim=1, keepdim=True)
    spread = (weights * centred.square()).sum(dim=1, keepdim=True).sqrt()
    candidates = functional.unfold(_widened(after), tuple(before.shape[2:]))  # (N, h * w, side * side)
    products, means = torch.stack([weights * centred, weights], dim=1).matmul(candidates).unbind(dim=1)
    squares = weights[:, None].matmul(candidates.square_())[:, 0]
    spreads = (squares - means.square()).clamp(min=0).sqrt()
    agreement = products / (spread * spreads).clamp(min=1e-6)
    return _scored(Drift(*_find_peak(agreement.unflatten(1, (side, side)))), spread[:, 0] > TEXTURE)


def degrees_of_gaze(pixels: Tensor, width: int) -> Tensor:
    """What a shift of the pupil is worth in degrees of gaze, in a normalised eye patch of this width.

    Source:
        The paper's 1.1 pixels at a width of 55 are 3.6 degrees (section 3.1), as here.
    """
    return torch.rad2deg(torch.asin((pixels / (EYEBALL * width)).clamp(max=1)))


def _shrunk(images: Tensor, factor: int) -> Tensor:
    return images if factor == 1 else functional.avg_pool2d(images, factor, ceil_mode=True)


def _spread(images: Tensor) -> Tensor:
    """Standard deviation of each image (N,), ten times as fast as torch's own on one core."""
    levels = images.flatten(1)
    centred = levels - levels.mean(dim=1, keepdim=True)
    spread: Tensor = torch.linalg.vector_norm(centred, dim=1) / max(1, levels.shape[1] - 1) ** 0.5
    return spread


def _windows(images: Tensor, centres: Tensor, radius: int) -> Tensor:
    """(N, 2 radius + 1, 2 radius + 1) of grey images around (x, y); edges are repeated."""
    height, width = images.shape[-2:]
    offsets = torch.arange(-radius, radius + 1)
    rows = (centres[:, 1, None] + offsets).clamp(0, height - 1)[:, :, None]
    columns = (centres[:, 0, None] + offsets).clamp(0, width - 1)[:, None, :]
    windows: Tensor = images.mean(dim=1)[torch.arange(len(images))[:, None, None], rows, columns]
    return windows


def _peak(line: Tensor, at: Tensor) -> Tensor:
    """Where a parabola through the best of each line (N, S) and its neighbours peaks, relative to the best."""
    inside = (at > 0) & (at < line.shape[1] - 1)
    middle = at.clamp(1, line.shape[1] - 2)[:, None]
    left, centre, right = (line.gather(1, middle + step)[:, 0] for step in (-1, 0, 1))
    curvature = left - 2 * centre + right
    offset = 0.5 * (left - right) / torch.where(curvature < 0, curvature, -torch.ones_like(curvature))
    return torch.where(inside & (curvature < 0), offset.clamp(-0.5, 0.5), torch.zeros_like(offset))
