"""Distances between two sets of images that need no pretrained weights.

For two samples of one source, each distance is 0 in expectation or close to 0. How close depends on the sample size.
Every distance is therefore reported with the real-vs-real reference, the distance between two sets of real images.

Dimension letters: N images, C channels, H height, W width; D features.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from refiner.core.rng import torch_generator

PATCH = 7
"""Side in pixels of the patches of the sliced Wasserstein distance."""

PATCHES = 64
"""Number of random patches from each image at each level."""

PROJECTIONS = 256
"""Number of random directions at each level."""

LEVELS = 2
"""Least number of levels of the pyramid: details of one pixel, and details of two pixels and more."""

COARSEST = 36
"""Shorter side, in pixels, from which a level of the pyramid is split again, so that patches see the layout, too."""


def sliced_wasserstein(first: Tensor, second: Tensor, *, seed: int) -> float:
    """Sliced Wasserstein distance between the distributions of small patches, along random directions.

    Args:
        first, second: (N, C, H, W), in [-1, 1], with the same N.
        seed: seed of patches and directions; use the same seed for distances that are compared with each other.

    Returns:
        Mean distance of sorted projections over directions and levels, times 1000. Patches are normalised with the
        mean and standard deviation of ``second`` for each channel.

    Raises:
        ValueError: the shapes differ.

    Source:
        Karras et al. 2018, arXiv:1710.10196, section 5.
    """
    if first.shape != second.shape:
        raise ValueError(f"first has the shape {tuple(first.shape)}, second {tuple(second.shape)}; expected one shape")
    generator = torch_generator(seed, "sliced-wasserstein")
    distances = []
    for one, other in zip(_pyramid(first), _pyramid(second), strict=True):
        # Cut patches at the same positions of both sets.
        side = min(PATCH, *one.shape[2:])
        positions = _positions(one, side, generator)
        patches, reference = _patches(one, side, positions), _patches(other, side, positions)
        # Project the normalised patches onto random directions and compare the sorted projections.
        directions = torch.randn(patches[0].numel(), PROJECTIONS, generator=generator)
        directions = directions / directions.norm(dim=0)
        mean = reference.mean(dim=(0, 2), keepdim=True)
        deviation = reference.std(dim=(0, 2), keepdim=True).clamp(min=1e-6)
        projections = [((values - mean) / deviation).flatten(1) @ directions for values in (patches, reference)]
        ordered = [_sorted(values) for values in projections]
        distances.append(float((ordered[0] - ordered[1]).abs().mean()))
    return 1000 * sum(distances) / len(distances)


def _sorted(values: Tensor) -> Tensor:
    """Sort each column of (N, K). NumPy sorts several times as fast as PyTorch, along rows that are contiguous."""
    rows = values.T.contiguous().numpy()
    rows.sort(axis=1)
    return torch.from_numpy(rows).T.contiguous()


def _pyramid(images: Tensor) -> list[Tensor]:
    """Laplacian pyramid from fine to coarse; the last level is the remaining image."""
    levels: list[Tensor] = []
    while (side := min(images.shape[2:])) >= COARSEST or (len(levels) < LEVELS - 1 and side >= 2 * PATCH):
        smaller = functional.avg_pool2d(images, 2)
        larger = functional.interpolate(smaller, images.shape[2:], mode="bilinear", align_corners=False)
        levels.append(images - larger)
        images = smaller
    return [*levels, images]


def _positions(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Draw the top rows and left columns of patches, (N, PATCHES, 2)."""
    height, width = images.shape[2:]
    draws = torch.rand(len(images), PATCHES, 2, generator=generator)
    return (draws * torch.tensor([height - side + 1, width - side + 1])).long()


def _patches(images: Tensor, side: int, positions: Tensor) -> Tensor:
    """Cut patches, (N * PATCHES, C, side * side), at positions, (N, PATCHES, 2)."""
    offsets = torch.arange(side)
    rows = positions[..., 0, None, None] + offsets[:, None]  # (N, PATCHES, side, 1)
    columns = positions[..., 1, None, None] + offsets
    numbers = torch.arange(len(images))[:, None, None, None]
    values = images.movedim(1, -1)[numbers, rows, columns]  # (N, PATCHES, side, side, C)
    return values.flatten(0, 1).flatten(1, 2).movedim(-1, 1)


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of features with a cubic kernel, times 1000.

    Args:
        first, second: (N, D) and (M, D), with N and M at least 2.

    Returns:
        The distance. It is 0 in expectation for two samples of one distribution and may therefore be negative.

    Source:
        Binkowski et al. 2018, arXiv:1801.01401, section 3. Our features are not those of Inception; published
        values (KID) are therefore not comparable.
    """
    scale = first.shape[1]

    def kernel(one: Tensor, other: Tensor) -> Tensor:
        return (one @ other.T / scale + 1) ** 3

    def within(values: Tensor) -> Tensor:
        matrix, count = kernel(values, values), len(values)
        return (matrix.sum() - matrix.diagonal().sum()) / (count * (count - 1))

    # Cubes of sums lose too many digits in float32.
    first, second = first.double(), second.double()
    return 1000 * float(within(first) + within(second) - 2 * kernel(first, second).mean())


def spectrum(images: Tensor) -> Tensor:
    """Logarithm of the mean power by spatial frequency.

    Args:
        images: (N, C, H, W), in [-1, 1]; channels are averaged.

    Returns:
        (K,), natural logarithm of the power in bands of increasing frequency. The bands are evenly spaced up to half a
        cycle per pixel; the bands above it contain only diagonal frequencies, at which a checkerboard shows.
    """
    # Compute the power spectrum under a window, which avoids artefacts of the image borders.
    height, width = images.shape[2:]
    window = torch.outer(torch.hann_window(height, periodic=False), torch.hann_window(width, periodic=False))
    grey = images.mean(dim=1)
    grey = (grey - grey.mean(dim=(1, 2), keepdim=True)) * window
    power = torch.fft.fft2(grey).abs().square().mean(dim=0)
    # Average the power in bands of frequency.
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None])
    count = max(2, min(height, width) // 2)
    bands = (frequency * 2 * count).round().long()
    sums = torch.zeros(int(bands.max()) + 1).index_add_(0, bands.flatten(), power.flatten())
    counts = torch.bincount(bands.flatten()).clamp(min=1)
    # Add the power of rounding to 8 bits, which is the same at every frequency.
    rounding = (2 / 255) ** 2 / 12 * float(window.square().sum())
    logarithms: Tensor = (sums / counts + rounding)[1:].log()
    return logarithms


def spectrum_distance(first: Tensor, second: Tensor) -> float:
    """Mean absolute difference of two log power spectra, sensitive to blur, noise and checkerboards."""
    return float((spectrum(first) - spectrum(second)).abs().mean())


def diversity(images: Tensor, reference: Tensor) -> float:
    """Diversity of images relative to the diversity of a reference; a value near 0 indicates mode collapse.

    Args:
        images, reference: (N, C, H, W), in [-1, 1].

    Returns:
        Ratio of the root mean square distances from the mean image.
    """
    variance, expected = (values.var(dim=0, unbiased=False).mean() for values in (images, reference))
    return math.sqrt(float(variance / expected.clamp(min=1e-12)))
