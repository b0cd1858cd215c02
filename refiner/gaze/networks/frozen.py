"""Frozen gaze estimator whose predictions a refiner should not change.

It is the task network of :mod:`refiner.training.task_network` for gaze.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from refiner.core.errors import DataError, WrongInputError
from refiner.gaze.networks.estimators import GazeNetwork
from refiner.gaze.networks.file import EstimatorFile, load_estimator
from refiner.images.arrays import LUMA


class FrozenEstimator(nn.Module):
    """A gaze estimator on the images of a refiner; gradients pass through it, its weights stay constant.

    Images are not equalised first, even if the estimator was trained on equalised ones. Equalisation has no gradient,
    and renders and refined images are compared as they are.

    Args:
        file: an estimator that is not conditioned on head pose.

    Attributes:
        digest: SHA-256 of the weights.
        equalize: whether the estimator was trained on histogram-equalised images.
    """

    def __init__(self, file: EstimatorFile) -> None:
        super().__init__()
        self.digest, self.equalize = file.digest(), bool(file.metadata["equalize"])
        self.network = file.network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Return pitch and yaw in radians, (N, 2), of images (N, 1 or 3, H, W) in [-1, 1]."""
        gaze: Tensor = self.network(_grey(images))
        return gaze

    def features(self, images: Tensor) -> Tensor:
        """Return the last feature map, (N, F, h, w), of images (N, 1 or 3, H, W) in [-1, 1]."""
        features: Tensor = self.network.trunk(_grey(images))  # type: ignore[operator]
        return features


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    return (images * images.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)


def load_frozen_estimator(path: Path, *, key: str, size: tuple[int, int]) -> FrozenEstimator:
    """Load an estimator that can be applied to refined images.

    Args:
        path: the estimator, its file or its run folder.
        key: configuration key, named in errors.
        size: (height, width) of the images that the refiner is trained on.

    Raises:
        DataError: there is no estimator, it has no gradient, is conditioned on head pose, or has another image size.
    """
    # Errors name the setting, since the path came from a configuration.
    try:
        file = load_estimator(path)
    except DataError as error:
        raise DataError(f"{key}: {error}") from error
    network = file.network
    # Refuse estimators that cannot be applied to refined images.
    if not isinstance(network, GazeNetwork):
        raise WrongInputError(
            f"{key}: {path} is a nearest-neighbour estimator, which has no gradient; train another network"
        )
    if network.head_pose:
        raise WrongInputError(f"{key}: {path} is conditioned on head pose; train an estimator with head_pose: false")
    if network.size != size:
        raise WrongInputError(
            f"{key}: {path} expects images of {network.size[0]}x{network.size[1]}, but the refiner is trained at "
            f"{size[0]}x{size[1]}; train an estimator of that size"
        )
    return FrozenEstimator(file)
