"""The games that a configuration can ask for: the paper's, and those of its rivals."""

from typing import Any

from refiner.config.training import TrainingConfiguration
from refiner.training.methods.cut import CUT
from refiner.training.methods.cyclegan import CycleGAN
from refiner.training.methods.simgan import SimGAN

METHODS: dict[str, type[SimGAN]] = {"none": SimGAN, "cycle": CycleGAN, "contrast": CUT}
"""By the correspondence that a configuration names."""


def build_method(configuration: TrainingConfiguration, **options: Any) -> SimGAN:
    """The game of a configuration; see :class:`refiner.training.methods.simgan.SimGAN` for the options."""
    return METHODS[configuration.correspondence](configuration, **options)
