"""Heatmap network from an image to the positions of points."""

import torch
from torch import Tensor, nn

STRIDE = 4
"""Image pixels per heatmap pixel, along each side."""


class HeatmapEstimator(nn.Module):
    """Network that predicts a heatmap for each point and returns the heatmap's mean position.

    At 64x64 it trains in a minute on two cores.

    Args:
        size: (height, width) of the images.
        joints: number of points.
        channels: number of image channels.

    Source:
        Tompson et al. 2014 (a heatmap for each joint); Sun et al. 2018, arXiv:1711.08229, equation 2 (the mean position
        instead of the peak: it is differentiable, and finer than a heatmap pixel).
    """

    positions: Tensor

    def __init__(self, size: tuple[int, int], *, joints: int, channels: int = 1) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            *(nn.Conv2d(channels, 24, 5, stride=2, padding=2), nn.ReLU(inplace=True)),
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
        """Return heatmaps (N, joints, h, w), each of sum 1, of images (N, C, H, W) in [-1, 1]."""
        scores = self.trunk(images)
        heatmaps: Tensor = scores.flatten(2).softmax(dim=2).view_as(scores)
        return heatmaps

    def forward(self, images: Tensor) -> Tensor:
        """Return x and y of each point, (N, 2 * joints), as shares of the longer side of images (N, C, H, W)."""
        positions: Tensor = self.heatmaps(images).flatten(2) @ self.positions  # (N, joints, 2)
        return positions.flatten(1)
