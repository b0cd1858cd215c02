"""Networks that predict gaze from an eye patch and, optionally, the head pose."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from refiner.gaze.networks.knn import NearestNeighbours
from refiner.models.regressor import SmallRegressor


class PaperEstimator(nn.Module):
    """The paper's gaze network: five convolutions without padding, one hidden layer of 1000.

    It has 9,816,659 parameters with three outputs at 35x55. Here it has two outputs, pitch and yaw.

    Args:
        size: (height, width) of the patches, at least 23x23.
        outputs: number of predicted values.

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
        """Return pitch and yaw in radians, (N, outputs), of patches (N, 1, H, W) in [-1, 1]."""
        return self.head(self.trunk(images))  # type: ignore[no-any-return]


class LeNetEstimator(nn.Module):
    """MPIIGaze's LeNet: two convolutions, each with pooling but no activation, one hidden layer of 500.

    It has 1,827,076 parameters at 36x60 with head pose.

    Args:
        size: (height, width) of the patches, at least 16x16.
        outputs: number of predicted values.

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
        """Return pitch and yaw in radians, (N, outputs), of patches (N, 1, H, W) in [-1, 1]."""
        return self.head(self.trunk(images))  # type: ignore[no-any-return]


class PreactivationBlock(nn.Module):
    """Two 3x3 convolutions after activations, added to a shortcut with a learned gain that starts at a half.

    The gain replaces batch normalisation, which would make the prediction for an image depend on the rest of its batch.

    Args:
        inputs, outputs: numbers of channels.
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
        """Return features (N, inputs, h, w) as (N, outputs, h / stride, w / stride), sizes rounded up."""
        active = torch.relu(features)
        shortcut = features if self.shortcut is None else self.shortcut(active)
        return shortcut + self.gain * self.second(torch.relu(self.first(active)))  # type: ignore[no-any-return]


class ResidualEstimator(nn.Module):
    """A pre-activation ResNet of eight convolutions at half resolution, without batch statistics.

    The last feature map is not averaged over positions, because the position of the iris shows the gaze.

    Args:
        size: (height, width) of the patches.
        outputs: number of predicted values.
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
        """Return pitch and yaw in radians, (N, outputs), of patches (N, 1, H, W) in [-1, 1]."""
        return self.head(self.trunk(images))  # type: ignore[no-any-return]


ESTIMATORS: dict[str, Callable[..., nn.Module]] = {
    "paper": PaperEstimator,
    "small": SmallRegressor,
    "lenet": LeNetEstimator,
    "resnet": ResidualEstimator,
}
"""Gaze networks by name. Each has a ``trunk``, and a ``head`` that ends in a linear layer."""

HeadPose = bool | Literal["yaw"]
"""Head angles that an estimator is conditioned on: none, pitch and yaw, or ``yaw`` only."""

_POSE_COLUMNS = {False: (), True: (0, 1), "yaw": (1,)}  # of (pitch, yaw)

_LEAST_DEVIATION = 1e-3  # of a standardised image, so that a flat one stays finite


class GazeNetwork(nn.Module):
    """A network of :data:`ESTIMATORS`, optionally with standardised images and conditioned on head pose.

    Args:
        network: name in :data:`ESTIMATORS`.
        size: (height, width) of the patches.
        head_pose: whether the head pose is appended to the last hidden layer, as in MPIIGaze's networks. ``yaw``
            appends the yaw only, whose zero is the same in all data sets.
        standardize: whether each image is scaled to mean 0 and standard deviation 1.

    Raises:
        KeyError: ``network`` is no name in :data:`ESTIMATORS`, or ``head_pose`` is no :data:`HeadPose`.
    """

    def __init__(
        self, network: str, size: tuple[int, int], *, head_pose: HeadPose = False, standardize: bool = False
    ) -> None:
        super().__init__()
        # Take the network apart, so that head angles can be appended before its last layer.
        chosen = ESTIMATORS[network](size)
        head = chosen.head
        assert isinstance(head, nn.Sequential)
        *hidden, last = head
        assert isinstance(last, nn.Linear)
        self.size, self.head_pose, self.standardize = size, head_pose, standardize
        self._pose_columns = list(_POSE_COLUMNS[head_pose])
        self.trunk, self.hidden = chosen.trunk, nn.Sequential(*hidden)
        # Without head pose the last layer keeps the weights that it was built with.
        extra = len(self._pose_columns)
        self.last = nn.Linear(last.in_features + extra, last.out_features) if extra else last

    def forward(self, images: Tensor, head_pose: Tensor | None = None) -> Tensor:
        """Return pitch and yaw in radians, (N, 2).

        Args:
            images: (N, 1, H, W), in [-1, 1].
            head_pose: (N, 2), pitch and yaw in radians; required by a network that is conditioned on head pose.

        Raises:
            ValueError: the network is conditioned on head pose, and ``head_pose`` is None.
        """
        if self.standardize:
            deviation, mean = torch.std_mean(images, dim=(1, 2, 3), keepdim=True)
            images = (images - mean) / deviation.clamp(min=_LEAST_DEVIATION)
        features = self.hidden(self.trunk(images))  # type: ignore[operator]
        # Append the head angles to the last hidden layer.
        if self._pose_columns:
            if head_pose is None:
                raise ValueError(
                    "this estimator is conditioned on head pose; pass head_pose, (N, 2), pitch and yaw in radians"
                )
            features = torch.cat([features, head_pose[:, self._pose_columns].to(features.dtype)], dim=1)
        return self.last(features)  # type: ignore[no-any-return]


def build_estimator(architecture: dict[str, Any]) -> GazeNetwork | NearestNeighbours:
    """Build an estimator with new weights.

    Args:
        architecture: arguments of the estimator as they are in its file, and its name under ``network``; ``knn`` builds
            :class:`NearestNeighbours`, other names a :class:`GazeNetwork`.

    Raises:
        KeyError, TypeError, ValueError: an argument is missing, unknown or out of range.
    """
    arguments = {**architecture, "size": _pair(architecture["size"])}
    if arguments["network"] == "knn":
        del arguments["network"]
        return NearestNeighbours(**{**arguments, "patch": _pair(arguments["patch"])})
    return GazeNetwork(**arguments)


def _pair(value: Any) -> tuple[int, int]:
    height, width = (int(side) for side in value)
    if min(height, width) < 1:
        raise ValueError(f"{value} is no height and width of 1 or more")
    return height, width
