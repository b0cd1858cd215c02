"""Adaptations: renders made to look like real images, by a refiner or by a transform that matches them to one."""

import math
import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refiner.core.errors import ConfigurationError
from refiner.core.rng import derived_seed
from refiner.gaze.data import Patches
from refiner.images.arrays import equalize
from refiner.images.io import Image
from refiner.inference.refiner import Refiner
from refiner.models.statistics.architecture import FourierArchitecture, HistogramArchitecture
from refiner.models.statistics.fourier import low_amplitudes, replace_amplitudes
from refiner.models.statistics.histogram import distribution, match_values

ARGUMENTS = {"histogram_matching": "blend_ratio", "fourier": "beta_limit"}
"""The argument of each method: the range that its strength is drawn from."""

DEFAULTS = {"histogram_matching": (0.5, 1.0), "fourier": (0.0, 0.1)}
"""The ranges that albumentations takes if none is given."""


def refined_images(synthetic: Patches, refiner: Path, *, device: str) -> Patches:
    """Refine renders (N, 1, H, W), uint8, with a refiner file or run."""
    refine = Refiner.load(refiner, device=device)
    return np.stack(refine(list(synthetic[:, 0])))[:, None]


def matched_images(synthetic: Patches, real: Patches, *, method: str, arguments: dict[str, Any], seed: int) -> Patches:
    """Match each render to a random real image.

    The choices and the rounding are those of albumentations, by which the first studies were made.

    Args:
        synthetic, real: (N, 1, H, W) and (M, 1, H, W), uint8.
        method: a key of :data:`ARGUMENTS`.
        arguments: the range of its strength.
        seed: the random choices follow from it and the number of the render.

    Returns:
        Same shape and type as ``synthetic``.

    Raises:
        ConfigurationError: the arguments are no range.
    """
    limits = _limits(method, arguments)
    match = _with_histogram if method == "histogram_matching" else partial(_with_amplitudes, highest=limits[1])
    matched = np.empty_like(synthetic)
    for number, image in enumerate(synthetic[:, 0]):
        generator = random.Random(derived_seed(seed, method, number))
        reference = real[generator.randrange(len(real)), 0]
        matched[number, 0] = match(image, reference, generator.uniform(*limits))
    return matched


def _limits(method: str, arguments: dict[str, Any]) -> tuple[float, float]:
    """Return the range of the strength; the architecture of the package's method checks it."""
    name = ARGUMENTS[method]
    try:
        if not set(arguments) <= {name}:
            raise ValueError(f"the only argument is {name}")
        if method == "fourier":
            return FourierArchitecture(beta=arguments.get(name, DEFAULTS[method])).beta
        return HistogramArchitecture(blend=arguments.get(name, DEFAULTS[method])).blend
    except ValueError as error:
        raise ConfigurationError(f"{method} refuses {arguments}: {error}") from error


def _with_histogram(image: Image, reference: Image, blend: float) -> Image:
    """Match the histogram of an image (H, W); levels are cut, not rounded."""
    plane = torch.from_numpy(image).double()
    points = distribution(torch.from_numpy(reference).double(), levels=256)
    matched = match_values(plane, *points).float().floor().double()
    return (plane + blend * (matched - plane)).round().numpy().astype(np.uint8)


def _with_amplitudes(image: Image, reference: Image, beta: float, highest: float) -> Image:
    """Give an image (H, W) the low-frequency amplitudes of another; levels are cut, not rounded."""
    bins = math.floor(min(image.shape) * highest) + 1
    amplitudes = low_amplitudes(torch.from_numpy(reference).double() / 255, bins)
    window = albumentations_window(math.floor(min(image.shape) * beta), image.shape, bins)
    adapted = replace_amplitudes(torch.from_numpy(image).double() / 255, amplitudes, window)
    return (adapted * 255).clamp(0, 255).float().numpy().astype(np.uint8)


def albumentations_window(border: int, size: tuple[int, ...], highest: int) -> Tensor:
    """Return the window of albumentations 2.0, (2 highest+1, highest+1), for images (height, width).

    It is one or two frequencies off the centre. The real part of its result takes the mean of the window and of its
    mirror image, which leaves half weights at the edges.
    """
    inside, mirrored = zip(*(_window_sides(border, side, highest) for side in size), strict=True)
    halves = (rows[:, None] & columns[None, highest:] for rows, columns in (inside, mirrored))
    return sum((half.double() / 2 for half in halves), torch.zeros(2 * highest + 1, highest + 1, dtype=torch.float64))


def _window_sides(border: int, side: int, highest: int) -> tuple[Tensor, Tensor]:
    """Return which frequencies from -highest to highest lie in the window along one axis, and which negatives do."""
    centre, zero = side / 2 - 0.5, side // 2
    first, last = max(0, int(centre - border)) - zero, min(int(centre + border), side) - zero
    frequencies = torch.arange(-highest, highest + 1)
    negatives = (zero - frequencies) % side - zero
    return tuple((first <= wave) & (wave < last) for wave in (frequencies, negatives))  # type: ignore[return-value]


def equalized_images(images: Patches) -> Patches:
    """Equalize every histogram, as in MPIIGaze, so that the histogram does not reveal the adaptation."""
    return np.stack([equalize(image) for image in images[:, 0]])[:, None]
