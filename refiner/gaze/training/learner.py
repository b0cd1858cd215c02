"""A gaze network in training: weights, their moving average, optimizer, losses, and one update."""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from refiner.core.errors import TrainingError
from refiner.core.rng import derived_seed
from refiner.data.labels.angles import angular_error_degrees
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.networks.estimators import GazeNetwork

_ROUNDING = 0.01
"""Angle in radians (0.6 degrees) below which the angular loss is smooth instead of a cone."""


def to_unit_vectors(angles: Tensor) -> Tensor:
    """Convert (pitch, yaw) in radians, (N, 2), to unit gaze vectors (N, 3); see :mod:`refiner.data.labels.angles`."""
    pitch, yaw = angles[:, 0], angles[:, 1]
    return torch.stack([-pitch.cos() * yaw.sin(), -pitch.sin(), -pitch.cos() * yaw.cos()], dim=1)


def angular_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Angle between two gaze directions, as the chord between their unit vectors, smooth at zero.

    The loss is sqrt(chord^2 + r^2) - r with r = 0.01, because an arc cosine has no finite slope at zero. The chord
    2 sin(angle / 2) is within 1 % of the angle up to 28 degrees.

    Args:
        predicted: (N, 2), pitch and yaw in radians; gradients flow through it.
        true: (N, 2), pitch and yaw in radians.

    Returns:
        Scalar tensor, at least 0.
    """
    squared = (to_unit_vectors(predicted) - to_unit_vectors(true)).square().sum(dim=1)
    return ((squared + _ROUNDING**2).sqrt() - _ROUNDING).mean()


def smooth_l1_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Absolute difference of pitch and of yaw, quadratic below 0.05 radians (2.9 degrees)."""
    return functional.smooth_l1_loss(predicted, true, beta=0.05)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"angular": angular_loss, "smooth_l1": smooth_l1_loss}
"""Losses by the names that a configuration gives them."""


class Learner:
    """A gaze network and its optimizer.

    Args:
        configuration: of the run, with any network but ``knn``.
        device: ``cpu`` or ``cuda``.
        precision: ``fp32`` or ``bf16``.
    """

    def __init__(self, configuration: GazeConfiguration, *, device: str, precision: str) -> None:
        self.configuration, self.device, self.precision = configuration, device, precision
        self.network = build_network(configuration).to(device)
        self.average = copy.deepcopy(self.network) if configuration.ema_decay else None
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=configuration.optimizer.learning_rate,
            weight_decay=configuration.optimizer.weight_decay,
            fused=True,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        return {
            "network": self.network.state_dict(),
            "average": {} if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.network.load_state_dict(state["network"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    @property
    def saved_network(self) -> GazeNetwork:
        """The network that is evaluated and saved: the average of the weights if there is one."""
        return self.network if self.average is None else self.average

    def predict(self, images: Tensor, head_pose: Tensor | None) -> Tensor:
        """Return pitch and yaw in radians, (N, 2), float32, of the network in training; gradients flow through it."""
        return self._predict(self.network, images, head_pose)

    @torch.no_grad()
    def teach(self, images: Tensor, head_pose: Tensor | None) -> Tensor:
        """Return pitch and yaw in radians, (N, 2), float32, of the saved network; no gradients flow through it."""
        return self._predict(self.saved_network, images, head_pose)

    def _predict(self, network: GazeNetwork, images: Tensor, head_pose: Tensor | None) -> Tensor:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"):
            predicted: Tensor = network(images, head_pose)
        return predicted.float()

    def update(
        self, images: Tensor, gaze: Tensor, head_pose: Tensor | None, *, step: int, further: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Update the network once.

        Args:
            images: (N, 1, H, W), in [-1, 1].
            gaze: (N, 2), pitch and yaw in radians.
            head_pose: (N, 2), pitch and yaw in radians, or None.
            step: number of updates so far.
            further: a scalar of this network's predictions that is added to the loss.

        Returns:
            ``loss`` on these images and ``error_degrees``, on the CPU.

        Raises:
            TrainingError: the loss is not finite.
        """
        configuration, section = self.configuration, self.configuration.optimizer
        # Set the learning rate.
        for group in self.optimizer.param_groups:
            share = (1 + math.cos(math.pi * step / configuration.steps)) / 2
            group["lr"] = section.learning_rate * (share if section.schedule == "cosine" else 1.0)

        # Predict gaze, and compare it with the labels in fp32.
        predicted = self.predict(images, head_pose)
        loss = LOSSES[configuration.loss](predicted, gaze)
        total = loss if further is None else loss + further
        if not torch.isfinite(total):
            raise TrainingError(
                f"the loss is not finite ({total.item():.4g}); lower optimizer.learning_rate, or set precision: fp32"
            )

        # Update the weights and their average.
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()
        if self.average is not None:
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self.average.parameters()), list(self.network.parameters()), 1 - configuration.ema_decay
                )
        error = angular_error_degrees(predicted.detach().double().cpu().numpy(), gaze.double().cpu().numpy()).mean()
        return {"loss": loss.detach().double().cpu(), "error_degrees": torch.tensor(error)}


def network_arguments(configuration: GazeConfiguration) -> dict[str, Any]:
    """Return the arguments of :class:`GazeNetwork` for a configuration."""
    return {
        "network": configuration.network,
        "size": list(configuration.size),
        "head_pose": configuration.head_pose,
        "standardize": configuration.standardize,
    }


def build_network(configuration: GazeConfiguration) -> GazeNetwork:
    """Build the network on the CPU; its initial weights follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(configuration.seed, "estimator"))
        network = GazeNetwork(**{**network_arguments(configuration), "size": configuration.size})
    return network.to(memory_format=torch.channels_last)


def precision_trial(configuration: GazeConfiguration, device: str) -> Callable[[str], None]:
    """Return a trial for ``choose_precision``: a forward and a backward pass of the network."""
    # A few blank images suffice, since only the time counts.
    network = build_network(configuration).to(device)
    images = torch.zeros(min(configuration.batch_size, 64), 1, *configuration.size, device=device)
    pose = torch.zeros(len(images), 2, device=device) if configuration.head_pose else None

    def trial(precision: str) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            network(images, pose).mean().backward()
        if device == "cuda":
            torch.cuda.synchronize()

    return trial
