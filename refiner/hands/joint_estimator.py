"""Estimate the joints of a hand with a small heatmap network, and measure how many it finds."""

import numpy as np
from torch import Tensor, nn

from refiner.models.heatmaps import HeatmapEstimator
from refiner.models.regressor import Values, fit_regressor, predict


def fit_joints(images: Tensor, joints: Values, *, steps: int, seed: int) -> nn.Module:
    """Train a joint estimator from scratch.

    Args:
        images: (N, 1, H, W), float32, in [-1, 1].
        joints: (N, K, 2), x and y in pixels.
        steps: number of updates, each on a batch of 64 images.
        seed: seed of the weights and of the order of the images.
    """
    targets = joints.reshape(len(joints), -1) / max(images.shape[2:])
    count = joints.shape[1]
    return fit_regressor(lambda size: HeatmapEstimator(size, joints=count), images, targets, steps=steps, seed=seed)


def find_joints(estimator: nn.Module, images: Tensor) -> Values:
    """Return the joints (N, K, 2), x and y in pixels, of images (N, 1, H, W) in [-1, 1]."""
    return predict(estimator, images).reshape(len(images), -1, 2) * max(images.shape[2:])


def share_within(found: Values, true: Values, pixels: float) -> float:
    """Return the share of joints found within ``pixels`` of their true position.

    Args:
        found, true: (N, K, 2), x and y in pixels.
        pixels: largest distance that counts as found.

    Source:
        arXiv:1612.07828, section 3.2, the metric of the hand experiment, there at 5 of 224 pixels.
    """
    return float((np.linalg.norm(found - true, axis=2) <= pixels).mean())
