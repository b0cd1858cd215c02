"""Batch sizes by device, and the extent of a job."""

from typing import NamedTuple

from refiner.models.architecture import Architecture

BATCH_PIXELS = {"cpu": 16 * 36 * 60, "cuda": 256 * 36 * 60}
"""Pixels of a batch at the resolution of the trunk, by device.

The activations of 16 patches of 36x60 fit into the cache of a processor core; 256 patches keep a GPU busy.
"""

_MAX_BATCH = {"cpu": 64, "cuda": 256}


class Extent(NamedTuple):
    """The amount of work in a job.

    Attributes:
        images: number of images; 0 if the source cannot be read.
        size: (height, width) of one image.
        deep: True if the images have 16 bits.
    """

    images: int = 0
    size: tuple[int, int] = (1, 1)
    deep: bool = False

    @property
    def pixels(self) -> int:
        """Number of pixels of all images."""
        return self.images * self.size[0] * self.size[1]


def batch_size(architecture: Architecture, height: int, width: int, device: str) -> int:
    """Return the number of images of a size in one batch.

    Args:
        architecture: architecture of the refiner.
        height, width: size of the images in pixels.
        device: ``cpu`` or ``cuda``.
    """
    pixels = height * width // architecture.unshuffle**2
    return max(1, min(_MAX_BATCH[device], BATCH_PIXELS[device] // max(1, pixels)))
