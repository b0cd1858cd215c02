"""Adaptations: renders made to look like real images, by a refiner or by a transform that matches them to one."""

import os
import random
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.errors import ConfigurationError
from refiner.core.rng import derived_seed
from refiner.gaze.data import Patches
from refiner.images.arrays import equalize
from refiner.inference.refiner import Refiner

TRANSFORMS = {"histogram_matching": ("HistogramMatching", "hm_metadata"), "fourier": ("FDA", "fda_metadata")}
"""By method: the albumentations transform, and its argument that takes the real images."""


def refined_images(synthetic: Patches, refiner: Path, *, device: str) -> Patches:
    """Refine renders (N, 1, H, W), uint8, with a refiner file or run."""
    refine = Refiner.load(refiner, device=device)
    return np.stack(refine(list(synthetic[:, 0])))[:, None]


def matched_images(synthetic: Patches, real: Patches, *, method: str, arguments: dict[str, Any], seed: int) -> Patches:
    """Match each render to a random real image.

    Args:
        synthetic, real: (N, 1, H, W) and (M, 1, H, W), uint8.
        method: a key of :data:`TRANSFORMS`.
        arguments: arguments of the albumentations transform; ``p`` is 1 unless they set it.
        seed: the random choices follow from it and the number of the render.

    Returns:
        Same shape and type as ``synthetic``.

    Raises:
        ConfigurationError: albumentations refuses an argument.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    name, key = TRANSFORMS[method]
    try:
        transform = getattr(albumentations, name)(**{"p": 1.0, **arguments})
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"albumentations' {name} refuses {arguments}: {error}") from error
    references = [image[0] for image in real]
    matched = np.empty_like(synthetic)
    for number, image in enumerate(synthetic[:, 0]):
        own_seed = derived_seed(seed, method, number)
        transform.set_random_state(np.random.default_rng(own_seed), random.Random(own_seed))
        matched[number, 0] = transform(image=image, **{key: references})["image"]
    return matched


def equalized_images(images: Patches) -> Patches:
    """Equalize every histogram, as in MPIIGaze, so that the histogram does not reveal the adaptation."""
    return np.stack([equalize(image) for image in images[:, 0]])[:, None]
