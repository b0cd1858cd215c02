"""The frozen gaze estimator whose answers a refiner should not change."""

from pathlib import Path

import torch
from torch import Tensor, nn

from refiner.core.errors import DataError
from refiner.gaze.networks.estimators import GazeNetwork
from refiner.gaze.networks.file import EstimatorFile, load_estimator
from refiner.images.arrays import LUMA


class FrozenEstimator(nn.Module):
    """An estimator that takes the refiner's images; gradients pass through it, its weights stay.

    Args:
        file: whose network sees the image alone. What it does to images first is left out: equalising has no gradient,
            and renders and refined images are compared as they are.

    Attributes:
        digest: of its weights.
        equalize: whether it has learnt on equalised images.
    """

    def __init__(self, file: EstimatorFile) -> None:
        super().__init__()
        self.digest, self.equalize = file.digest(), bool(file.metadata["equalize"])
        self.network = file.network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1 or 3, H, W) in [-1, 1] to (N, 2): pitch and yaw in radians."""
        gaze: Tensor = self.network(_grey(images))
        return gaze

    def features(self, images: Tensor) -> Tensor:
        """(N, 1 or 3, H, W) in [-1, 1] to the last map that it looks at, (N, F, h, w): a learnt psi (section 2.1)."""
        features: Tensor = self.network.trunk(_grey(images))  # type: ignore[operator]
        return features


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    return (images * images.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)


def load_frozen_estimator(path: Path, *, key: str, size: tuple[int, int]) -> FrozenEstimator:
    """Load an estimator and see that it can judge refined images.

    Args:
        path: its file, or its run folder.
        key: of the configuration, named in errors.
        size: (height, width) of the images that the refiner is trained on.

    Raises:
        DataError: there is none, or it has no gradient, is told the head pose, or looks at images of another size.
    """
    try:
        file = load_estimator(path)
    except DataError as error:
        raise DataError(f"{key}: {error}") from error
    network = file.network
    if not isinstance(network, GazeNetwork):
        raise DataError(f"{key}: {path} looks up nearest neighbours, which have no gradient; train another network")
    if network.head_pose:
        raise DataError(f"{key}: {path} is told the head pose; train one on the image alone (head_pose: false)")
    if network.size != size:
        raise DataError(
            f"{key}: {path} looks at {network.size[0]}x{network.size[1]}, the refiner is trained at "
            f"{size[0]}x{size[1]}; train one at that size"
        )
    return FrozenEstimator(file)
