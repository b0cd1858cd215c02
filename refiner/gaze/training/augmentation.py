"""Strong augmentation of eye patches, for whole batches.

It changes properties of camera and skin that do not depend on gaze: light, contrast, gamma, shading, sharpness, noise,
occlusion, and the position of the crop. Labels do not change. It takes some tens of microseconds an image.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from refiner.core.rng import torch_generator
from refiner.images.blur import blur

_REACH = 3  # radius of the blur kernel, in pixels


def strong_augmentation(images: Tensor, *, strength: float, seed: int, step: int) -> Tensor:
    """Return a batch of patches, each changed at random on its own.

    Args:
        images: (N, 1, H, W), float32 on the CPU, in [-1, 1].
        strength: factor on the size of every change; 0 returns the images as they are.
        seed, step: every random choice follows from them.

    Returns:
        Same shape and range.
    """
    if not strength:
        return images
    draws = _Draws(len(images), strength, torch_generator(seed, "gaze-augmentation", step))
    # The scene: position of the crop, light, shading, occlusion.
    images = _move(images, draws)
    images = _light(images, draws)
    images = _shade(images, draws)
    images = _cover(images, draws)
    # The camera: blur, in pixels, on half of the images, then noise.
    deviations = draws.up_to(1.5).clamp_(min=0.05)
    images = blur(images, deviations, reach=_REACH)
    noise = torch.randn(images.shape, generator=draws.generator)
    return noise.mul_(draws.up_to(0.12)).add_(images).clamp_(-1, 1)


class _Draws:
    """Random numbers for a batch, shaped (N, 1, 1, 1)."""

    def __init__(self, count: int, strength: float, generator: torch.Generator) -> None:
        self.count, self.strength, self.generator = count, strength, generator

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(self.count, 1, 1, 1, generator=self.generator) * (high - low) + low

    def around(self, size: float) -> Tensor:
        """Return numbers uniform in [-size, size], times the strength."""
        return self.uniform(-size, size) * self.strength

    def up_to(self, size: float) -> Tensor:
        """Return 0 for half of the images, and numbers uniform in [0, size] times the strength for the others."""
        return self.uniform(-size, size).clamp_(min=0) * self.strength


def _move(images: Tensor, draws: _Draws) -> Tensor:
    """Shift by up to 4 % of the width (2.4 of 60 pixels) and scale by up to 8 %; the border is repeated.

    Bilinear, as one matrix for rows and one for columns, which is faster than a general sampling grid.
    """
    height, width = images.shape[2:]
    scale, reach = draws.around(0.08).exp(), 0.04 * width
    rows = _resampling(height, scale, draws.around(reach))
    columns = _resampling(width, scale, draws.around(reach))
    return rows @ images @ columns.transpose(2, 3)


def _resampling(length: int, scale: Tensor, shift: Tensor) -> Tensor:
    """Return the matrix (N, 1, length, length) of a linear interpolation about the middle; its rows sum to 1."""
    places = torch.arange(length, dtype=torch.float32)
    middle = (length - 1) / 2
    sources = ((places - middle) * scale[..., 0] + middle + shift[..., 0]).clamp(0, length - 1)  # (N, 1, length)
    return (1 - (sources[..., None] - places).abs()).clamp_(min=0)


def _light(images: Tensor, draws: _Draws) -> Tensor:
    """Change gamma by up to a factor of 1.8, contrast by up to 1.5, brightness by up to a quarter of the range."""
    gamma, contrast = draws.around(math.log(1.8)).exp(), draws.around(math.log(1.5)).exp()
    levels = images.add(1).mul_(0.5).clamp_(1e-4, 1).pow_(gamma).mul_(2).sub_(1)
    mean = levels.mean(dim=(2, 3), keepdim=True)
    return (levels - mean).mul_(contrast).add_(mean + draws.around(0.5))


def _shade(images: Tensor, draws: _Draws) -> Tensor:
    """Add light that varies slowly across the patch."""
    height, width = images.shape[2:]
    coarse = torch.randn(len(images), 1, 3, 4, generator=draws.generator) * draws.up_to(0.5)
    return images + _smooth(height, 3) @ coarse @ _smooth(width, 4).T


def _smooth(length: int, knots: int) -> Tensor:
    """Return the matrix (length, knots) of a cubic interpolation between a few values."""
    unit = torch.eye(knots)[None, None]
    return functional.interpolate(unit, (length, knots), mode="bicubic", align_corners=True)[0, 0]


def _cover(images: Tensor, draws: _Draws) -> Tensor:
    """Cover half of the images with a rectangle of one level, up to a third of the width and of the height."""
    height, width = images.shape[2:]
    low, high = draws.uniform(-0.2, 1), draws.uniform(-0.2, 1)
    rows, columns = torch.arange(height).view(1, 1, -1, 1), torch.arange(width).view(1, 1, 1, -1)
    tall, wide = draws.up_to(height / 3), draws.up_to(width / 3)
    inside = (rows >= low * height) & (rows < low * height + tall)
    inside = inside & (columns >= high * width) & (columns < high * width + wide * (tall > 0))
    return torch.where(inside, draws.uniform(-1, 1), images)
