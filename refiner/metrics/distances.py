"""Distances between two sets of images, none of which needs weights from elsewhere.

Each is 0 in expectation, or near it, for two samples of one source; what "near" is depends on the size of the samples,
so that every figure is shown beside that of photographs against other photographs.

Dimension letters: N images, C channels, H height, W width; D features.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from refiner.core.rng import torch_generator

PATCH = 7
"""Side of the patches that sliced Wasserstein compares, in pixels."""

PATCHES = 64
"""Patches drawn from an image, at each level."""

PROJECTIONS = 256

LEVELS = 2
"""Of the pyramid: detail of one pixel, and of two and more."""


def sliced_wasserstein(first: Tensor, second: Tensor, *, seed: int) -> float:
    """Distance of the two distributions of small patches, along random directions.

    Args:
        first, second: (N, C, H, W), in [-1, 1], equally many.
        seed: of patches and directions; distances that are compared with one another take the same one.

    Returns:
        Mean over directions and levels of the distance of sorted projections, times 1000. Patches are normalised by the
        mean and spread of ``second``, channel by channel.

    Raises:
        ValueError: the shapes differ.

    Source:
        Karras et al. 2018, arXiv:1710.10196, section 5.
    """
    if first.shape != second.shape:
        raise ValueError(f"first is {tuple(first.shape)}, second {tuple(second.shape)}: expected one shape")
    generator = torch_generator(seed, "sliced-wasserstein")
    distances = []
    for one, other in zip(_pyramid(first), _pyramid(second), strict=True):
        side = min(PATCH, *one.shape[2:])
        places = _places(one, side, generator)
        patches, wanted = _patches(one, side, places), _patches(other, side, places)
        directions = torch.randn(patches[0].numel(), PROJECTIONS, generator=generator)
        directions = directions / directions.norm(dim=0)
        mean, spread = wanted.mean(dim=(0, 2), keepdim=True), wanted.std(dim=(0, 2), keepdim=True).clamp(min=1e-6)
        lines = [((values - mean) / spread).flatten(1) @ directions for values in (patches, wanted)]
        sorted_lines = [line.sort(dim=0).values for line in lines]
        distances.append(float((sorted_lines[0] - sorted_lines[1]).abs().mean()))
    return 1000 * sum(distances) / len(distances)


def _pyramid(images: Tensor) -> list[Tensor]:
    """Detail level by level, from fine to coarse; the last is what remains."""
    levels = []
    for _ in range(LEVELS - 1):
        if min(images.shape[2:]) < 2 * PATCH:
            break
        smaller = functional.avg_pool2d(images, 2)
        larger = functional.interpolate(smaller, images.shape[2:], mode="bilinear", align_corners=False)
        levels.append(images - larger)
        images = smaller
    return [*levels, images]


def _places(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """(N, PATCHES, 2): rows and columns of patches; the same in both sets, for what lies where is compared, too."""
    height, width = images.shape[2:]
    draws = torch.rand(len(images), PATCHES, 2, generator=generator)
    return (draws * torch.tensor([height - side + 1, width - side + 1])).long()


def _patches(images: Tensor, side: int, places: Tensor) -> Tensor:
    """(N * PATCHES, C, side * side)."""
    offsets = torch.arange(side)
    rows = places[..., 0, None, None] + offsets[:, None]  # (N, PATCHES, side, 1)
    columns = places[..., 1, None, None] + offsets
    numbers = torch.arange(len(images))[:, None, None, None]
    values = images.movedim(1, -1)[numbers, rows, columns]  # (N, PATCHES, side, side, C)
    return values.flatten(0, 1).flatten(1, 2).movedim(-1, 1)


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """Squared maximum mean discrepancy of features with a cubic kernel, times 1000, without bias.

    Args:
        first, second: (N, D) and (M, D), at least two each.

    Returns:
        0 in expectation where both come from one distribution, so that it may be negative.

    Source:
        Binkowski et al. 2018, arXiv:1801.01401, section 3; our own features, so that it is no KID of the literature.
    """
    scale = first.shape[1]

    def kernel(one: Tensor, other: Tensor) -> Tensor:
        return (one @ other.T / scale + 1) ** 3

    def within(values: Tensor) -> Tensor:
        matrix, count = kernel(values, values), len(values)
        return (matrix.sum() - matrix.diagonal().sum()) / (count * (count - 1))

    first, second = first.double(), second.double()
    return 1000 * float(within(first) + within(second) - 2 * kernel(first, second).mean())


def spectrum(images: Tensor) -> Tensor:
    """Mean log power by spatial frequency.

    Args:
        images: (N, C, H, W), in [-1, 1]; channels are averaged.

    Returns:
        (K,), natural logarithm of the power around each of K frequencies, evenly from 0 on: half a cycle a pixel in the
        last but some, which lie along the diagonals, where a checkerboard shows.
    """
    height, width = images.shape[2:]
    window = torch.outer(torch.hann_window(height, periodic=False), torch.hann_window(width, periodic=False))
    grey = images.mean(dim=1)
    grey = (grey - grey.mean(dim=(1, 2), keepdim=True)) * window
    power = torch.fft.fft2(grey).abs().square().mean(dim=0)
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None])
    count = max(2, min(height, width) // 2)
    bands = (frequency * 2 * count).round().long()
    sums = torch.zeros(int(bands.max()) + 1).index_add_(0, bands.flatten(), power.flatten())
    counts = torch.bincount(bands.flatten()).clamp(min=1)
    rounding = (2 / 255) ** 2 / 12 * float(window.square().sum())  # power of rounding to 8 bits, at every frequency
    logarithms: Tensor = (sums / counts + rounding)[1:].log()
    return logarithms


def spectrum_distance(first: Tensor, second: Tensor) -> float:
    """Mean absolute difference of two spectra, in nepers of power: blur, noise and checkerboards show."""
    return float((spectrum(first) - spectrum(second)).abs().mean())


def diversity(images: Tensor, reference: Tensor) -> float:
    """How different images are from one another, as a share of how different a reference is; near 0 is collapse.

    Args:
        images, reference: (N, C, H, W), in [-1, 1].

    Returns:
        Ratio of the root mean square distances to the mean image.
    """
    spread, wanted = (values.var(dim=0, unbiased=False).mean() for values in (images, reference))
    return math.sqrt(float(spread / wanted.clamp(min=1e-12)))
