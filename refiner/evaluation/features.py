"""Frozen networks of our own that look at images: features for distances, and gaze for what labels mean.

One comes with the package, trained on procedural eyes alone. Renders of anything else, whose points are labelled, get a
network of their own, trained on them in seconds.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from refiner.data.labels.regions import PUPIL, LabelRegion, are_points
from refiner.evaluation.samples import Sample
from refiner.gaze.networks.estimators import GazeNetwork
from refiner.gaze.networks.file import load_estimator
from refiner.models.lookup import PRETRAINED
from refiner.models.regressor import SmallRegressor, fit_regressor

EYES = "eyes.estimator.safetensors"
"""The gaze estimator that comes with the package, below :data:`refiner.models.lookup.PRETRAINED`."""

STEPS = 400
"""Updates of a network that is trained on the user's renders."""

Features = Callable[[Tensor], Tensor]
"""(N, 1, H, W) in [-1, 1] to (N, D)."""

Estimate = Callable[[Tensor], Any]
"""(N, 1, H, W) in [-1, 1] to (N, 2), pitch and yaw in radians."""


def pretrained_estimator() -> Path:
    """The file of the gaze estimator that comes with the package."""
    return PRETRAINED / EYES


def load_features(synthetic: Sample, *, region: LabelRegion, seed: int) -> tuple[Features, Estimate | None]:
    """A frozen network for these renders.

    Args:
        renders: eyes, where they have a gaze or a pupil; labelled points of anything else are learnt from.
        region: which points.
        seed: of a network that is trained.

    Returns:
        Its features, and its gaze where images are eyes.
    """
    names = [name for name in region.names if name != PUPIL]
    point = next((name for name in names if all(are_points(row.get(name)) for row in synthetic.labels)), None)
    if point is not None and not any("gaze" in row for row in synthetic.labels):
        return _trained(synthetic, point, seed), None
    network = load_estimator(pretrained_estimator()).network
    assert isinstance(network, GazeNetwork)
    trunk = network.trunk
    assert isinstance(trunk, nn.Module)
    eyes = any("gaze" in row or "pupil" in row for row in synthetic.labels)

    def estimate(images: Tensor) -> Any:
        return _by_parts(network, _resized(images, network.size)).numpy().astype(np.float64)

    def features(images: Tensor) -> Tensor:
        return _by_parts(nn.Sequential(trunk, network.hidden), _resized(images, network.size))

    return features, estimate if eyes else None


def _trained(synthetic: Sample, point: str, seed: int) -> Features:
    width = synthetic.images.shape[3]
    points = np.stack([np.asarray(row[point], np.float64).reshape(-1) for row in synthetic.labels])
    targets = points / width - 0.5
    network = fit_regressor(
        lambda size: SmallRegressor(size, outputs=targets.shape[1]), synthetic.images, targets, steps=STEPS, seed=seed
    )
    assert isinstance(network, SmallRegressor)
    look = nn.Sequential(network.trunk, *list(network.head)[:-1])
    return lambda images: _by_parts(look, images)


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)


@torch.inference_mode()
def _by_parts(network: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([network(part) for part in images.split(256)])
