"""The games that a configuration can ask for: the paper's, and those of its rivals."""

from refiner.configuration import TrainingConfiguration
from refiner.consistency import FrozenEstimator
from refiner.contrast import ContrastGame
from refiner.cycle import CycleGame
from refiner.game import Game
from refiner.processes import Processes

GAMES: dict[str, type[Game]] = {"none": Game, "cycle": CycleGame, "contrast": ContrastGame}
"""By the correspondence that a configuration names."""


def open_game(
    configuration: TrainingConfiguration,
    *,
    device: str,
    precision: str,
    task: FrozenEstimator | None = None,
    processes: Processes | None = None,
) -> Game:
    """The game of a configuration; see :class:`refiner.game.Game` for the arguments."""
    game = GAMES[configuration.correspondence]
    return game(configuration, device=device, precision=precision, task=task, processes=processes)
