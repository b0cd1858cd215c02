"""Modules of refiners, by the kind of their architecture. All map (N, C, H, W) in [-1, 1] to the same."""

from collections.abc import Sequence

from torch import Tensor

from refiner.models.adapted import AdaptedRefiner
from refiner.models.architecture import Architecture
from refiner.models.refiner import RefinerNetwork
from refiner.models.statistics.fourier import FourierRefiner
from refiner.models.statistics.histogram import HistogramRefiner

RefinerModule = RefinerNetwork | FourierRefiner | HistogramRefiner | AdaptedRefiner
"""The module of any refiner."""

_MODULES: dict[str, type] = {
    "network": RefinerNetwork,
    "fourier": FourierRefiner,
    "histogram": HistogramRefiner,
    "adapted": AdaptedRefiner,
}


def build_module(architecture: Architecture) -> RefinerModule:
    """Build the module of an architecture, with initial weights or empty statistics."""
    module: RefinerModule = _MODULES[architecture.kind](architecture)
    return module


def apply_module(module: RefinerModule, images: Tensor, draws: Sequence[bytes]) -> Tensor:
    """Refine images by given draws; a module that draws nothing ignores them.

    Args:
        module: module of any refiner.
        images: (N, C, H, W), in [-1, 1].
        draws: the draw of each image, see :mod:`refiner.models.draws`.

    Returns:
        (N, C, H, W), float32, in [-1, 1].
    """
    refined: Tensor = module(images, draws) if module.architecture.is_random else module(images)
    return refined
