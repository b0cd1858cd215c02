"""Small network from an image to the classes that are present in it."""

import itertools

import torch
from torch import Tensor, nn


class SmallClassifier(nn.Module):
    """Network of four strided convolutions that sees what is in an image, wherever it is.

    Args:
        classes: number of classes.
        channels: number of image channels.
        width: number of feature channels of the first convolution.
    """

    def __init__(self, *, classes: int, channels: int = 3, width: int = 24) -> None:
        super().__init__()
        widths = [channels, width, 2 * width, 4 * width, 4 * width]
        self.trunk = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 5 if number == 0 else 3, stride=2, padding=2 if number == 0 else 1),
                    nn.GroupNorm(4, after),
                    nn.ReLU(inplace=True),
                )
                for number, (before, after) in enumerate(itertools.pairwise(widths))
            )
        )
        self.head = nn.Linear(2 * widths[-1], classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the mean and the maximum of each feature, (N, D), of images, (N, C, H, W), in [-1, 1]."""
        found = self.trunk(images)
        return torch.cat([found.mean(dim=(2, 3)), found.amax(dim=(2, 3))], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Return a score of each class, (N, classes), positive if it seems present."""
        scores: Tensor = self.head(self.features(images))
        return scores
