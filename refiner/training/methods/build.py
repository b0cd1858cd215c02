"""Networks and optimizers of a configuration, with their initial weights."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from refiner.config.sections import OptimizerSection
from refiner.config.training import PAIRED, TrainingConfiguration
from refiner.core.rng import derived_seed
from refiner.models.architecture import RefinerArchitecture
from refiner.models.discriminators import DISCRIMINATORS, Discriminator
from refiner.models.refiner import RefinerNetwork

CONDITION_PLANES = {"none": 0, "gaze": 2}
"""Number of further input planes of the discriminator for each ``discriminator.condition``."""


def condition_planes(configuration: TrainingConfiguration) -> int:
    """Return the number of input planes of a configuration's discriminator beside the image."""
    render = configuration.channels if configuration.method in PAIRED else 0
    return render + CONDITION_PLANES[configuration.discriminator.condition]


class OptimizedNetwork(NamedTuple):
    """A network with its optimizer."""

    network: nn.Module
    optimizer: torch.optim.Optimizer

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


def refiner_architecture(configuration: TrainingConfiguration) -> RefinerArchitecture:
    """Return the architecture of a configuration's refiner."""
    return RefinerArchitecture(channels=configuration.channels, **configuration.refiner.model_dump())


def build_networks(configuration: TrainingConfiguration, *, purpose: str = "") -> tuple[RefinerNetwork, Discriminator]:
    """Build both networks on the CPU.

    Args:
        configuration: of the run.
        purpose: initial weights follow from the seed of the configuration and from this text alone.
    """
    section = configuration.discriminator
    with torch.random.fork_rng(devices=[]):
        # Each network has a seed of its own: one does not change when the other does.
        torch.manual_seed(derived_seed(configuration.seed, f"{purpose}refiner"))
        refiner = RefinerNetwork(refiner_architecture(configuration))
        torch.manual_seed(derived_seed(configuration.seed, f"{purpose}discriminator"))
        discriminator = DISCRIMINATORS[section.scope](
            configuration.channels + condition_planes(configuration),
            **section.model_dump(include={"layers", "width", "spectral_norm", "batch_norm", "padding"}),
        )
    # Convolutions on CPUs are faster with channels last.
    return refiner.to(memory_format=torch.channels_last), discriminator.to(memory_format=torch.channels_last)


def make_optimizer(network: nn.Module, section: OptimizerSection) -> torch.optim.Optimizer:
    """Make the optimizer of a network."""
    if section.name == "sgd":
        return torch.optim.SGD(network.parameters(), lr=section.learning_rate, momentum=section.momentum)
    betas = (section.beta1, section.beta2)
    return torch.optim.Adam(network.parameters(), lr=section.learning_rate, betas=betas)


def precision_trial(configuration: TrainingConfiguration, device: str) -> Callable[[str], None]:
    """Return a trial for ``choose_precision``: a forward and a backward pass of the refiner."""
    network = build_networks(configuration)[0].to(device)
    images = torch.zeros(min(configuration.batch_size, 16), configuration.channels, *configuration.size, device=device)

    def trial(precision: str) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            network(images).mean().backward()
        if device == "cuda":
            torch.cuda.synchronize()

    return trial
