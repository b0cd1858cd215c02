"""The two networks that a configuration asks for, with their first weights, and what moves them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from refiner.config.sections import OptimizerSection
from refiner.config.training import TrainingConfiguration
from refiner.core.rng import derived_seed
from refiner.models.architecture import RefinerArchitecture
from refiner.models.discriminators import DISCRIMINATORS, Discriminator
from refiner.models.refiner import RefinerNetwork

CONDITIONS = {"none": 0, "gaze": 2}
"""Further planes that a discriminator sees, by the condition that a configuration names: one for each number."""


class Player(NamedTuple):
    """A network and its optimizer."""

    network: nn.Module
    optimizer: torch.optim.Optimizer

    def state_dict(self) -> dict[str, Any]:
        """Of both."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


def architecture(configuration: TrainingConfiguration) -> RefinerArchitecture:
    """The refiner that a configuration asks for."""
    return RefinerArchitecture(channels=configuration.channels, **configuration.refiner.model_dump())


def build_networks(configuration: TrainingConfiguration, *, purpose: str = "") -> tuple[RefinerNetwork, Discriminator]:
    """Both networks on the CPU, with initial weights that follow from the seed and from what they are for alone."""
    section = configuration.discriminator
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(configuration.seed, f"{purpose}refiner"))
        refiner = RefinerNetwork(architecture(configuration))
        torch.manual_seed(derived_seed(configuration.seed, f"{purpose}discriminator"))
        discriminator = DISCRIMINATORS[section.scope](
            configuration.channels + CONDITIONS[section.condition],
            **section.model_dump(include={"layers", "width", "spectral_norm", "batch_norm"}),
        )
    return refiner.to(memory_format=torch.channels_last), discriminator.to(memory_format=torch.channels_last)


def make_optimizer(network: nn.Module, section: OptimizerSection) -> torch.optim.Optimizer:
    """The optimizer that a section of the configuration asks for."""
    if section.name == "sgd":
        return torch.optim.SGD(network.parameters(), lr=section.learning_rate, momentum=section.momentum)
    betas = (section.beta1, section.beta2)
    return torch.optim.Adam(network.parameters(), lr=section.learning_rate, betas=betas)


def training_trial(configuration: TrainingConfiguration, device: str) -> Callable[[str], None]:
    """A little of the real work, forwards and backwards, for :func:`refiner.core.devices.choose_precision`."""
    network = build_networks(configuration)[0].to(device)
    images = torch.zeros(min(configuration.batch_size, 16), configuration.channels, *configuration.size, device=device)

    def trial(precision: str) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            network(images).mean().backward()
        if device == "cuda":
            torch.cuda.synchronize()

    return trial
