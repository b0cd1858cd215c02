"""The refiner, to the paper's layer tables and smaller.

Dimension letters: N images, C channels, H height, W width of an image. Images are float32 in [-1, 1].

Source: arXiv:1612.07828, section 3.1 and 3.2 (layer tables of the gaze and the hand networks).
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """conv, ReLU, conv, add the input, ReLU; keeps (N, features, H, W)."""

    def __init__(self, features: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, kernel, padding=kernel // 2)
        self.conv2 = nn.Conv2d(features, features, kernel, padding=kernel // 2)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, features, H, W) to the same."""
        hidden = functional.relu(self.conv1(inputs), inplace=True)
        return functional.relu(self.conv2(hidden) + inputs, inplace=True)


UNFOLDED = 8
"""Channels at full resolution behind a trunk at half resolution."""


class RefinerNetwork(nn.Module):
    """R of the paper: a fully convolutional residual network that keeps the size of the image.

    With the defaults it is the paper's gaze refiner (296,129 parameters, receptive field 19). Two departures
    make it cheaper and safer: ``unshuffle=2`` folds 2x2 pixels into channels, so that the trunk runs at half
    resolution for a quarter of the work; ``output="residual"`` learns a bounded change of the input instead
    of the image itself, so that an untrained refiner is the identity and every grey level can be kept.

    Args:
        channels: channels of the images, 1 (grey, depth) or 3 (RGB).
        features: channels of the trunk.
        blocks: number of residual blocks.
        stem_kernel: side of the first convolution, odd.
        kernel: side of the convolutions in the blocks, odd.
        unshuffle: side of the pixel block folded into channels; 1 folds nothing.
        output: "tanh", as in the paper, or "residual": clip(x + max_change * tanh(f(x)), -1, 1).
        max_change: largest change of a pixel with "residual", in units of [-1, 1]; 2 is the whole range.
        smooth_change: weigh each pixel's change with its neighbours', 1 2 1 along rows and columns: a checkerboard, as
            folded pixels leave it, sums to nothing.
        keep_background: leave pixels at 1, the background of cut depth images, as they are.
    """

    channels: int
    unshuffle: int
    reach: int
    """Pixels on either side of one that its refined value follows from, rounded up to whole folded blocks."""

    def __init__(
        self,
        channels: int = 1,
        *,
        features: int = 64,
        blocks: int = 4,
        stem_kernel: int = 3,
        kernel: int = 3,
        unshuffle: int = 1,
        output: Literal["tanh", "residual"] = "tanh",
        max_change: float = 2.0,
        smooth_change: bool = False,
        keep_background: bool = False,
    ) -> None:
        super().__init__()
        if output not in ("tanh", "residual"):
            raise ValueError(f"output is {output!r}, expected tanh or residual")
        self.channels = channels
        self.unshuffle = unshuffle
        self.output = output
        self.max_change = max_change
        self.smooth_change = smooth_change
        self.keep_background = keep_background
        folded = channels * unshuffle**2
        trunk = stem_kernel // 2 + 2 * blocks * (kernel // 2)
        self.reach = unshuffle * (trunk + (unshuffle > 1) + smooth_change)  # of what comes behind it, a pixel each
        self.stem = nn.Conv2d(folded, features, stem_kernel, padding=stem_kernel // 2)
        self.blocks = nn.Sequential(*(ResidualBlock(features, kernel) for _ in range(blocks)))
        if unshuffle > 1:  # unfold, then smooth over the seams of the blocks, which would show as a checkerboard
            self.unfold = nn.Conv2d(features, UNFOLDED * unshuffle**2, 1)
            self.head = nn.Conv2d(UNFOLDED + channels, channels, 3, padding=1)
        else:
            self.head = nn.Conv2d(features, channels, 1)
        if output == "residual":  # start from the identity
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Refine images.

        Args:
            images: (N, C, H, W), float, in [-1, 1], any H and W from 1 up.

        Returns:
            The same shape, float32, in [-1, 1].
        """
        height, width = images.shape[-2:]
        padded = self._padded(images)
        hidden = self.blocks(self._stem(padded))  # (N, features, h, w)
        # The last layer stays in fp32: bf16 steps near white are half a grey level, which a discriminator can see.
        with torch.autocast(images.device.type, enabled=False):
            hidden = hidden.float()
            if self.unshuffle > 1:
                unfolded = functional.relu(functional.pixel_shuffle(self.unfold(hidden), self.unshuffle))
                hidden = torch.cat([unfolded, padded.float()], dim=1)
            change: Tensor = torch.tanh(self.head(hidden))
        if self.smooth_change:  # twice the mean of 2x2 pixels
            change = functional.pad(change, (1, 1, 1, 1), mode="replicate")
            change = functional.avg_pool2d(functional.avg_pool2d(change, 2, stride=1), 2, stride=1)
        change = change[..., :height, :width]
        refined = change if self.output == "tanh" else (images.float() + self.max_change * change).clamp(-1, 1)
        return torch.where(images >= 1, images.float(), refined) if self.keep_background else refined

    def encode(self, images: Tensor) -> list[Tensor]:
        """What the stem and each block make of images, (N, features, h, w) each."""
        maps = [self._stem(self._padded(images))]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return maps

    def _padded(self, images: Tensor) -> Tensor:
        """To whole folded blocks."""
        bottom, right = (-side % self.unshuffle for side in images.shape[-2:])
        return functional.pad(images, (0, right, 0, bottom), mode="replicate") if bottom or right else images

    def _stem(self, padded: Tensor) -> Tensor:
        folded = functional.pixel_unshuffle(padded, self.unshuffle) if self.unshuffle > 1 else padded
        return functional.relu(self.stem(folded), inplace=True)


def parameter_count(network: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
