"""Networks from an eye patch, and the head pose where it is known, to its gaze."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from refiner.gaze.networks.knn import NearestNeighbours
from refiner.models.regressor import SmallRegressor


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


class LeNetEstimator(nn.Module):
    """MPIIGaze's LeNet: two convolutions, each with pooling but no activation, one hidden layer of 500.

    1,827,076 parameters at 36x60 with the head pose.

    Args:
        size: (height, width) of the patches, at least 16x16.
        outputs: numbers predicted.

    Source: Zhang et al., Appearance-Based Gaze Estimation in the Wild, CVPR 2015; layers as in hysts/pytorch_mpiigaze.
    """

    def __init__(self, size: tuple[int, int], *, outputs: int = 2) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2))
        height, width = (((side - 4) // 2 - 4) // 2 for side in size)
        self.head = nn.Sequential(
            *(nn.Flatten(), nn.Linear(50 * height * width, 500), nn.ReLU(inplace=True), nn.Linear(500, outputs))
        )

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) in [-1, 1] to (N, outputs): pitch and yaw in radians."""
        return self.head(self.trunk(images))  # type: ignore[no-any-return]


class PreactivationBlock(nn.Module):
    """Two 3x3 convolutions behind activations, added to a shortcut with a learned gain that starts at a half.

    The gain stands where other networks have batch normalisation, which would make an image's gaze depend on the
    images beside it.

    Args:
        inputs, outputs: channels.
        stride: of the first convolution and of the shortcut.

    Source: He et al., arXiv:1603.05027 (order of layers); De and Smith, arXiv:2002.10444 (the gain, which starts at
    zero there; that learns more slowly: 6.95 instead of 6.13 degrees held out after 800 steps on 7,000 renders).
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride) if (inputs, 1) != (outputs, stride) else None
        self.gain = nn.Parameter(torch.tensor(0.5))

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, h, w) to (N, outputs, h / stride, w / stride), rounded up."""
        active = torch.relu(features)
        shortcut = features if self.shortcut is None else self.shortcut(active)
        return shortcut + self.gain * self.second(torch.relu(self.first(active)))  # type: ignore[no-any-return]


class ResidualEstimator(nn.Module):
    """A pre-activation ResNet of eight convolutions at half resolution, without batch statistics.

    The last map is not averaged over places, for where the iris is says where it looks.

    Args:
        size: (height, width) of the patches.
        outputs: numbers predicted.
    """

    def __init__(self, size: tuple[int, int], *, outputs: int = 2) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2, padding=2),
            PreactivationBlock(16, 16, 1),
            PreactivationBlock(16, 32, 2),
            PreactivationBlock(32, 64, 2),
            nn.ReLU(inplace=True),
        )
        height, width = (-(-side // 8) for side in size)
        self.head = nn.Sequential(
            *(nn.Flatten(), nn.Linear(64 * height * width, 128), nn.ReLU(inplace=True), nn.Linear(128, outputs))
        )

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) in [-1, 1] to (N, outputs): pitch and yaw in radians."""
        return self.head(self.trunk(images))  # type: ignore[no-any-return]


ESTIMATORS: dict[str, Callable[..., nn.Module]] = {
    "paper": PaperEstimator,
    "small": SmallRegressor,
    "lenet": LeNetEstimator,
    "resnet": ResidualEstimator,
}
"""Gaze networks by name; each has a ``trunk`` and a ``head`` that ends in a linear layer."""

HeadPose = bool | Literal["yaw"]
"""Whether an estimator is told the head pose; ``yaw``: its yaw alone."""

_TOLD = {False: (), True: (0, 1), "yaw": (1,)}  # columns of (pitch, yaw)

_LEAST_DEVIATION = 1e-3  # of a standardised image, so that a flat one stays finite


class GazeNetwork(nn.Module):
    """A network of :data:`ESTIMATORS`, with what stands before and beside it.

    Args:
        network: its name.
        size: (height, width) of the patches.
        head_pose: whether the head pose joins the last hidden layer, as in MPIIGaze's networks; ``yaw``: its yaw
            alone, whose zero is the same in all data sets.
        standardize: whether each image is brought to mean 0 and deviation 1.

    Raises:
        KeyError: the name is unknown, or ``head_pose`` none of the three.
    """

    def __init__(
        self, network: str, size: tuple[int, int], *, head_pose: HeadPose = False, standardize: bool = False
    ) -> None:
        super().__init__()
        chosen = ESTIMATORS[network](size)
        head = chosen.head
        assert isinstance(head, nn.Sequential)
        *hidden, last = head
        assert isinstance(last, nn.Linear)
        self.size, self.head_pose, self.standardize = size, head_pose, standardize
        self._told = list(_TOLD[head_pose])
        self.trunk, self.hidden = chosen.trunk, nn.Sequential(*hidden)
        self.last = nn.Linear(last.in_features + len(self._told), last.out_features) if self._told else last

    def forward(self, images: Tensor, head_pose: Tensor | None = None) -> Tensor:
        """Pitch and yaw in radians, (N, 2).

        Args:
            images: (N, 1, H, W), in [-1, 1].
            head_pose: (N, 2), pitch and yaw in radians; only where the network was built for it, or for the yaw.
        """
        if self.standardize:
            deviation, mean = torch.std_mean(images, dim=(1, 2, 3), keepdim=True)
            images = (images - mean) / deviation.clamp(min=_LEAST_DEVIATION)
        features = self.hidden(self.trunk(images))  # type: ignore[operator]
        if self._told:
            if head_pose is None:
                raise ValueError("this estimator is told the head pose: give it (N, 2), pitch and yaw in radians")
            features = torch.cat([features, head_pose[:, self._told].to(features.dtype)], dim=1)
        return self.last(features)  # type: ignore[no-any-return]


def build_estimator(architecture: dict[str, Any]) -> GazeNetwork | NearestNeighbours:
    """An estimator from the arguments in its file, with ``network`` its name.

    Raises:
        KeyError, TypeError, ValueError: the arguments are of no estimator.
    """
    arguments = {**architecture, "size": _pair(architecture["size"])}
    if arguments["network"] == "knn":
        del arguments["network"]
        return NearestNeighbours(**{**arguments, "patch": _pair(arguments["patch"])})
    return GazeNetwork(**arguments)


def _pair(value: Any) -> tuple[int, int]:
    height, width = (int(side) for side in value)
    if min(height, width) < 1:
        raise ValueError(f"{value} is no height and width")
    return height, width
