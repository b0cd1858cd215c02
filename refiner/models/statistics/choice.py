"""The choice of a real image, and of a strength, for each render.

The choice follows from the pixels of the render. A render therefore has the same result in a folder, in a store and in
Python, whatever its name, its batch, its worker and its shard.
"""

import hashlib

import torch
from torch import Tensor

_ROUNDING = 0.49975
"""Offset before levels are cut to integers. Luma lies on thousandths of a level; at 0.5, rounding would decide."""


def choose(images: Tensor, examples: int) -> tuple[Tensor, Tensor]:
    """Choose an example and a strength for each image.

    Args:
        images: (N, C, H, W), in [-1, 1]; their levels of 8 bits decide.
        examples: number of examples to choose from.

    Returns:
        Numbers of the examples, (N,) int64, and strengths in [0, 1), (N,) float64; on the device of the images.
    """
    levels = ((images.float() + 1) * 127.5 + _ROUNDING).clamp(0, 255).to(torch.uint8).cpu().contiguous().numpy()
    digests = [hashlib.sha256(image.tobytes()).digest() for image in levels]
    numbers = [int.from_bytes(digest[:8], "little") % examples for digest in digests]
    strengths = [int.from_bytes(digest[8:14], "little") / 2**48 for digest in digests]
    return (
        torch.tensor(numbers, dtype=torch.int64, device=images.device),
        torch.tensor(strengths, dtype=torch.float64, device=images.device),
    )
