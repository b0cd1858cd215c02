"""Random changes of what the discriminator sees, refined and real, that let the refiner's gradient through.

With few photographs the discriminator learns them by heart; it cannot when it never sees one twice. As both
domains are changed alike, and in the updates of both players, the changes do not leak into the refined images.

Dimension letters: N images, C channels, H height, W width.

Source: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", arXiv:2006.10738. Its
usual strengths are translation 0.125, cutout 0.5, brightness 0.5, contrast 0.5; its saturation is not here, and blur
is not in it: it hides the noise of the camera, which is the easiest difference between the domains and the last that
a task needs, so that the discriminator has to look at shape and shading.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from refiner.core.rng import BatchSlice
from refiner.images.blur import blur as blur_images

_SHARP = 0.05
"""Standard deviation, in pixels, that changes nothing."""


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
    """Change each image at random: sharpness, brightness, contrast, place, and a rectangle cut out, in this order.

    Args:
        images: (N, C, H, W), float, in [-1, 1]. Gradients flow through.
        generator: source of the random choices, on the CPU; a strength of 0 draws nothing from it.
        translation: farthest shift, as a share of height and of width.
        cutout: height and width of the rectangle, as shares of those of the image.
        brightness: largest shift of the grey levels, in units of [-1, 1].
        contrast: largest change of the factor on the distance to the image's mean.
        blur: largest standard deviation of a Gaussian blur, in pixels. Were no image sharp, the refiner could change
            brightness by single bright and dark pixels, which cost little and would not be seen.
        rows: which of a batch they are, that is drawn for as a whole; None is all of it.

    Returns:
        The same shape, beyond [-1, 1] where brightness or contrast lead there; ``images`` itself when every
        strength is 0.
    """
    rows = rows or BatchSlice(0, len(images), len(images))
    batch, own = rows.batch_size, rows.slice
    if blur:
        deviations = (blur * torch.rand(batch, generator=generator)[own]).clamp(min=_SHARP)
        images = blur_images(images, deviations, reach=math.ceil(2.5 * blur))
    if brightness:
        images = shift_levels(images, _uniform(batch, brightness, generator)[own])
    if contrast:
        images = stretch_levels(images, 1 + _uniform(batch, contrast, generator)[own])
    height, width = images.shape[-2:]
    if translation:
        reach = [_pixels(translation, side) for side in (height, width)]
        shifts = [torch.randint(-most, most + 1, (batch,), generator=generator)[own] for most in reach]
        images = translate(images, torch.stack(shifts, dim=1))
    if cutout:
        sides = _pixels(cutout, height), _pixels(cutout, width)
        # The centre lies anywhere in the image, so that its borders are cut too; what lies outside has no effect.
        corners = [
            torch.randint(whole + 1 - side % 2, (batch,), generator=generator)[own] - side // 2
            for side, whole in zip(sides, (height, width), strict=True)
        ]
        images = cut_out(images, torch.stack(corners, dim=1), sides)
    return images


def shift_levels(images: Tensor, amounts: Tensor) -> Tensor:
    """Add its amount, (N,), to every value of an image."""
    return images + amounts.to(images.device)[:, None, None, None]


def stretch_levels(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply the distance of every value to the mean of its image by its factor, (N,)."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * factors.to(images.device)[:, None, None, None] + mean


def translate(images: Tensor, shifts: Tensor) -> Tensor:
    """Move each image down and to the right by its shift, (N, 2) in whole pixels; 0, mid-grey, moves in."""
    shifts = shifts.to(images.device)
    height, width = images.shape[-2:]
    padded = functional.pad(images, (1, 1, 1, 1))
    rows = (_count(height, images) + 1 - shifts[:, :1]).clamp(0, height + 1)  # (N, H): where each row comes from
    columns = (_count(width, images) + 1 - shifts[:, 1:]).clamp(0, width + 1)  # (N, W)
    image = _count(len(images), images)[:, None, None]
    return padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cut_out(images: Tensor, corners: Tensor, sides: tuple[int, int]) -> Tensor:
    """Set a rectangle of each image to 0: ``sides`` high and wide from its corner, (N, 2), top and left."""
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
