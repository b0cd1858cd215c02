"""The camera of real images: how sharp their details are, and how much noise they carry.

An image is split into two bands of details, of about two and four pixels, and a rest (the undecimated wavelet transform
with the B3 spline). A band that is sharper than in the real image is damped. Noise that the real image has more of is
added. Nothing moves: all filters are symmetric.

Noise is read where an image is flattest, since edges elsewhere are no noise. Its variance grows with brightness, as
that of a photon count.

Dimension letters: N images, C channels, H height, W width, B bands.

Source: Starck and Murtagh 1998, "Automatic Noise Estimation from the Multiresolution Support", PASP 110.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from refiner.models.statistics.architecture import BANDS

_NOISE_OF_BAND = (0.889, 0.200)
"""Standard deviation of white noise of deviation 1 in each band, from the squared sums of the bands' kernels."""

_SHARP = 0.95  # share of pixels whose details are weaker than the sharpness of a band
_FLAT = 0.15  # share of places that are flatter than those where noise is read
_PLACE = 7  # side of a place, in pixels
_DARKEST = 0.05  # brightness below which noise shrinks no further
_LEAST = 0.2  # share of the details that a render keeps at least, however blurred the real image is


def camera_properties(images: Tensor) -> Tensor:
    """Measure sharpness and noise.

    Args:
        images: (N, C, H, W), in [0, 1].

    Returns:
        (N, C, B, 2), float64: the strength that 95 % of the details stay below, and the variance of the noise in an
        image of brightness 1.
    """
    details, rest = _split(images.double())
    sharpness = details.abs().flatten(3).quantile(_SHARP, dim=3)
    # Compare energy and brightness in small places, and take a flat one.
    sides = tuple(min(_PLACE, side) for side in images.shape[-2:])
    energy = functional.avg_pool2d(details.square().flatten(1, 2), sides, stride=2).flatten(2)
    brightness = functional.avg_pool2d(_brightness(rest), sides, stride=2).flatten(2)
    ratio = energy.unflatten(1, details.shape[1:3]) / brightness[:, :, None]
    return torch.stack([sharpness, ratio.quantile(_FLAT, dim=3)], dim=3)


def through_camera(images: Tensor, properties: Tensor, draws: Sequence[bytes]) -> Tensor:
    """Damp the details of images and add noise, as far as their properties differ from those of real images.

    Args:
        images: (N, C, H, W), in [0, 1].
        properties: (N, C, B, 2), those of a real image for each, see :func:`camera_properties`.
        draws: N draws of 32 bytes, which decide the noise.

    Returns:
        (N, C, H, W), float64; values may leave [0, 1].
    """
    details, rest = _split(images.double())
    own, wanted = camera_properties(images), properties.double()
    # Damp, never sharpen: a sharper detail would be invented.
    sharpness, wanted_sharpness = own[..., 0], wanted[..., 0]
    gain = torch.where(sharpness > 0, wanted_sharpness / sharpness.clamp(min=1e-9), 1).clamp(_LEAST, 1)
    # Add the noise that is missing after that.
    missing = (wanted[..., 1] - gain.square() * own[..., 1]).clamp(min=0).sqrt()
    noise = _split(_white(draws, images))[0]
    scale = missing / missing.new_tensor(_NOISE_OF_BAND)
    added = (scale[..., None, None] * noise).sum(dim=2) * _brightness(rest).sqrt()
    return rest + (gain[..., None, None] * details).sum(dim=2) + added


def _split(images: Tensor) -> tuple[Tensor, Tensor]:
    """Split images (N, C, H, W) into bands of details (N, C, B, H, W) and a rest (N, C, H, W), whose sum they are."""
    bands = []
    for number in range(BANDS):
        smooth = _smooth(_smooth(images, 2**number, -1), 2**number, -2)
        bands.append(images - smooth)
        images = smooth
    return torch.stack(bands, dim=2), images


def _smooth(images: Tensor, step: int, axis: int) -> Tensor:
    """Average along an axis with the B3 spline, whose taps are ``step`` pixels apart; the border is repeated."""
    side = images.shape[axis]
    places = torch.arange(side, device=images.device)
    near, far = (
        sum(images.index_select(axis, (places + sign * reach).clamp(0, side - 1)) for sign in (-1, 1))
        for reach in (step, 2 * step)
    )
    return (images * 6 + near * 4 + far) / 16


def _brightness(rest: Tensor) -> Tensor:
    return rest.clamp(_DARKEST, 1)


def _white(draws: Sequence[bytes], images: Tensor) -> Tensor:
    """Return white noise of deviation 1 in the shape of images, by the draw of each."""
    noise = [
        torch.randn(
            images.shape[1:], generator=torch.Generator().manual_seed(int.from_bytes(draw[16:24], "little") >> 1)
        )
        for draw in draws
    ]
    return torch.stack(noise).to(images.device, torch.float64)
