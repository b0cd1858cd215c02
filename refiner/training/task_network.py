"""The frozen network of a downstream task, whose predictions refining should not change.

Training knows it by the protocol below alone. The file says its kind, and ``LOADERS`` says who loads that kind: the
gaze package for gaze estimators.
"""

import hashlib
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor

from refiner.core.errors import WrongInputError
from refiner.models.files.weights_file import read_kind

LOADERS = {"estimator": "refiner.gaze.networks.frozen:load_frozen_estimator"}
"""Loader of each kind of weights file, as ``module:function``; imported on use."""


class TaskNetwork(Protocol):
    """A frozen network that gradients pass through.

    Attributes:
        digest: SHA-256 of its weights.
        equalize: whether it was trained on histogram-equalised images.
    """

    digest: str
    equalize: bool

    def __call__(self, images: Tensor) -> Tensor:
        """Predict (N, K) numbers for images (N, C, H, W) in [-1, 1]."""

    def features(self, images: Tensor) -> Tensor:
        """Return the last feature map, (N, F, h, w): a learnt psi (arXiv:1612.07828, section 2.1)."""

    def to(self, device: torch.device) -> Self:
        """Move the weights to a device."""


class JointTaskNetwork:
    """Several task networks: their predictions side by side.

    Args:
        networks: the networks.

    Attributes:
        digest: SHA-256 over the digests of the networks.
        equalize: whether one of them was trained on histogram-equalised images.
    """

    def __init__(self, networks: Sequence[TaskNetwork]) -> None:
        self.networks = list(networks)
        self.digest = hashlib.sha256(" ".join(network.digest for network in networks).encode()).hexdigest()
        self.equalize = any(network.equalize for network in networks)

    def __call__(self, images: Tensor) -> Tensor:
        """Predict (N, K1 + K2 + ...) numbers for images (N, C, H, W) in [-1, 1]."""
        return torch.cat([network(images) for network in self.networks], dim=1)

    def features(self, images: Tensor) -> Tensor:
        """Return the last feature maps, (N, F1 + F2 + ..., h, w)."""
        return torch.cat([network.features(images) for network in self.networks], dim=1)

    def to(self, device: torch.device) -> Self:
        """Move the weights to a device."""
        self.networks = [network.to(device) for network in self.networks]
        return self


def load_task(paths: Path | list[Path], *, key: str, size: tuple[int, int]) -> TaskNetwork:
    """Load one task network, or several as one; see :func:`load_task_network`."""
    if isinstance(paths, Path):
        return load_task_network(paths, key=key, size=size)
    return JointTaskNetwork([load_task_network(path, key=key, size=size) for path in paths])


def load_task_network(path: Path, *, key: str, size: tuple[int, int]) -> TaskNetwork:
    """Load a task network from its file or from the run folder that holds it.

    Args:
        path: the file or the folder.
        key: configuration key, named in errors.
        size: (height, width) of the images that the refiner is trained on.

    Raises:
        DataError: there is no such network, or it cannot judge images of that size.
    """
    file = next((path / f"{kind}.safetensors" for kind in LOADERS if (path / f"{kind}.safetensors").exists()), path)
    # The loader of the first kind reports files that cannot be read.
    kind = read_kind(file)
    if kind is not None and kind not in LOADERS:
        raise WrongInputError(f"{path} holds a {kind}, but {key} needs one of: {', '.join(LOADERS)}")
    module, _, function = LOADERS[kind or next(iter(LOADERS))].partition(":")  # the loader reports what is wrong
    network: TaskNetwork = getattr(importlib.import_module(module), function)(path, key=key, size=size)
    return network
