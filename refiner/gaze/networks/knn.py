"""The nearest-neighbour baseline: the mean gaze of the training images that look most alike.

Images are compared as small standardised patches, pixel by pixel. The published figures of this kind are among the
strongest without a network (arXiv:1612.07828, table 3).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEAST_DEVIATION = 1e-3


class NearestNeighbours(nn.Module):
    """k nearest neighbours; its buffers are the training images.

    Args:
        size: (height, width) of the images.
        patch: (height, width) at which they are compared.
        neighbours: whose gaze is averaged; at most all.
        samples: training images.
    """

    features: Tensor
    gaze: Tensor
    head_pose = False

    def __init__(self, size: tuple[int, int], *, patch: tuple[int, int], neighbours: int, samples: int) -> None:
        super().__init__()
        if min(neighbours, samples) < 1:
            raise ValueError(f"{neighbours} neighbours of {samples} samples, expected 1 or more")
        self.size, self.patch, self.neighbours = size, patch, neighbours
        self.register_buffer("features", torch.zeros(samples, patch[0] * patch[1]))
        self.register_buffer("gaze", torch.zeros(samples, 2))

    @torch.no_grad()
    def remember(self, start: int, images: Tensor, gaze: Tensor) -> None:
        """Take training images, (N, 1, H, W) in [-1, 1], and their gaze, (N, 2), as samples ``start`` and on."""
        self.features[start : start + len(images)] = self.describe(images)
        self.gaze[start : start + len(images)] = gaze

    def describe(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) to (N, patch height x width): area means, mean 0 and deviation 1."""
        small = functional.adaptive_avg_pool2d(images, self.patch).flatten(1)
        deviation, mean = torch.std_mean(small, dim=1, keepdim=True)
        return (small - mean) / deviation.clamp(min=_LEAST_DEVIATION)

    def forward(self, images: Tensor, head_pose: Tensor | None = None) -> Tensor:
        """Pitch and yaw in radians, (N, 2), of images (N, 1, H, W) in [-1, 1]; the head pose is not looked at."""
        distances = torch.cdist(self.describe(images), self.features)  # (N, samples)
        nearest = distances.topk(min(self.neighbours, len(self.gaze)), dim=1, largest=False).indices
        return self.gaze[nearest].mean(dim=1)
