"""Training methods by the names that a configuration gives them."""

from typing import Any

from refiner.config.training import TrainingConfiguration
from refiner.training.methods.cut import CUT
from refiner.training.methods.cyclegan import CycleGAN
from refiner.training.methods.pix2pix import Pix2Pix
from refiner.training.methods.simgan import SimGAN

METHODS: dict[str, type[SimGAN]] = {"simgan": SimGAN, "cyclegan": CycleGAN, "cut": CUT, "pix2pix": Pix2Pix}
"""Class of each ``method``."""


def build_method(configuration: TrainingConfiguration, **options: Any) -> SimGAN:
    """Build the method of a configuration; options as in :class:`refiner.training.methods.base.Method`."""
    return METHODS[configuration.method](configuration, **options)
