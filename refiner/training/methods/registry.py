"""The games that a configuration can ask for: the paper's, and those of its rivals."""

from typing import Any

from refiner.config.training import TrainingConfiguration
from refiner.training.methods.cut import ContrastGame
from refiner.training.methods.cyclegan import CycleGame
from refiner.training.methods.simgan import Game

GAMES: dict[str, type[Game]] = {"none": Game, "cycle": CycleGame, "contrast": ContrastGame}
"""By the correspondence that a configuration names."""


def open_game(configuration: TrainingConfiguration, **options: Any) -> Game:
    """The game of a configuration; see :class:`refiner.training.methods.simgan.Game` for the options."""
    return GAMES[configuration.correspondence](configuration, **options)
