"""The camera of real images: how sharp their details are, and how much noise they carry.

An image is split into two bands of details, of about two and four pixels, and a rest (the undecimated wavelet transform
with the B3 spline). A band that is sharper than in the real image is damped. Noise that the real image has more of is
added. Nothing moves: all filters are symmetric.

Noise is read where an image is flattest, since edges elsewhere are no noise. Its variance grows with brightness, as
that of a photon count.

Dimension letters: N images, C channels, H height, W width, B bands.

Source: Starck and Murtagh 1998, "Automatic Noise Estimation from the Multiresolution Support", PASP 110.
"""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from refiner.models.statistics.architecture import BANDS

_NOISE_OF_BAND = (0.889, 0.200)
"""Standard deviation of white noise of deviation 1 in each band, from the squared sums of the bands' kernels."""

_SHARP = 0.95  # share of pixels whose details are weaker than the sharpness of a band
_FLAT = 0.15  # share of places that are flatter than those where noise is read
_PLACE, _STRIDE = 7, 4  # side and distance of places, in pixels
_DARKEST = 0.05  # brightness below which noise shrinks no further
_LEAST = 0.2  # share of the details that a render keeps at least, however blurred the real image is


def camera_properties(images: Tensor) -> Tensor:
    """Measure sharpness and noise.

    Args:
        images: (N, C, H, W), in [0, 1].

    Returns:
        (N, C, B, 2), float32: the strength that 95 % of the details stay below, and the variance of the noise in an
        image of brightness 1.
    """
    return _properties(*_split(images.float()))


def through_camera(images: Tensor, properties: Tensor, draws: Sequence[bytes]) -> Tensor:
    """Damp the details of images and add noise, as far as their properties differ from those of real images.

    Args:
        images: (N, C, H, W), in [0, 1].
        properties: (N, C, B, 2), those of a real image for each, see :func:`camera_properties`.
        draws: N draws of 32 bytes, which decide the noise.

    Returns:
        New (N, C, H, W), float32; values may leave [0, 1].
    """
    details, rest = _split(images.float())
    own = _properties(details, rest)
    # Damp, never sharpen: a sharper detail would be invented.
    gain = torch.where(own[..., 0] > 0, properties[..., 0] / own[..., 0], 1).clamp_(_LEAST, 1)
    # Add the noise that is missing after that.
    missing = (properties[..., 1] - gain.square() * own[..., 1]).clamp_(min=0).sqrt_()
    noise = _split(_white(draws, images))[0]
    weights = missing / missing.new_tensor(_NOISE_OF_BAND)
    added = _weighted(noise, weights).mul_(_brightness(rest).sqrt_())
    return added.add_(_weighted(details, gain)).add_(rest)


def _split(images: Tensor) -> tuple[list[Tensor], Tensor]:
    """Split images (N, C, H, W) into B bands of details and a rest, (N, C, H, W) each, whose sum they are."""
    bands = []
    for number in range(BANDS):
        smooth = _smooth(_smooth(images, 2**number, -1), 2**number, -2)
        bands.append(images - smooth)
        images = smooth
    return bands, images


def _smooth(images: Tensor, step: int, axis: int) -> Tensor:
    """Average along an axis with the B3 spline, whose taps are ``step`` pixels apart; the border is repeated."""
    side, reach = images.shape[axis], 2 * step
    border = (reach, reach, 0, 0) if axis == -1 else (0, 0, reach, reach)
    padded = functional.pad(images, border, mode="replicate")
    smooth = images * (6 / 16)
    for start, weight in ((0, 1 / 16), (step, 4 / 16), (3 * step, 4 / 16), (4 * step, 1 / 16)):
        smooth.add_(padded.narrow(axis, start, side), alpha=weight)
    return smooth


def _properties(details: Sequence[Tensor], rest: Tensor) -> Tensor:
    """Return sharpness and noise, (N, C, B, 2), of split images."""
    # Compare energy and brightness in small places, and take a flat one.
    places = partial(functional.avg_pool2d, kernel_size=[min(_PLACE, side) for side in rest.shape[-2:]], stride=_STRIDE)
    brightness = places(_brightness(rest))
    found = [
        torch.stack([_lowest(band.abs(), _SHARP), _lowest(places(band.square()) / brightness, _FLAT)], dim=2)
        for band in details
    ]
    return torch.stack(found, dim=2)


def _lowest(values: Tensor, share: float) -> Tensor:
    """Return the value (N, C) that a share of the pixels (N, C, H, W) is at or below."""
    flat = values.flatten(2)
    rank = max(1, math.ceil(share * flat.shape[2]))
    # The few largest or smallest values are found in less than half of the time of a k-th value.
    largest = 2 * rank > flat.shape[2]
    count = flat.shape[2] - rank + 1 if largest else rank
    return flat.topk(count, dim=2, largest=largest).values[..., -1]


def _weighted(bands: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Return the sum of bands, (N, C, H, W) each, times weights (N, C, B)."""
    first, *others = (band * weights[:, :, number, None, None] for number, band in enumerate(bands))
    return sum(others, first)


def _brightness(rest: Tensor) -> Tensor:
    return rest.clamp(_DARKEST, 1)


def _white(draws: Sequence[bytes], images: Tensor) -> Tensor:
    """Return white noise of deviation 1 in the shape of images, by the draw of each."""
    generators = (torch.Generator().manual_seed(int.from_bytes(draw[16:24], "little") >> 1) for draw in draws)
    return torch.stack([torch.randn(images.shape[1:], generator=generator) for generator in generators]).to(
        images.device
    )
