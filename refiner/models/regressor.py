"""Small regression network from an image to a few numbers, and its training."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from refiner.core.rng import derived_seed
from refiner.core.sampler import Sampler

Values = np.ndarray[Any, np.dtype[np.float64]]
"""float64, (N, outputs)."""

_BATCH = 64


class SmallRegressor(nn.Module):
    """Regression network of three strided convolutions and a hidden layer; it trains in seconds on two cores.

    Args:
        size: (height, width) of the images in pixels.
        outputs: number of predicted values.
        channels: number of image channels.
    """

    def __init__(self, size: tuple[int, int], *, outputs: int = 2, channels: int = 1) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            *(nn.Conv2d(channels, 24, 5, stride=2, padding=2), nn.ReLU(inplace=True)),
            *(nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(48, 96, 3, stride=2, padding=1), nn.ReLU(inplace=True)),
        )
        height, width = (-(-side // 8) for side in size)
        self.head = nn.Sequential(
            *(nn.Flatten(), nn.Linear(96 * height * width, 128), nn.ReLU(inplace=True), nn.Linear(128, outputs))
        )

    def forward(self, images: Tensor) -> Tensor:
        """Predict values, (N, outputs), from images, (N, C, H, W), in [-1, 1]."""
        return self.head(self.trunk(images))  # type: ignore[no-any-return]


def fit_regressor(
    build: Callable[[tuple[int, int]], nn.Module],
    images: Tensor,
    targets: Values,
    *,
    steps: int,
    seed: int,
    learning_rate: float = 1e-3,
) -> nn.Module:
    """Train a network from scratch with Adam, whose learning rate falls to zero along a cosine.

    Args:
        build: function that builds the network for images of (height, width).
        images: (N, C, H, W), float32, in [-1, 1].
        targets: (N, outputs), with absolute values of about 1 or less.
        steps: number of updates, each on 64 images.
        seed: seed of the initial weights and of the order of images.
        learning_rate: initial learning rate.

    Returns:
        The trained network in evaluation mode.
    """
    wanted = torch.from_numpy(np.asarray(targets, np.float32))
    loss = partial(functional.smooth_l1_loss, beta=0.05)
    return fit_network(build, images, wanted, loss=loss, steps=steps, seed=seed, learning_rate=learning_rate)


def fit_network(
    build: Callable[[tuple[int, int]], nn.Module],
    images: Tensor,
    targets: Tensor,
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
    steps: int,
    seed: int,
    batch_size: int = _BATCH,
    learning_rate: float = 1e-3,
) -> nn.Module:
    """Train a network of any kind as :func:`fit_regressor` does.

    Args:
        build: function that builds the network for images of (height, width).
        images: (N, C, H, W), float32, in [-1, 1].
        targets: (N, ...), what the loss compares the outputs with.
        loss: function from outputs and targets to a scalar.
        steps: number of updates.
        seed: seed of the initial weights and of the order of images.
        batch_size: number of images of an update.
        learning_rate: initial learning rate.

    Returns:
        The trained network in evaluation mode.
    """
    # Initialise the weights from the seed without touching the caller's random state.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "regressor"))
        network = build((images.shape[2], images.shape[3])).to(memory_format=torch.channels_last)
    # Train on shuffled batches.
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    sampler = Sampler(len(images), batch_size, seed=seed, purpose="regression")
    for step in range(steps):
        chosen = torch.from_numpy(sampler.batch(step))
        error = loss(network(images[chosen]), targets[chosen])
        optimizer.zero_grad(set_to_none=True)
        error.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.inference_mode()
def predict(network: nn.Module, images: Tensor) -> Values:
    """Predict values, (N, outputs), from images, (N, C, H, W), in [-1, 1], in batches of 256."""
    predictions: list[Any] = [network(batch).numpy() for batch in images.split(256)]
    return np.concatenate(predictions).astype(np.float64)
