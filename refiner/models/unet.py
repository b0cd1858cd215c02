"""Small U-Net from an image to the class of each pixel."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class SmallUNet(nn.Module):
    """U-Net of three levels whose finest one has half the resolution of the image; it trains in a minute on two cores.

    Args:
        classes: number of classes, the background among them.
        channels: number of image channels.
        width: number of feature channels at the finest level.

    Source:
        Ronneberger et al. 2015, arXiv:1505.04597; group normalization by Wu and He 2018, arXiv:1803.08494, which does
        the same in training and in use.
    """

    def __init__(self, *, classes: int, channels: int = 3, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 5, stride=2, padding=2)
        self.first = _block(width, width)
        self.second = _block(width, 2 * width)
        self.third = _block(2 * width, 4 * width)
        self.up_second = _block(6 * width, 2 * width)
        self.up_first = _block(3 * width, width)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores of the classes, (N, classes, H, W), of images, (N, C, H, W), in [-1, 1]."""
        first = self.first(functional.relu(self.stem(images)))
        second = self.second(functional.max_pool2d(first, 2, ceil_mode=True))
        third = self.third(functional.max_pool2d(second, 2, ceil_mode=True))
        joined = self.up_second(torch.cat([_enlarged(third, second), second], dim=1))
        joined = self.up_first(torch.cat([_enlarged(joined, first), first], dim=1))
        return functional.interpolate(self.head(joined), images.shape[2:], mode="bilinear", align_corners=False)


def _block(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(4, after), nn.ReLU(inplace=True))


def _enlarged(values: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(values, like.shape[2:])  # nearest pixels: the gradient of others is slow
