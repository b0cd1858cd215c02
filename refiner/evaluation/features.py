"""Frozen networks for the evaluation: features for distances, and gaze estimates for label preservation.

The package ships with a gaze estimator that was trained on procedural eyes only. For other images with labelled
points, a small network is trained on the renders within seconds. Images of anything else are described by their
principal components, in colour.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from refiner.data.drift.regions import POINTS, PUPIL, LabelRegion
from refiner.data.labels.objects import OBJECTS
from refiner.evaluation.samples import Sample
from refiner.gaze.networks.estimators import GazeNetwork
from refiner.gaze.networks.file import load_estimator
from refiner.images.arrays import luma
from refiner.models.files.lookup import PRETRAINED
from refiner.models.regressor import SmallRegressor, fit_regressor

EYES = "eyes.estimator.safetensors"
"""File name of the pretrained gaze estimator in :data:`refiner.models.files.lookup.PRETRAINED`."""

STEPS = 400
"""Number of updates of a network that is trained on the user's renders."""

MAX_SIDE = 256
"""Longer side, in pixels, above which images are made smaller for a network that is trained."""

COMPONENTS, IMAGES_EACH = 32, 8
"""Largest number of principal components, and number of images needed for each."""

COMPONENT_SIDE, COMPONENT_IMAGES = 32, 512
"""Longer side, in pixels, of the images whose principal components are features, and most images of each side."""

Features = Callable[[Tensor], Tensor]
"""Function from images (N, C, H, W) in [-1, 1] to features (N, D)."""

Estimate = Callable[[Tensor], Any]
"""Function from images (N, C, H, W) in [-1, 1] to gaze (N, 2), pitch and yaw in radians."""

_BATCH = 256


def pretrained_estimator() -> Path:
    """Return the file of the gaze estimator that ships with the package."""
    return PRETRAINED / EYES


def load_features(
    synthetic: Sample, real: Sample, *, region: LabelRegion, seed: int
) -> tuple[Features, Estimate | None]:
    """Load or learn frozen features that suit these images.

    A gaze or a pupil label says that the images are eyes, which get the pretrained gaze estimator. Renders with other
    labelled points get a network that is trained to find these points. All others get principal components.

    Args:
        synthetic: the renders and their labels.
        real: the real images and their labels.
        region: names of the labelled points.
        seed: seed of a network that is trained.

    Returns:
        The features, and the gaze estimate of the network if the images are eyes, else None.
    """
    points = _common_points(synthetic, region)
    if points is not None and not any("gaze" in row for row in synthetic.labels):
        return _trained_features(synthetic, points, seed), None
    if not any(name in row for row in (*synthetic.labels, *real.labels) for name in ("gaze", PUPIL)):
        return _principal_features(synthetic.images, real.images), None
    network = load_estimator(pretrained_estimator()).network
    assert isinstance(network, GazeNetwork)
    trunk = network.trunk
    assert isinstance(trunk, nn.Module)

    def estimate(images: Tensor) -> Any:
        return _in_batches(network, _resized(luma(images), network.size)).numpy().astype(np.float64)

    def features(images: Tensor) -> Tensor:
        return _in_batches(nn.Sequential(trunk, network.hidden), _resized(luma(images), network.size))

    return features, estimate


def _common_points(synthetic: Sample, region: LabelRegion) -> Any:
    """Return the labelled points other than the pupil, (N, 2K); None unless every render has the same K points."""
    for label in POINTS if region.points in (None, OBJECTS) else (region.points,):
        found = [LabelRegion(label).watched(name, row, (1, 1)) for name, row in zip(synthetic.ids, synthetic.labels)]
        points = [np.asarray(row[label], np.float64).reshape(-1) for row in found if label in row]
        if label != PUPIL and len(points) == len(found) and len({values.shape for values in points}) == 1:
            coordinates = np.stack(points)
            if np.isfinite(coordinates).all():
                return coordinates
    return None


def _trained_features(synthetic: Sample, points: Any, seed: int) -> Features:
    """Train a network to find labelled points, (N, 2K); its last hidden layer is the features."""
    images, channels, width = _small(synthetic.images), synthetic.images.shape[1], synthetic.images.shape[3]
    # Coordinates from -0.5 to 0.5, so that points of all image sizes are learnt alike.
    targets = points / width - 0.5
    build = partial(SmallRegressor, outputs=targets.shape[1], channels=channels)
    network = fit_regressor(build, images, targets, steps=STEPS, seed=seed)
    assert isinstance(network, SmallRegressor)
    trunk = nn.Sequential(network.trunk, *list(network.head)[:-1])
    return lambda images: _in_batches(trunk, _small(images))


def _principal_features(synthetic: Tensor, real: Tensor) -> Features:
    """Return the principal components of small renders and real images, with a variance of 1 each.

    They describe the layout, light and colours of a whole image, of whatever it shows. Few images have few components,
    since those that follow would describe these images only.

    Args:
        synthetic, real: (N, C, H, W) and (M, C, H, W), in [-1, 1]; both sides count alike.
    """
    count = min(len(synthetic), len(real), COMPONENT_IMAGES)
    chosen = [images[torch.linspace(0, len(images) - 1, count).long()] for images in (synthetic, real)]
    small = torch.cat([_small(images, COMPONENT_SIDE) for images in chosen]).flatten(1).double()
    mean = small.mean(dim=0)
    _, spreads, directions = torch.linalg.svd(small - mean, full_matrices=False)
    most = max(1, min(COMPONENTS, len(small) // IMAGES_EACH))
    kept = spreads[:most] > 1e-6 * spreads[0].clamp(min=1e-6)
    weights = directions[:most][kept].T / (spreads[:most][kept] / math.sqrt(len(small)))
    return lambda images: ((_small(images, COMPONENT_SIDE).flatten(1).double() - mean) @ weights).float()


def _small(images: Tensor, side: int = MAX_SIDE) -> Tensor:
    """Average large images down by a whole factor, to at most ``side`` pixels."""
    factor = -(-max(images.shape[2:]) // side)
    return images if factor == 1 else functional.avg_pool2d(images, factor, ceil_mode=True, count_include_pad=False)


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)


@torch.inference_mode()
def _in_batches(network: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([network(batch) for batch in images.split(_BATCH)])
