"""Gaussian blur of a batch with a separate width for each image.

Dimension letters: N images, C channels, H height, W width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def blur(images: Tensor, deviations: Tensor, *, reach: int) -> Tensor:
    """Blur each image; pixels beyond the border repeat the border.

    Args:
        images: (N, C, H, W), float. Gradients flow through them.
        deviations: (N,), standard deviations in pixels, above 0.
        reach: half-width of the kernel in pixels.

    Returns:
        (N, C, H, W); a constant image stays unchanged up to rounding.
    """
    height, width = images.shape[2:]
    offsets = torch.arange(-reach, reach + 1, device=images.device).view(-1, 1, 1, 1, 1)
    weights = (offsets.square() / (-2 * deviations.to(images.device).view(-1, 1, 1, 1).square())).exp()
    weights = (weights / weights.sum(dim=0)).to(images.dtype)  # (taps, N, 1, 1, 1)
    # Blur along rows, then along columns.
    padded = functional.pad(images, (reach, reach, 0, 0), mode="replicate")
    images = _weighted(weights, [padded[..., tap : tap + width] for tap in range(len(weights))])
    padded = functional.pad(images, (0, 0, reach, reach), mode="replicate")
    return _weighted(weights, [padded[..., tap : tap + height, :] for tap in range(len(weights))])


def _weighted(weights: Tensor, shifted: Sequence[Tensor]) -> Tensor:
    total = weights[0] * shifted[0]
    for weight, image in zip(weights[1:], shifted[1:], strict=True):
        total.addcmul_(weight.expand_as(image), image)
    return total
