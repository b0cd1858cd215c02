"""Refiner network after the layer tables of the paper, with cheaper variants.

Dimension letters: N images, C channels, H height, W width of an image. Images are float32 in [-1, 1].

Source: arXiv:1612.07828, sections 3.1 and 3.2 (layer tables of the gaze and the hand networks).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from refiner.models.architecture import PAPER_GAZE, UNFOLDED, Padding, RefinerArchitecture


class ResidualBlock(nn.Module):
    """Residual block: convolution, ReLU, convolution, addition of the input, ReLU."""

    def __init__(self, features: int, kernel: int = 3, padding: Padding = "replicate") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, kernel, padding=kernel // 2, padding_mode=padding)
        self.conv2 = nn.Conv2d(features, features, kernel, padding=kernel // 2, padding_mode=padding)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features of the same shape, (N, features, H, W)."""
        hidden = functional.relu(self.conv1(inputs), inplace=True)
        return functional.relu(self.conv2(hidden) + inputs, inplace=True)


class RefinerNetwork(nn.Module):
    """R of the paper: a fully convolutional residual network that keeps the size of the image.

    Args:
        architecture: settings of the network; None builds the paper's gaze refiner.
    """

    architecture: RefinerArchitecture

    def __init__(self, architecture: RefinerArchitecture | None = None) -> None:
        super().__init__()
        self.architecture = architecture = architecture or PAPER_GAZE
        channels, features, unshuffle = architecture.channels, architecture.features, architecture.unshuffle
        kernel, stem_kernel, padding = architecture.kernel, architecture.stem_kernel, architecture.padding
        self.stem = nn.Conv2d(
            channels * unshuffle**2, features, stem_kernel, padding=stem_kernel // 2, padding_mode=padding
        )
        self.blocks = nn.Sequential(*(ResidualBlock(features, kernel, padding) for _ in range(architecture.blocks)))
        if unshuffle > 1:
            # Unfold the blocks, then smooth their seams, which would otherwise show as a checkerboard.
            self.unfold = nn.Conv2d(features, UNFOLDED * unshuffle**2, 1)
            self.head = nn.Conv2d(UNFOLDED + channels, channels, 3, padding=1, padding_mode=padding)
        else:
            self.head = nn.Conv2d(features, channels, 1)
        if architecture.output == "residual":
            # Start from the identity.
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Refine images.

        Args:
            images: (N, C, H, W), float, in [-1, 1]; H and W are at least 1.

        Returns:
            (N, C, H, W), float32, in [-1, 1].
        """
        height, width = images.shape[-2:]
        padded = self._padded(images)
        hidden = self.blocks(self._stem(padded))  # (N, features, h, w)
        # The last layer stays in fp32: bf16 steps near white are half a grey level, which a discriminator can see.
        with torch.autocast(images.device.type, enabled=False):
            images, change = images.float(), self._change(hidden.float(), padded.float())[..., :height, :width]
        settings = self.architecture
        refined = change if settings.output == "tanh" else (images + settings.max_change * change).clamp(-1, 1)
        return torch.where(images >= 1, images, refined) if settings.keep_background else refined

    def _change(self, hidden: Tensor, padded: Tensor) -> Tensor:
        """Apply the last layers: the change in [-1, 1], (N, C, H, W), with H and W of whole folded blocks."""
        if self.architecture.unshuffle > 1:
            unfolded = functional.relu(functional.pixel_shuffle(self.unfold(hidden), self.architecture.unshuffle))
            hidden = torch.cat([unfolded, padded], dim=1)
        change = torch.tanh(self.head(hidden))
        if self.architecture.smooth_change:
            # Average over 2x2 pixels twice, which weighs neighbours 1 2 1.
            change = functional.pad(change, (1, 1, 1, 1), mode="replicate")
            change = functional.avg_pool2d(functional.avg_pool2d(change, 2, stride=1), 2, stride=1)
        return change

    def encode(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps after the stem and after each block, (N, features, h, w) each."""
        maps = [self._stem(self._padded(images))]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return maps

    def _padded(self, images: Tensor) -> Tensor:
        """Pad the bottom and the right to whole folded blocks."""
        bottom, right = (-side % self.architecture.unshuffle for side in images.shape[-2:])
        return functional.pad(images, (0, right, 0, bottom), mode="replicate") if bottom or right else images

    def _stem(self, padded: Tensor) -> Tensor:
        block = self.architecture.unshuffle
        folded = functional.pixel_unshuffle(padded, block) if block > 1 else padded
        return functional.relu(self.stem(folded), inplace=True)
