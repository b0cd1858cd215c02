"""Networks from an eye patch to its gaze."""

from torch import Tensor, nn

from refiner.regression import SmallRegressor


class PaperEstimator(nn.Module):
    """The paper's gaze network: five convolutions without padding, one hidden layer of 1000.

    9,816,659 parameters with three outputs at 35x55; here it has two outputs, pitch and yaw.

    Args:
        size: (height, width) of the patches, at least 23x23.
        outputs: numbers predicted.

    Source: arXiv:1612.07828, section 3.1.
    """

    def __init__(self, size: tuple[int, int], *, outputs: int = 2) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            *(nn.Conv2d(1, 32, 3), nn.ReLU(inplace=True)),
            *(nn.Conv2d(32, 32, 3), nn.ReLU(inplace=True)),
            *(nn.Conv2d(32, 64, 3), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(64, 80, 3), nn.ReLU(inplace=True)),
            *(nn.Conv2d(80, 192, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2)),
        )
        height, width = ((((side - 6) - 3) // 2 + 1 - 4) // 2 for side in size)
        self.head = nn.Sequential(
            *(nn.Flatten(), nn.Linear(192 * height * width, 1000), nn.ReLU(inplace=True), nn.Linear(1000, outputs))
        )

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) in [-1, 1] to (N, outputs): pitch and yaw in radians."""
        return self.head(self.trunk(images))  # type: ignore[no-any-return]


ESTIMATORS: dict[str, type[PaperEstimator] | type[SmallRegressor]] = {
    "paper": PaperEstimator,
    "small": SmallRegressor,
}
"""Gaze networks by name."""
