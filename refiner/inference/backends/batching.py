"""How many images make a batch."""

from typing import NamedTuple

from refiner.models.architecture import RefinerArchitecture

BATCH_PIXELS = {"cpu": 16 * 36 * 60, "cuda": 256 * 36 * 60}
"""Pixels of the trunk in a batch, by device: 16 patches of 36x60 at full resolution keep the activations in the cache
of a processor core, and 256 keep a graphics card busy."""

_LARGEST_BATCH = {"cpu": 64, "cuda": 256}


class Extent(NamedTuple):
    """How much there is to do: number of images, and (height, width) of one; nothing where it cannot be told."""

    images: int = 0
    size: tuple[int, int] = (1, 1)

    @property
    def pixels(self) -> int:
        """Of all images."""
        return self.images * self.size[0] * self.size[1]


def batch_size(architecture: RefinerArchitecture, height: int, width: int, device: str) -> int:
    """Images of this size in a batch on ``cpu`` or ``cuda``."""
    pixels = height * width // architecture.unshuffle**2
    return max(1, min(_LARGEST_BATCH[device], BATCH_PIXELS[device] // max(1, pixels)))
