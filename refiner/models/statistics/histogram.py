"""Histogram matching: a render gets the distribution of values of a real image, channel by channel.

A distribution is a list of points: values in increasing order, and the share of pixels up to each. It is exact for
images of 8 bits. Images with more values than points keep evenly spread ranks.
"""

import torch
from torch import Tensor

from refiner.models.statistics.architecture import HistogramArchitecture
from refiner.models.statistics.refiner import StatisticsRefiner


class HistogramRefiner(StatisticsRefiner[HistogramArchitecture]):
    """A refiner that holds cumulative distributions of real images.

    Args:
        architecture: settings.
    """

    values: Tensor
    """Values in [-1, 1] of each real image and channel, (examples, C, levels)."""
    probabilities: Tensor
    """Share of pixels up to each value, (examples, C, levels)."""

    def _adapt(self, images: Tensor, numbers: Tensor, strengths: Tensor) -> Tensor:
        lowest, highest = self.architecture.blend
        adapted = torch.empty_like(images)
        for number, (example, strength) in enumerate(zip(numbers.tolist(), strengths.tolist(), strict=True)):
            blend = lowest + strength * (highest - lowest)
            for channel, plane in enumerate(images[number]):
                values = (self.values[example, channel].double() + 1) / 2
                matched = match_values(plane, values, self.probabilities[example, channel])
                adapted[number, channel] = plane + blend * (matched - plane)
        return adapted

    def _fit(self, number: int, images: Tensor) -> None:
        for example, planes in enumerate(images * 2 - 1, number):
            for channel, plane in enumerate(planes):
                values, probabilities = distribution(plane, self.architecture.levels)
                self.values[example, channel] = values
                self.probabilities[example, channel] = probabilities


def distribution(plane: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """Return the cumulative distribution of the values of a plane (H, W).

    Args:
        plane: its values.
        levels: number of points.

    Returns:
        Values in increasing order, (levels,), and the share of pixels up to each, float64. Spare points repeat the
        last.
    """
    values, counts = plane.flatten().unique(return_counts=True)
    ranks = counts.cumsum(0)
    if len(values) > levels:
        # Keep evenly spread ranks, the lowest and the highest among them.
        ranks = torch.linspace(1, plane.numel(), levels, dtype=torch.float64).round().long()
        values = plane.flatten().sort().values[ranks - 1]
    spare = torch.arange(levels).clamp(max=len(values) - 1)
    return values[spare], (ranks.double() / plane.numel())[spare]


def match_values(plane: Tensor, values: Tensor, probabilities: Tensor) -> Tensor:
    """Give a plane (H, W) the distribution of the points ``values`` and ``probabilities``.

    Each value becomes the one up to which the same share of pixels lies, interpolated between points.
    """
    _, inverse, counts = plane.unique(return_inverse=True, return_counts=True)
    shares = counts.cumsum(0).double() / plane.numel()
    # Interpolate between the points below and above each share.
    points, steps = values.double(), probabilities.double()
    above = torch.searchsorted(steps, shares).clamp(max=len(steps) - 1)
    below = (above - 1).clamp(min=0)
    gap = steps[above] - steps[below]
    weight = torch.where(gap > 0, (shares - steps[below]) / gap.where(gap > 0, torch.ones_like(gap)), 1)
    return torch.lerp(points[below], points[above], weight.clamp(0, 1))[inverse]
