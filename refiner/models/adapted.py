"""A refiner of two stages: an adaptation by statistics of real images, then a network that was trained behind it.

The adaptation draws a real image and a strength for each render. The network maps what the adaptation gives, and draws
nothing itself.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from refiner.models.architecture import AdaptedArchitecture
from refiner.models.draws import draws_of
from refiner.models.refiner import RefinerNetwork
from refiner.models.statistics.architecture import FourierArchitecture
from refiner.models.statistics.fourier import FourierRefiner
from refiner.models.statistics.histogram import HistogramRefiner

Adaptation = FourierRefiner | HistogramRefiner
"""The first stage: a refiner that holds statistics of real images."""


class AdaptedRefiner(nn.Module):
    """An adaptation and a network in sequence.

    Args:
        architecture: settings of both.
    """

    adaptation: Adaptation
    network: RefinerNetwork

    def __init__(self, architecture: AdaptedArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        first = architecture.adaptation
        self.adaptation = FourierRefiner(first) if isinstance(first, FourierArchitecture) else HistogramRefiner(first)
        self.network = RefinerNetwork(architecture.network)

    def forward(self, images: Tensor, draws: Sequence[bytes] | None = None) -> Tensor:
        """Refine images.

        Args:
            images: (N, C, H, W), float, in [-1, 1].
            draws: the draw of each image; None takes those of its pixels.

        Returns:
            (N, C, H, W), float32, in [-1, 1].
        """
        refined: Tensor = self.network(self.adaptation(images, draws or draws_of(images)))
        return refined


def adapted_refiner(adaptation: Adaptation, network: RefinerNetwork) -> AdaptedRefiner:
    """Join an adaptation and a network, which the result shares.

    Raises:
        ValueError: they differ in their number of channels.
    """
    # Skip the random initial weights, which would advance the caller's random state.
    with torch.device("meta"):
        refiner = AdaptedRefiner(AdaptedArchitecture(adaptation.architecture, network.architecture))
    refiner.adaptation, refiner.network = adaptation, network
    return refiner
