"""What a backend is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from refiner.core.environment import versions
from refiner.inference.backends import cache
from refiner.models.refiner_file import RefinerFile

Array = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Backend:
    """An engine that is ready to compute one network.

    Attributes:
        name: one of :data:`BACKENDS`.
        run: what it does.
        side_by_side: batches that it computes at once, when they come as one.
    """

    name: str
    run: Callable[[Array], Array]
    side_by_side: int = 1

    def __call__(self, images: Array) -> Array:
        """Refine (N, C, H, W), float32, in [-1, 1]: N a whole number of batches of one size."""
        return self.run(images)


def network_key(refiner: RefinerFile, *facts: Any) -> str:
    """All that a compiled network follows from."""
    return cache.machine_key(refiner.digest(), str(refiner.architecture), versions()["simgan-refiner"], *facts)


def at_multiples(run: Callable[[Array], Array], multiple: int) -> Callable[[Array], Array]:
    """What takes images whose sides are multiples, for images of any size: padded as the network itself would."""

    def padded(images: Array) -> Array:
        height, width = images.shape[2:]
        padding = (0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)
        whole = images if height % multiple == width % multiple == 0 else np.pad(images, padding, mode="edge")
        return run(np.ascontiguousarray(whole))[..., :height, :width]

    return padded
