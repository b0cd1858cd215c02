"""Whether labels survived: how far what lies at a labelled point moved between a render and its refined image.

The neighbourhood of the point is searched for in the refined image by normalised cross-correlation, which light,
contrast and noise leave in place, and its best position is refined below a pixel. Nothing is trained, so a refiner
cannot fool it by looking unlike anything it was trained on.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

RADIUS = 8
"""Half the side of the neighbourhood, in pixels: 17x17 holds an iris of a 36x60 patch."""

REACH = 3
"""Largest shift that is looked for, in pixels."""


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
    template = _normalised(_windows(synthetic, centres, RADIUS).flatten(1)[:, None])  # (N, 1, K)
    surroundings = _windows(refined, centres, RADIUS + REACH)[:, None]
    candidates = _normalised(functional.unfold(surroundings, 2 * RADIUS + 1).transpose(1, 2))  # (N, S * S, K)
    side = 2 * REACH + 1
    agreement = (candidates * template).sum(dim=2).reshape(-1, side, side)
    best, index = agreement.flatten(1).max(dim=1)
    row, column = index // side, index % side
    number = torch.arange(len(agreement))
    x = column - REACH + _peak(agreement[number, row], column)
    y = row - REACH + _peak(agreement[number, :, column], row)
    return Drift(torch.stack([x, y], dim=1), best)


def _windows(images: Tensor, centres: Tensor, radius: int) -> Tensor:
    """(N, 2 radius + 1, 2 radius + 1) of grey images around (x, y); edges are repeated."""
    height, width = images.shape[-2:]
    offsets = torch.arange(-radius, radius + 1)
    rows = (centres[:, 1, None] + offsets).clamp(0, height - 1)[:, :, None]
    columns = (centres[:, 0, None] + offsets).clamp(0, width - 1)[:, None, :]
    windows: Tensor = images.mean(dim=1)[torch.arange(len(images))[:, None, None], rows, columns]
    return windows


def _normalised(vectors: Tensor) -> Tensor:
    """Zero mean and unit length along the last axis; flat vectors become 0."""
    centred = vectors - vectors.mean(dim=-1, keepdim=True)
    unit: Tensor = centred / centred.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    return unit


def _peak(line: Tensor, at: Tensor) -> Tensor:
    """Where a parabola through the best of each line (N, S) and its neighbours peaks, relative to the best."""
    inside = (at > 0) & (at < line.shape[1] - 1)
    middle = at.clamp(1, line.shape[1] - 2)[:, None]
    left, centre, right = (line.gather(1, middle + step)[:, 0] for step in (-1, 0, 1))
    curvature = left - 2 * centre + right
    offset = 0.5 * (left - right) / torch.where(curvature < 0, curvature, -torch.ones_like(curvature))
    return torch.where(inside & (curvature < 0), offset.clamp(-0.5, 0.5), torch.zeros_like(offset))
