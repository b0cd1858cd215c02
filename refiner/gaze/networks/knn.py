"""Nearest-neighbour baseline: the mean gaze of the most similar training images.

Images are compared pixel by pixel, as small standardised patches. Published results of this kind are among the best
without a network (arXiv:1612.07828, table 3).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEAST_DEVIATION = 1e-3  # of a standardised patch, so that a flat one stays finite


class NearestNeighbours(nn.Module):
    """k-nearest-neighbour regression of gaze; the buffers hold the training images.

    Args:
        size: (height, width) of the images.
        patch: (height, width) at which images are compared.
        neighbours: number of neighbours whose gaze is averaged; all samples if there are fewer.
        samples: number of training images.

    Raises:
        ValueError: ``neighbours`` or ``samples`` is below 1.
    """

    features: Tensor
    gaze: Tensor
    head_pose = False

    def __init__(self, size: tuple[int, int], *, patch: tuple[int, int], neighbours: int, samples: int) -> None:
        super().__init__()
        if min(neighbours, samples) < 1:
            raise ValueError(f"neighbours is {neighbours} and samples is {samples}; both must be 1 or more")
        self.size, self.patch, self.neighbours = size, patch, neighbours
        self.register_buffer("features", torch.zeros(samples, patch[0] * patch[1]))
        self.register_buffer("gaze", torch.zeros(samples, 2))

    @torch.no_grad()
    def remember(self, start: int, images: Tensor, gaze: Tensor) -> None:
        """Store training images, (N, 1, H, W) in [-1, 1], and their gaze, (N, 2), from sample ``start`` on."""
        self.features[start : start + len(images)] = self.describe(images)
        self.gaze[start : start + len(images)] = gaze

    def describe(self, images: Tensor) -> Tensor:
        """Return images (N, 1, H, W) as features (N, patch height x width): area means with mean 0, deviation 1."""
        small = functional.adaptive_avg_pool2d(images, self.patch).flatten(1)
        deviation, mean = torch.std_mean(small, dim=1, keepdim=True)
        return (small - mean) / deviation.clamp(min=_LEAST_DEVIATION)

    def forward(self, images: Tensor, head_pose: Tensor | None = None) -> Tensor:
        """Return pitch and yaw in radians, (N, 2), of images (N, 1, H, W) in [-1, 1]; ``head_pose`` is ignored."""
        distances = torch.cdist(self.describe(images), self.features)  # (N, samples)
        nearest = distances.topk(min(self.neighbours, len(self.gaze)), dim=1, largest=False).indices
        return self.gaze[nearest].mean(dim=1)
