"""Differentiable augmentation: random changes of all images that the discriminator sees.

With few real images a discriminator memorizes them; it cannot if it never sees an image twice. Both domains are changed
in the same way, in the updates of both networks, so the changes do not leak into refined images. Gradients of the
refiner pass through.

Dimension letters: N images, C channels, H height, W width.

Source: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", arXiv:2006.10738. Its usual
strengths are translation 0.125, cutout 0.5, brightness 0.5, contrast 0.5. Its saturation is left out. Blur is ours: it
hides camera noise, the easiest difference between the domains and the least useful one for a task, so that the
discriminator must look at shape and shading.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from refiner.core.rng import BatchSlice
from refiner.images.blur import blur as blur_images

_SHARP = 0.05
"""Standard deviation of a blur, in pixels, that changes nothing."""


def augment(
    images: Tensor,
    generator: torch.Generator,
    *,
    translation: float = 0.0,
    cutout: float = 0.0,
    brightness: float = 0.0,
    contrast: float = 0.0,
    blur: float = 0.0,
    rows: BatchSlice | None = None,
) -> Tensor:
    """Change sharpness, brightness, contrast and position of each image at random, then cut out a rectangle.

    Args:
        images: (N, C, H, W), float, in [-1, 1]. Gradients flow through.
        generator: random source, on the CPU; a strength of 0 draws nothing from it.
        translation: largest shift, as a share of height and of width.
        cutout: height and width of the rectangle, as shares of those of the image.
        brightness: largest shift of the grey levels, in units of [-1, 1].
        contrast: largest change of the contrast factor.
        blur: largest standard deviation of a Gaussian blur, in pixels; drawn uniformly from 0. Some images must stay
            sharp, or the refiner could hide brightness in single pixels that a blurred discriminator cannot see.
        rows: slice of the batch that the images are; random numbers are drawn for the whole batch. None: the whole.

    Returns:
        The same shape; brightness and contrast may leave [-1, 1]. ``images`` itself if every strength is 0.
    """
    rows = rows or BatchSlice(0, len(images), len(images))
    batch, own = rows.batch_size, rows.slice
    # Sharpness.
    if blur:
        deviations = (blur * torch.rand(batch, generator=generator)[own]).clamp(min=_SHARP)
        images = blur_images(images, deviations, reach=math.ceil(2.5 * blur))
    # Levels.
    if brightness:
        images = shift_levels(images, _uniform(batch, brightness, generator)[own])
    if contrast:
        images = stretch_levels(images, 1 + _uniform(batch, contrast, generator)[own])
    # Position.
    height, width = images.shape[-2:]
    if translation:
        reach = [_pixels(translation, side) for side in (height, width)]
        shifts = [torch.randint(-most, most + 1, (batch,), generator=generator)[own] for most in reach]
        images = translate(images, torch.stack(shifts, dim=1))
    # Rectangle. Its centre may be anywhere in the image, so that borders are cut too.
    if cutout:
        sides = _pixels(cutout, height), _pixels(cutout, width)
        corners = [
            torch.randint(whole + 1 - side % 2, (batch,), generator=generator)[own] - side // 2
            for side, whole in zip(sides, (height, width), strict=True)
        ]
        images = cut_out(images, torch.stack(corners, dim=1), sides)
    return images


def shift_levels(images: Tensor, amounts: Tensor) -> Tensor:
    """Add an amount, (N,), to all values of each image."""
    return images + amounts.to(images.device)[:, None, None, None]


def stretch_levels(images: Tensor, factors: Tensor) -> Tensor:
    """Scale the contrast of each image around its mean by a factor, (N,)."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * factors.to(images.device)[:, None, None, None] + mean


def translate(images: Tensor, shifts: Tensor) -> Tensor:
    """Move each image down and right by whole pixels, (N, 2); mid-grey (0) fills the gap."""
    shifts = shifts.to(images.device)
    height, width = images.shape[-2:]
    padded = functional.pad(images, (1, 1, 1, 1))
    rows = (_count(height, images) + 1 - shifts[:, :1]).clamp(0, height + 1)  # (N, H): where each row comes from
    columns = (_count(width, images) + 1 - shifts[:, 1:]).clamp(0, width + 1)  # (N, W)
    image = _count(len(images), images)[:, None, None]
    return padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cut_out(images: Tensor, corners: Tensor, sides: tuple[int, int]) -> Tensor:
    """Set a rectangle of each image to 0, ``sides`` high and wide from its corner (top, left), (N, 2)."""
    corners = corners.to(images.device)
    within = []
    for axis in (0, 1):
        distance = _count(images.shape[2 + axis], images) - corners[:, axis : axis + 1]  # (N, H) or (N, W)
        within.append((distance >= 0) & (distance < sides[axis]))
    return images.masked_fill((within[0][:, :, None] & within[1][:, None, :])[:, None], 0.0)


def _uniform(count: int, most: float, generator: torch.Generator) -> Tensor:
    return (2 * torch.rand(count, generator=generator) - 1) * most


def _pixels(share: float, side: int) -> int:
    return int(share * side + 0.5)


def _count(end: int, images: Tensor) -> Tensor:
    return torch.arange(end, device=images.device)
