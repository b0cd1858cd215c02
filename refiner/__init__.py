"""SimGAN sim-to-real refinement: train a refiner, refine renders, show that their labels survived.

Public names load on first use; ``import refiner`` itself imports nothing heavy.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refiner.config.training import TrainingConfiguration
    from refiner.config.yaml_files import read_configuration
    from refiner.core.errors import RefinerError
    from refiner.gaze.ensemble import GazeEnsemble
    from refiner.gaze.prediction import GazeEstimator
    from refiner.inference.jobs.refine import refine_path
    from refiner.inference.refiner import Refiner
    from refiner.inference.transforms import RefineImages
    from refiner.models.architecture import RefinerArchitecture
    from refiner.models.discriminators import PatchDiscriminator
    from refiner.models.refiner import RefinerNetwork
    from refiner.training.train import train

_HOMES = {
    "GazeEnsemble": "gaze.ensemble",
    "GazeEstimator": "gaze.prediction",
    "PatchDiscriminator": "models.discriminators",
    "RefineImages": "inference.transforms",
    "Refiner": "inference.refiner",
    "RefinerArchitecture": "models.architecture",
    "RefinerError": "core.errors",
    "RefinerNetwork": "models.refiner",
    "TrainingConfiguration": "config.training",
    "read_configuration": "config.yaml_files",
    "refine_path": "inference.jobs.refine",
    "train": "training.train",
}

__all__ = [
    "GazeEnsemble",
    "GazeEstimator",
    "PatchDiscriminator",
    "RefineImages",
    "Refiner",
    "RefinerArchitecture",
    "RefinerError",
    "RefinerNetwork",
    "TrainingConfiguration",
    "read_configuration",
    "refine_path",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'refiner' has no attribute {name!r}")
    return getattr(importlib.import_module(f"refiner.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
