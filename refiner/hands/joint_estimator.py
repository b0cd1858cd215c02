"""Estimate the joints of a hand with a small heatmap network, and measure how many it finds."""

import numpy as np
import torch
from torch import Tensor, nn

from refiner.models.regressor import Values, fit_regressor, predict

STRIDE = 4
"""Image pixels per heatmap pixel, along each side."""


class HeatmapEstimator(nn.Module):
    """Network that predicts a heatmap for each joint and returns the heatmap's mean position.

    At 64x64 it trains in a minute on two cores.

    Args:
        size: (height, width) of the images.
        joints: number of joints.

    Source:
        Tompson et al. 2014 (a heatmap for each joint); Sun et al. 2018, arXiv:1711.08229, equation 2 (the mean position
        instead of the peak: it is differentiable, and finer than a heatmap pixel).
    """

    positions: Tensor

    def __init__(self, size: tuple[int, int], *, joints: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            *(nn.Conv2d(1, 24, 5, stride=2, padding=2), nn.ReLU(inplace=True)),
            *(nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(48, 48, 3, padding=2, dilation=2), nn.ReLU(inplace=True)),
            *(nn.Conv2d(48, 48, 3, padding=4, dilation=4), nn.ReLU(inplace=True)),
            *(nn.Conv2d(48, 48, 3, padding=1), nn.ReLU(inplace=True)),
            nn.Conv2d(48, joints, 1),
        )
        # Centres of the heatmap pixels in the image, in units of its longer side.
        y, x = (((torch.arange(-(-side // STRIDE)) * STRIDE + (STRIDE - 1) / 2) / max(size)) for side in size)
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # (h, w, 2)
        self.register_buffer("positions", grid.flatten(0, 1))

    def heatmaps(self, images: Tensor) -> Tensor:
        """Return heatmaps (N, joints, h, w), each of sum 1, of images (N, 1, H, W) in [-1, 1]."""
        scores = self.trunk(images)
        heatmaps: Tensor = scores.flatten(2).softmax(dim=2).view_as(scores)
        return heatmaps

    def forward(self, images: Tensor) -> Tensor:
        """Return x and y of each joint, (N, 2 * joints), as shares of the longer side of images (N, 1, H, W)."""
        positions: Tensor = self.heatmaps(images).flatten(2) @ self.positions  # (N, joints, 2)
        return positions.flatten(1)


def fit_joints(images: Tensor, joints: Values, *, steps: int, seed: int) -> nn.Module:
    """Train a joint estimator from scratch.

    Args:
        images: (N, 1, H, W), float32, in [-1, 1].
        joints: (N, K, 2), x and y in pixels.
        steps: number of updates, each on a batch of 64 images.
        seed: seed of the weights and of the order of the images.
    """
    targets = joints.reshape(len(joints), -1) / max(images.shape[2:])
    count = joints.shape[1]
    return fit_regressor(lambda size: HeatmapEstimator(size, joints=count), images, targets, steps=steps, seed=seed)


def find_joints(estimator: nn.Module, images: Tensor) -> Values:
    """Return the joints (N, K, 2), x and y in pixels, of images (N, 1, H, W) in [-1, 1]."""
    return predict(estimator, images).reshape(len(images), -1, 2) * max(images.shape[2:])


def share_within(found: Values, true: Values, pixels: float) -> float:
    """Return the share of joints found within ``pixels`` of their true position.

    Args:
        found, true: (N, K, 2), x and y in pixels.
        pixels: largest distance that counts as found.

    Source:
        arXiv:1612.07828, section 3.2, the metric of the hand experiment, there at 5 of 224 pixels.
    """
    return float((np.linalg.norm(found - true, axis=2) <= pixels).mean())
