"""Where the joints of a hand are: a small heatmap network, and how many of them it finds."""

import numpy as np
import torch
from torch import Tensor, nn

from refiner.models.regressor import Values, fit_regressor, predict

STRIDE = 4
"""Pixels of the image in one of a heatmap."""


class HeatmapEstimator(nn.Module):
    """A heatmap for each joint, and the mean place under it: trains in a minute on two cores at 64x64.

    Args:
        size: (height, width) of the images.
        joints: how many are looked for.

    Source:
        Tompson et al. 2014 (a heatmap for each joint); Sun et al. 2018, arXiv:1711.08229, equation 2 (its mean place
        instead of its peak, which has a gradient, and is finer than a cell).
    """

    places: Tensor

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
        y, x = (((torch.arange(-(-side // STRIDE)) * STRIDE + (STRIDE - 1) / 2) / max(size)) for side in size)
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # (h, w, 2)
        self.register_buffer("places", grid.flatten(0, 1))

    def heatmaps(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) in [-1, 1] to (N, joints, h, w), each of sum 1."""
        scores = self.trunk(images)
        heatmaps: Tensor = scores.flatten(2).softmax(dim=2).view_as(scores)
        return heatmaps

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) in [-1, 1] to (N, 2 joints): x, y of each, in parts of the longer side."""
        places: Tensor = self.heatmaps(images).flatten(2) @ self.places
        return places.flatten(1)


def fit_joints(images: Tensor, joints: Values, *, steps: int, seed: int) -> nn.Module:
    """Train an estimator from scratch.

    Args:
        images: (N, 1, H, W), float32, in [-1, 1].
        joints: (N, K, 2), x and y in pixels.
        steps: updates, each on 64 images.
        seed: weights and order follow from it.
    """
    wanted = joints.reshape(len(joints), -1) / max(images.shape[2:])
    count = joints.shape[1]
    return fit_regressor(lambda size: HeatmapEstimator(size, joints=count), images, wanted, steps=steps, seed=seed)


def find_joints(estimator: nn.Module, images: Tensor) -> Values:
    """(N, K, 2), x and y in pixels, of images (N, 1, H, W) in [-1, 1]."""
    return predict(estimator, images).reshape(len(images), -1, 2) * max(images.shape[2:])


def share_within(found: Values, true: Values, pixels: float) -> float:
    """Share of joints, (N, K, 2) each, that lie within so many pixels of where they are.

    Source:
        arXiv:1612.07828, section 3.2: the measure of the hand experiment, at 5 pixels of 224.
    """
    return float((np.linalg.norm(found - true, axis=2) <= pixels).mean())
