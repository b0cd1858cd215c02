"""The interface of a backend, and helpers that several backends share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from refiner.core.environment import versions
from refiner.inference.backends.cache import machine_key
from refiner.models.files.refiner_file import RefinerFile

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
