"""Fitting a gaze estimator to labelled patches, and predicting with it."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from refiner.data import Sampler
from refiner.gaze.angles import Angles
from refiner.gaze.estimators import ESTIMATORS
from refiner.randomness import derived_seed

_BATCH = 64


def fit_estimator(
    images: Tensor, gaze: Angles, *, steps: int, seed: int, network: str = "small", learning_rate: float = 1e-3
) -> nn.Module:
    """Train a gaze network from scratch.

    The learning rate falls to zero along a cosine; brightness and contrast are left as they are.

    Args:
        images: (N, 1, H, W), float32, in [-1, 1].
        gaze: (N, 2), pitch and yaw in radians.
        steps: updates, each on 64 images.
        seed: weights and order follow from it.
        network: a name in :data:`refiner.gaze.estimators.ESTIMATORS`.
        learning_rate: of Adam, at the start.

    Returns:
        The network in evaluation mode; its outputs are (N, 2), pitch and yaw in radians.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "estimator"))
        estimator: nn.Module = ESTIMATORS[network]((images.shape[2], images.shape[3]))
    optimizer = torch.optim.Adam(estimator.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    sampler = Sampler(len(images), _BATCH, seed=seed, purpose="estimator")
    targets = torch.from_numpy(np.asarray(gaze, np.float32))
    for step in range(steps):
        chosen = torch.from_numpy(sampler.batch(step))
        loss = functional.smooth_l1_loss(estimator(images[chosen]), targets[chosen], beta=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return estimator.eval()


@torch.inference_mode()
def predict_gaze(estimator: nn.Module, images: Tensor) -> Angles:
    """Pitch and yaw in radians, (N, 2), of patches (N, 1, H, W) in [-1, 1]."""
    parts: list[Any] = [estimator(part).numpy() for part in images.split(256)]
    return np.concatenate(parts).astype(np.float64)
