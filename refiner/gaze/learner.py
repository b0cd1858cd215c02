"""A gaze network that learns: its weights, their running mean and its optimizer, and what one update does."""

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
"""Radians within which the angular loss is round rather than a cone (0.6 degrees)."""


def to_unit_vectors(angles: Tensor) -> Tensor:
    """Unit gaze vectors (N, 3) of (pitch, yaw) in radians (N, 2); see :mod:`refiner.data.labels.angles`."""
    pitch, yaw = angles[:, 0], angles[:, 1]
    return torch.stack([-pitch.cos() * yaw.sin(), -pitch.sin(), -pitch.cos() * yaw.cos()], dim=1)


def angular_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Angle between two gazes as the chord between their unit vectors, rounded off at zero.

    sqrt(chord^2 + r^2) - r with r = 0.01: an arc cosine has no finite slope at zero. The chord 2 sin(angle / 2) is
    within 1 % of the angle up to 28 degrees.

    Args:
        predicted, true: (N, 2), pitch and yaw in radians; gradients flow through the first.

    Returns:
        Scalar, at least 0.
    """
    squared = (to_unit_vectors(predicted) - to_unit_vectors(true)).square().sum(dim=1)
    return ((squared + _ROUNDING**2).sqrt() - _ROUNDING).mean()


def smooth_l1_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Absolute difference of pitch and of yaw, square below 0.05 radians (2.9 degrees)."""
    return functional.smooth_l1_loss(predicted, true, beta=0.05)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"angular": angular_loss, "smooth_l1": smooth_l1_loss}
"""Losses by name."""


class Learner:
    """A network and its optimizer.

    Args:
        configuration: what to do; not of the network ``knn``.
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
        """Everything that a resumed run needs."""
        return {
            "network": self.network.state_dict(),
            "average": {} if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.network.load_state_dict(state["network"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    @property
    def judged(self) -> GazeNetwork:
        """The network that is judged and saved: the running mean of the weights where there is one."""
        return self.network if self.average is None else self.average

    def update(self, images: Tensor, gaze: Tensor, head_pose: Tensor | None, *, step: int) -> dict[str, Tensor]:
        """One update.

        Args:
            images: (N, 1, H, W), in [-1, 1].
            gaze: (N, 2), pitch and yaw in radians.
            head_pose: the same, or None.
            step: updates so far.

        Returns:
            ``loss`` and ``error_degrees``, on the CPU.

        Raises:
            TrainingError: the loss is not finite.
        """
        configuration, section = self.configuration, self.configuration.optimizer
        for group in self.optimizer.param_groups:
            share = (1 + math.cos(math.pi * step / configuration.steps)) / 2
            group["lr"] = section.learning_rate * (share if section.schedule == "cosine" else 1.0)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"):
            predicted = self.network(images, head_pose)
        loss = LOSSES[configuration.loss](predicted.float(), gaze)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"step {step + 1}: the loss is not finite ({loss.item():.4g}); lower optimizer.learning_rate, or "
                "set precision: fp32"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        if self.average is not None:
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self.average.parameters()), list(self.network.parameters()), 1 - configuration.ema_decay
                )
        error = angular_error_degrees(predicted.detach().double().cpu().numpy(), gaze.double().cpu().numpy()).mean()
        return {"loss": loss.detach().double().cpu(), "error_degrees": torch.tensor(error)}


def architecture(configuration: GazeConfiguration) -> dict[str, Any]:
    """The arguments of :class:`GazeNetwork` that a configuration asks for."""
    return {
        "network": configuration.network,
        "size": list(configuration.size),
        "head_pose": configuration.head_pose,
        "standardize": configuration.standardize,
    }


def build_network(configuration: GazeConfiguration) -> GazeNetwork:
    """The network on the CPU, with initial weights that follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(configuration.seed, "estimator"))
        network = GazeNetwork(**{**architecture(configuration), "size": configuration.size})
    return network.to(memory_format=torch.channels_last)


def trial_of(configuration: GazeConfiguration, device: str) -> Callable[[str], None]:
    """A little of the real work, forwards and backwards, for :func:`refiner.core.devices.choose_precision`."""
    network = build_network(configuration).to(device)
    images = torch.zeros(min(configuration.batch_size, 64), 1, *configuration.size, device=device)
    pose = torch.zeros(len(images), 2, device=device) if configuration.head_pose else None

    def trial(precision: str) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            network(images, pose).mean().backward()
        if device == "cuda":
            torch.cuda.synchronize()

    return trial
