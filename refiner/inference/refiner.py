"""Refined images from a refiner file.

What comes in goes out: the same size, depth and channels. Batches have one shape per image size, the last one
filled up, so that an image comes out the same whatever it was batched with.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import cv2
import numpy as np

from refiner.core.devices import keep_freed_memory, resolve_device
from refiner.core.errors import DataError
from refiner.images.arrays import from_batch, to_batch
from refiner.images.io import Image
from refiner.inference.backends.base import Array
from refiner.inference.backends.registry import ON_CARDS, open_backend
from refiner.inference.tiling import by_tiles
from refiner.models.architecture import RefinerArchitecture
from refiner.models.hub import fetch_refiner, is_address
from refiner.models.refiner_file import RefinerFile, load_refiner, refiner_digest

if TYPE_CHECKING:
    from torch import Tensor
from refiner.inference.backends.batching import batch_size

TILED_PIXELS = 2**20
"""Pixels of an image above which it is refined by tiles, so that memory does not grow with it."""

_CHANNELS = ((), (3,), (4,))  # what follows height and width in the shape of an image


class Refiner:
    """A trained refiner, ready to use.

    Args:
        file: as loaded, or :meth:`~refiner.models.refiner_file.RefinerFile.of` a network.
        device: ``auto``, ``cpu`` or ``cuda``.
        backend: what computes, see :mod:`refiner.inference.backends.registry`.
        threads: that compute on the CPU; None takes what the machine has.

    Examples:
        >>> refiner = Refiner.load("runs/eyes")  # doctest: +SKIP
        >>> refined = refiner(read_image(Path("eye.png")))  # doctest: +SKIP
    """

    def __init__(
        self, file: RefinerFile, *, device: str = "auto", backend: str = "torch", threads: int | None = None
    ) -> None:
        self.device = resolve_device(device if backend in ON_CARDS or device != "auto" else "cpu")
        self.architecture, self.metadata = file.architecture, file.metadata
        self.backend = open_backend(backend, file, device=self.device, threads=threads)

    @classmethod
    def load(cls, path: Path | str, *, device: str = "auto", backend: str = "torch") -> Self:
        """Load a refiner file, or that of a run folder, or one that others share.

        Args:
            path: a file, a folder, the name of a ready refiner, or ``hf://OWNER/NAME``, see :mod:`refiner.models.hub`.
            device: ``auto``, ``cpu`` or ``cuda``.
            backend: what computes, see :mod:`refiner.inference.backends.registry`.

        Raises:
            DataError: there is none, or it is damaged.
            DeviceError: the device or the backend is not there, or the extra ``hub`` for an address.
        """
        file = load_refiner(fetch_refiner(str(path)) if is_address(str(path)) else Path(path))
        return cls(file, device=device, backend=backend)

    @property
    def channels(self) -> int:
        """Channels of the network: 1 (grey) or 3 (RGB)."""
        return self.architecture.channels

    def batch_size(self, height: int, width: int) -> int:
        """Images of this size that are computed at once: depends on the size, the device and the backend alone."""
        return batch_size(self.architecture, height, width, self.device) * self.backend.side_by_side

    @overload
    def __call__(self, images: "Tensor") -> "Tensor": ...
    @overload
    def __call__(self, images: Image) -> Image: ...
    @overload
    def __call__(self, images: Sequence[Image]) -> list[Image]: ...
    def __call__(self, images: "Tensor | Image | Sequence[Image]") -> "Tensor | Image | list[Image]":
        """Refine images.

        Args:
            images: a float tensor (N, C, H, W) in [-1, 1] with the network's C; or one image, uint8 or uint16,
                (H, W), (H, W, 3) or (H, W, 4); or a list of such images of any sizes.

        Returns:
            The same kind: a float32 tensor on the tensor's device, or images of the same shapes and types. A
            grey refiner refines the luma of colour images; alpha is kept.

        Raises:
            ValueError: the tensor or an image has another shape or type.
        """
        if isinstance(images, np.ndarray):
            return self([images])[0]
        if not isinstance(images, Sequence):
            return self._refine_tensor(images)
        for image in images:
            if image.dtype not in (np.uint8, np.uint16) or image.ndim not in (2, 3) or image.shape[2:] not in _CHANNELS:
                found = f"{image.shape} {image.dtype}"
                raise ValueError(f"an image is {found}, expected uint8 or uint16, (H, W), (H, W, 3) or (H, W, 4)")
        refined = list(images)
        for numbers in self._by_size(images):
            some = [images[i] for i in numbers]
            planes = self.refine_batch(to_batch(some, self.channels))
            for i, image in zip(numbers, from_batch(planes, some), strict=True):
                refined[i] = image
        return refined

    def refine_batch(self, planes: Array) -> Array:
        """Refine up to one batch, (N, C, H, W), float32, in [-1, 1]: filled up to the shape that all batches have."""
        count, full = len(planes), self.batch_size(planes.shape[2], planes.shape[3])
        batch = np.zeros((full, *planes.shape[1:]), np.float32)
        batch[:count] = planes
        if planes.shape[2] * planes.shape[3] > TILED_PIXELS:
            return by_tiles(self.backend, batch, reach=self.architecture.reach)[:count]
        return self.backend(batch)[:count]

    def _refine_tensor(self, images: "Tensor") -> "Tensor":
        import torch

        if images.ndim != 4 or images.shape[1] != self.channels or not images.is_floating_point():
            found = f"{tuple(images.shape)} {images.dtype}"
            raise ValueError(f"images are {found}, expected (N, {self.channels}, H, W) of floats in [-1, 1]")
        parts = images.split(self.batch_size(images.shape[2], images.shape[3])) if len(images) else ()
        refined = [torch.from_numpy(self.refine_batch(part.detach().float().cpu().numpy())) for part in parts]
        return torch.cat(refined).to(images.device) if refined else images.float()

    def _by_size(self, images: Sequence[Image]) -> Iterator[list[int]]:
        """Numbers of images of one size, at most a batch at a time."""
        sizes: dict[tuple[int, ...], list[int]] = {}
        for number, image in enumerate(images):
            sizes.setdefault(image.shape[:2], []).append(number)
        for (height, width), numbers in sizes.items():
            step = self.batch_size(height, width)
            yield from (numbers[start : start + step] for start in range(0, len(numbers), step))


@dataclass(frozen=True)
class RefinerSource:
    """Which refiner, and how it computes: what another process needs to open the same.

    Attributes:
        path: a refiner file or a run folder.
        file_digest: of the file, which must not change while a job is at work.
        device: ``cpu`` or ``cuda``.
        backend: see :mod:`refiner.inference.backends.registry`.
        threads: of the process; None leaves them as they are.
        loaded: the file, where this process has read it already.
    """

    path: Path
    file_digest: str
    device: str
    backend: str
    threads: int | None = None
    loaded: RefinerFile | None = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "loaded": None}

    @property
    def digest(self) -> str:
        """By which results are known: those of another backend or device differ by rounding, so they are others."""
        by = "" if self.backend == "torch" else f" by {self.backend}"
        return self.file_digest + by + ("" if self.device == "cpu" else f" on {self.device}")

    @property
    def architecture(self) -> RefinerArchitecture:
        """Of the refiner."""
        return (self.loaded or load_refiner(self.path)).architecture

    def open(self) -> Refiner:
        """Load it.

        Raises:
            DataError: the file has changed since the job began.
        """
        keep_freed_memory()
        if self.threads is not None:  # the processes share the cores
            cv2.setNumThreads(self.threads)
        if refiner_digest(self.path) != self.file_digest:
            raise DataError(f"{self.path}: has changed while it was at work; run the same command again")
        file = self.loaded or load_refiner(self.path)
        return Refiner(file, device=self.device, backend=self.backend, threads=self.threads)
