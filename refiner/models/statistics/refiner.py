"""The frame that the refiners of statistics share: choose a real image for each render, adapt to it, take a picture."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from refiner.models.draws import draws_of
from refiner.models.statistics.architecture import StatisticsArchitecture
from refiner.models.statistics.camera import camera_properties, through_camera
from refiner.models.statistics.choice import choose

Settings = TypeVar("Settings", bound=StatisticsArchitecture)


class StatisticsRefiner(nn.Module, ABC, Generic[Settings]):
    """A refiner that holds statistics of real images, as buffers.

    Args:
        architecture: settings.
    """

    architecture: Settings
    camera: Tensor
    """Sharpness and noise of each real image, (examples, C, 2, 2), if ``architecture.camera``."""

    def __init__(self, architecture: Settings) -> None:
        super().__init__()
        self.architecture = architecture
        for name, shape in architecture.shapes():
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, images: Tensor, draws: Sequence[bytes] | None = None) -> Tensor:
        """Refine images.

        Args:
            images: (N, C, H, W), float, in [-1, 1].
            draws: the draw of each image; None takes those of its pixels.

        Returns:
            (N, C, H, W), float32, in [-1, 1].
        """
        draws = draws or draws_of(images)
        numbers, strengths = choose(draws, self.architecture.examples, images.device)
        adapted = self._adapt((images.double() + 1).mul_(0.5), numbers, strengths)
        if self.architecture.camera:
            adapted = through_camera(adapted.clamp(0, 1), self.camera[numbers], draws)
        return adapted.mul_(2).sub_(1).clamp_(-1, 1).float()

    def fit(self, number: int, images: Tensor) -> None:
        """Store the statistics of real images (N, C, H, W), in [-1, 1], from an example on."""
        units = (images.double() + 1) / 2
        self._fit(number, units)
        if self.architecture.camera:
            self.camera[number : number + len(images)] = camera_properties(units).float()

    @abstractmethod
    def _adapt(self, images: Tensor, numbers: Tensor, strengths: Tensor) -> Tensor:
        """Adapt images to real ones.

        Args:
            images: (N, C, H, W), float64, in [0, 1].
            numbers: the example of each, (N,) int64.
            strengths: in [0, 1), (N,) float64.

        Returns:
            New (N, C, H, W), float64; values may leave [0, 1].
        """

    @abstractmethod
    def _fit(self, number: int, images: Tensor) -> None:
        """Store the statistics of real images (N, C, H, W), float64, in [0, 1], from an example on."""
