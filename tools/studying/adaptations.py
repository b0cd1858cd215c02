"""Renders made to look like photographs, by a refiner or by matching each to one; and which a refiner learns from."""

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import gaussian_kde

from refiner.errors import ConfigurationError
from refiner.gaze.angles import Angles
from refiner.gaze.data import Patches
from refiner.images import equalize
from refiner.randomness import derived_seed
from refiner.refinement import Refiner

TRANSFORMS = {"histogram_matching": ("HistogramMatching", "hm_metadata"), "fourier": ("FDA", "fda_metadata")}
"""Method, the albumentations transform that does it, and under which name it takes the photographs."""


def refined_images(renders: Patches, refiner: Path, *, device: str) -> Patches:
    """Renders (N, 1, H, W), uint8, through a refiner file or run."""
    refine = Refiner.load(refiner, device=device)
    return np.stack(refine(list(renders[:, 0])))[:, None]


def matched_images(
    renders: Patches, photographs: Patches, *, method: str, arguments: dict[str, Any], seed: int
) -> Patches:
    """Each render matched to a photograph that is drawn for it.

    Args:
        renders, photographs: (N, 1, H, W), uint8.
        method: a name in :data:`TRANSFORMS`.
        arguments: of the albumentations transform; ``p`` is 1 unless they say otherwise.
        seed: the draws follow from it and the number of the render.

    Returns:
        Same shape and type as ``renders``.

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
    references = [image[0] for image in photographs]
    matched = np.empty_like(renders)
    for number, image in enumerate(renders[:, 0]):
        drawn = derived_seed(seed, method, number)
        transform.set_random_state(np.random.default_rng(drawn), random.Random(drawn))
        matched[number, 0] = transform(image=image, **{key: references})["image"]
    return matched


def equalized_images(images: Patches) -> Patches:
    """Every histogram equalised, as MPIIGaze's patches have it: what adaptation did to it must tell nothing."""
    return np.stack([equalize(image) for image in images[:, 0]])[:, None]


def matched_draw(gaze: Angles, wanted: Angles, count: int, rng: np.random.Generator) -> list[int]:
    """Numbers of renders whose gaze is spread as ``wanted`` is; some come more than once.

    Each render is drawn in proportion to the density of ``wanted`` over that of all renders, both by kernels. No weight
    is above the 99.5th percentile, so that none is drawn over and over.

    Args:
        gaze: (N, 2) of the renders, pitch and yaw in radians.
        wanted: (M, 2) of photographs.
        count: how many are drawn.

    Source: the idea is of Lee, Kim and Suh, ICLR 2018, who draw from the simulator anew.
    """
    weights = gaussian_kde(wanted.T)(gaze.T) / gaussian_kde(gaze[:: max(1, len(gaze) // 4000)].T)(gaze.T)
    weights = np.minimum(weights, np.quantile(weights, 0.995))
    return sorted(rng.choice(len(gaze), count, p=weights / weights.sum()).tolist())
