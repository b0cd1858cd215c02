"""The interface of a backend, and helpers that several backends share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from refiner.core.environment import versions
from refiner.inference.backends.cache import machine_key
from refiner.models.refiner_file import RefinerFile

Array = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Backend:
    """One refiner network, prepared to run in one inference library.

    Attributes:
        name: a key of :data:`refiner.inference.backends.registry.BACKENDS`.
        run: the function that computes the network.
        parallel_batches: batches that the backend computes at the same time, passed as one array.
    """

    name: str
    run: Callable[[Array], Array]
    parallel_batches: int = 1

    def __call__(self, images: Array) -> Array:
        """Refine images.

        Args:
            images: (N, C, H, W), float32, in [-1, 1]; N is a whole number of batches of one size.

        Returns:
            Refined images of the same shape, type and range.
        """
        return self.run(images)


def network_key(refiner: RefinerFile, *options: Any) -> str:
    """Return the cache key of a compiled network.

    The key changes with the weights, the architecture, the version of this package, the machine and the options.
    """
    return machine_key(refiner.digest(), str(refiner.architecture), versions()["simgan-refiner"], *options)


def pad_to_multiples(run: Callable[[Array], Array], multiple: int) -> Callable[[Array], Array]:
    """Wrap a network that needs image sides that are multiples of a number, so that it takes any size.

    Images are padded at the bottom and right with their edge pixels, as the PyTorch network pads them. The result is
    cropped to the original size.

    Args:
        run: the network, (N, C, H, W) to the same shape.
        multiple: divisor of the sides that ``run`` accepts.
    """

    def padded(images: Array) -> Array:
        height, width = images.shape[2:]
        padding = (0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)
        whole = images if height % multiple == width % multiple == 0 else np.pad(images, padding, mode="edge")
        return run(np.ascontiguousarray(whole))[..., :height, :width]

    return padded
