"""Fourier domain adaptation: a render gets the low-frequency amplitudes of a real image, and keeps its own phases.

Frequencies are counted in cycles per image, and amplitudes are per pixel. An image of another size than the real images
is treated as the same scene at another resolution. Only the low frequencies are computed, by two products with
matrices of waves, and only their change is added: what is not replaced stays to the bit.

Dimension letters: N images, C channels, H height, W width, K the highest frequency along each axis. A spectrum
(..., 2K+1, K+1) holds the frequencies -K to K along the height and 0 to K along the width; those of -K to -1 along the
width are their mirror image.

Source: Yang and Soatto 2020, "FDA: Fourier Domain Adaptation for Semantic Segmentation", CVPR, equations 1 to 4.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from refiner.models.statistics.architecture import FourierArchitecture
from refiner.models.statistics.refiner import StatisticsRefiner

_NO_PHASE = 1e-7
"""Amplitude, in units of [0, 1], below which a frequency is absent: its phase would be that of rounding errors."""


class FourierRefiner(StatisticsRefiner[FourierArchitecture]):
    """A refiner that holds low-frequency amplitudes of real images.

    Args:
        architecture: settings.
    """

    amplitudes: Tensor
    """Amplitudes of each real image, (examples, C, 2K+1, K+1), for images in [0, 1]."""

    def _adapt(self, images: Tensor, numbers: Tensor, strengths: Tensor) -> Tensor:
        # Draw the window of each image from the range of beta.
        (lowest, highest), K = self.architecture.beta, self.architecture.bins  # noqa: N806 (a dimension letter)
        borders = [self.architecture.border(lowest + share * (highest - lowest)) for share in strengths.tolist()]
        windows = centred_window(torch.tensor(borders)[:, None, None], K).to(images.device)
        return replace_amplitudes(images, self.amplitudes[numbers], windows[:, None])

    def _fit(self, number: int, images: Tensor) -> None:
        found = low_amplitudes(images, self.architecture.bins)
        self.amplitudes[number : number + len(images)] = found.float()


def centred_window(border: int | Tensor, highest: int) -> Tensor:
    """Return the window of the paper, the frequencies up to ``border`` along both axes.

    Args:
        border: half width of the window; or those of N windows, (N, 1, 1).
        highest: K.

    Returns:
        (2K+1, K+1), or (N, 2K+1, K+1); float64, 1 inside the window and 0 outside.
    """
    rows, columns = torch.arange(-highest, highest + 1).abs(), torch.arange(highest + 1)
    return (torch.maximum(rows[:, None], columns) <= border).double()


def low_amplitudes(images: Tensor, highest: int) -> Tensor:
    """Return the amplitudes of low frequencies.

    Args:
        images: (..., H, W).
        highest: K.

    Returns:
        (..., 2K+1, K+1), float64; 0 where images of this size have no such frequency.
    """
    waves = _waves(images, highest)
    amplitudes = images.new_zeros((*images.shape[:-2], 2 * highest + 1, highest + 1), dtype=torch.float64)
    amplitudes[..., waves.rows, : waves.columns] = _spectrum(images, waves).abs()
    return amplitudes


def replace_amplitudes(images: Tensor, amplitudes: Tensor, window: Tensor) -> Tensor:
    """Replace the amplitudes of low frequencies.

    Args:
        images: (..., H, W), in [0, 1].
        amplitudes: (..., 2K+1, K+1), the new ones.
        window: (..., 2K+1, K+1), share of the new amplitude at each frequency; the rest is the old one.

    Returns:
        (..., H, W), float64; values may leave [0, 1].
    """
    waves = _waves(images, amplitudes.shape[-1] - 1)
    spectrum = _spectrum(images, waves)
    # Scale each frequency that the images have, by its new amplitude over the old one.
    old, new = spectrum.abs(), amplitudes.double()[..., waves.rows, : waves.columns]
    share = window.double()[..., waves.rows, : waves.columns]
    change = torch.where(old > _NO_PHASE, share * (new - old) / old.clamp(min=_NO_PHASE), 0)
    # Add the change: a sum over waves, where each frequency along the width stands for its mirror image, too.
    weighted = waves.down.mH @ (spectrum * change * waves.copies)
    added = weighted.real @ waves.across.real.mT
    added += weighted.imag @ waves.across.imag.mT
    return added.add_(images)


class _Waves(NamedTuple):
    """Waves of the low frequencies that images of a size have.

    Attributes:
        rows: their frequencies along the height, as a slice of -K to K.
        columns: number of their frequencies along the width.
        down: (rows, H), complex: exp(-2 pi i k y / H).
        across: (W, columns), complex.
        copies: (columns,), 2 for a frequency with a mirror image of its own, otherwise 1.
    """

    rows: slice
    columns: int
    down: Tensor
    across: Tensor
    copies: Tensor


def _waves(images: Tensor, highest: int) -> _Waves:
    height, width = images.shape[-2:]
    # An even side has one frequency of half the side, not two.
    first, last = max(-highest, -(height // 2)), min(highest, (height - 1) // 2)
    columns = min(highest, width // 2) + 1
    down = _wave(torch.arange(first, last + 1)[:, None], torch.arange(height), height)
    across = _wave(torch.arange(width)[:, None], torch.arange(columns), width)
    copies = torch.tensor([1.0 if column in (0, width / 2) else 2.0 for column in range(columns)], dtype=torch.float64)
    rows = slice(highest + first, highest + last + 1)
    return _Waves(rows, columns, down.to(images.device), across.to(images.device), copies.to(images.device))


def _wave(first: Tensor, second: Tensor, side: int) -> Tensor:
    """Return exp(-2 pi i first second / side), complex128."""
    # Whole turns are removed while the numbers are integers, so that large images are as exact as small ones.
    angle = (first * second % side).double() * (-2 * math.pi / side)
    return torch.polar(torch.ones_like(angle), angle)


def _spectrum(images: Tensor, waves: _Waves) -> Tensor:
    """Return the spectrum per pixel at the frequencies of the waves, complex128."""
    height, width = images.shape[-2:]
    images = images.double()
    rows = torch.complex(images @ waves.across.real, images @ waves.across.imag)
    return waves.down @ rows / (height * width)
