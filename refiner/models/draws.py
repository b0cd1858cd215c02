"""Draws: 32 bytes for each image, from which everything follows that a refiner chooses at random.

Only architectures with ``is_random`` use them. A draw follows either from the pixels of the render, so that the render
has the same result in a folder, in a store and in Python, or from a position in training.
"""

import hashlib

import torch
from torch import Tensor

from refiner.core.rng import derived_digest

_ROUNDING = 0.49975
"""Offset before levels are cut to integers. Luma lies on thousandths of a level; at 0.5, rounding would decide."""


def draws_of(images: Tensor, version: int = 0) -> list[bytes]:
    """Return the draw of each image by its pixels.

    Args:
        images: (N, C, H, W), in [-1, 1]; the SHA-256 of their levels of 8 bits is the draw of version 0.
        version: each version of an image has a draw of its own, the SHA-256 of that of version 0 and the number.

    Returns:
        N draws of 32 bytes.
    """
    levels = ((images.float() + 1) * 127.5 + _ROUNDING).clamp(0, 255).to(torch.uint8).cpu().contiguous().numpy()
    draws = [hashlib.sha256(image.tobytes()).digest() for image in levels]
    return [hashlib.sha256(draw + version.to_bytes(8, "little")).digest() for draw in draws] if version else draws


def draws_at(seed: int, purpose: str, step: int, count: int) -> list[bytes]:
    """Return the draw of each image of a training batch by its position, whatever the image.

    Args:
        seed, purpose: every random choice of a run follows from them.
        step: number of updates so far.
        count: images in the batch.
    """
    return [derived_digest(seed, purpose, step, place) for place in range(count)]
