"""The Refiner class: refine tensors and images with a refiner file.

Refined images keep their size, bit depth and channels. All batches of one image size have the same shape, and the last
one is padded: the result for an image does not depend on the other images in its batch. Only a call with few images
computes them one at a time, which may differ from a batch by one grey level. Images of 16 bits are computed in fp32, as
bf16 holds 8 significant bits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import cv2
import numpy as np

from refiner.core.devices import keep_freed_memory, resolve_device
from refiner.core.errors import DataError
from refiner.images.arrays import from_batch, to_batch
from refiner.images.io import Image
from refiner.inference.any_images import refine_any
from refiner.inference.backends.base import Array, Backend
from refiner.inference.backends.batching import batch_size
from refiner.inference.backends.registry import CUDA_BACKENDS, open_backend
from refiner.inference.backends.torch_backend import computes_in_bf16
from refiner.inference.hub_methods import HubMethods
from refiner.inference.tiling import apply_in_tiles
from refiner.models.architecture import Architecture
from refiner.models.files.hub import fetch_refiner, is_address
from refiner.models.files.refiner_file import RefinerFile, load_refiner, refiner_digest

if TYPE_CHECKING:
    import PIL.Image
    from torch import Tensor

TILED_PIXELS = 2**20
"""Pixels of an image above which a network refines it in tiles, so that memory does not grow with its size."""

FEW_IMAGES = 4
"""Number of images of one size in a call up to which each is computed alone instead of in a padded batch."""


class Refiner(HubMethods):
    """A trained refiner.

    Args:
        file: a loaded refiner file, or :meth:`~refiner.models.files.refiner_file.RefinerFile.of` a network.
        device: ``auto``, ``cpu`` or ``cuda``. ``auto`` uses the GPU if there is one and the backend supports it.
        backend: a name in :data:`refiner.inference.backends.registry.BACKENDS`.
        threads: number of CPU threads; None uses the default of the machine.
        version: number of the refined version of each image, 0 or more. A refiner that draws at random, as those of
            ``fourier`` and ``histogram`` do, as a method or as an adaptation, gives each version other results;
            version 0 is the usual one.

    Raises:
        DeviceError: the device or the backend is not available.
        UsageError: ``version`` is not 0, but the refiner draws nothing.
        ValueError: ``version`` is negative.

    Examples:
        >>> refiner = Refiner.load("runs/eyes")  # doctest: +SKIP
        >>> refined = refiner(read_image(Path("eye.png")))  # doctest: +SKIP
    """

    def __init__(
        self,
        file: RefinerFile,
        *,
        device: str = "auto",
        backend: str = "torch",
        threads: int | None = None,
        version: int = 0,
    ) -> None:
        self.device = resolve_device(device if backend in CUDA_BACKENDS or device != "auto" else "cpu")
        self.architecture, self.metadata = file.architecture, file.metadata
        self._file, self.version = file, version
        self._run: Path | None = None
        opened = partial(open_backend, backend, file, device=self.device, threads=threads, version=version)
        self.backend = opened()
        self._open_fp32 = partial(opened, fp32=True)
        self._fp32: Backend | None = None

    @classmethod
    def load(cls, path: Path | str, *, device: str = "auto", backend: str = "torch", version: int = 0) -> Self:
        """Load a refiner from a file, a run folder or the Hugging Face hub.

        Args:
            path: a refiner file, a run folder, the name of a pretrained refiner (``demo``), or a hub address
                ``hf://OWNER/NAME``, see :mod:`refiner.models.files.hub`.
            device: ``auto``, ``cpu`` or ``cuda``.
            backend: a name in :data:`refiner.inference.backends.registry.BACKENDS`.
            version: number of the refined version of each image, see :class:`Refiner`.

        Raises:
            DataError: the refiner is missing or damaged.
            DeviceError: the device or the backend is not available, or a hub address needs the extra ``hub``.
            UsageError: ``version`` is not 0, but the refiner draws nothing.
        """
        file = load_refiner(fetch_refiner(str(path)) if is_address(str(path)) else Path(path))
        refiner = cls(file, device=device, backend=backend, version=version)
        refiner._run = Path(path) if Path(path).is_dir() else None
        return refiner

    @property
    def channels(self) -> int:
        """Number of channels of the network: 1 (grey) or 3 (RGB)."""
        return self.architecture.channels

    def batch_size(self, height: int, width: int, *, deep: bool = False) -> int:
        """Return the number of images of a size that one call of the backend takes.

        It depends only on the size, the depth, the architecture, the device and the backend.

        Args:
            height: height of the images in pixels.
            width: width of the images in pixels.
            deep: True for images of 16 bits.
        """
        return batch_size(self.architecture, height, width, self.device) * self._backend(deep).parallel_batches

    def _backend(self, deep: bool) -> Backend:
        """Return the backend, for images of 16 bits in fp32."""
        if not deep or not computes_in_bf16(self.backend.name, self.device):
            return self.backend
        self._fp32 = self._fp32 or self._open_fp32()
        return self._fp32

    @overload
    def __call__(
        self, images: "PIL.Image.Image", *, value_range: tuple[float, float] | None = None
    ) -> "PIL.Image.Image": ...
    @overload
    def __call__(self, images: "Tensor", *, value_range: tuple[float, float] | None = None) -> "Tensor": ...
    @overload
    def __call__(self, images: Image | Path | str, *, value_range: tuple[float, float] | None = None) -> Image: ...
    @overload
    def __call__(self, images: Sequence[Any], *, value_range: tuple[float, float] | None = None) -> list[Any]: ...
    def __call__(self, images: Any, *, value_range: tuple[float, float] | None = None) -> Any:
        """Refine images.

        Args:
            images: one of the following, or a list of them, of any sizes; C is 1, 3 (RGB) or 4 (RGBA).

                - the path of an image file
                - a PIL image of mode L, RGB, RGBA or I;16
                - an array (H, W), (H, W, C) or (N, H, W, C), uint8, uint16 or floats
                - a tensor (..., C, H, W), uint8, uint16 or floats
            value_range: lowest and highest value of floats, for example (0, 1). None takes [-1, 1] for tensors. Float
                arrays need it.

        Returns:
            The kind, shape, type and device of the input; an array for a path. A grey refiner refines the luma of
            colour images. Alpha is kept.

        Raises:
            ValueError: the input is no image, or its values are outside their range.
            DataError: a file is not a readable image.
        """
        return refine_any(self, images, value_range=value_range)

    def __repr__(self) -> str:
        step = self.metadata.get("training", {}).get("step")
        weights = "" if step is None else f", weights of step {step}"
        colour = "grey" if self.channels == 1 else "RGB"
        summary = self.architecture.summary
        version = f", version {self.version}" if self.version else ""
        return f"<Refiner of {colour} images: {summary}{weights}{version}; {self.backend.name} on {self.device}>"

    def refine_images(self, images: Sequence[Image]) -> list[Image]:
        """Refine images of any sizes, uint8 or uint16, (H, W), (H, W, 3) or (H, W, 4), in batches of one size."""
        refined = list(images)
        # Refine batches of images of one kind, and put the results back in the order of the input.
        for size, indices in self._batches_by_kind(images):
            originals = [images[index] for index in indices]
            batch = self.refine_batch(to_batch(originals, self.channels), deep=is_deep(originals[0]), size=size)
            for index, image in zip(indices, from_batch(batch, originals), strict=True):
                refined[index] = image
        return refined

    def refine_batch(self, images: Array, *, deep: bool = False, size: int | None = None) -> Array:
        """Refine at most one batch of images.

        The batch is padded with zeros to its full size: backends choose their arithmetic by the shape.

        Args:
            images: (N, C, H, W), float32, in [-1, 1]; N is at most ``size``.
            deep: True for images of 16 bits, which are computed in fp32.
            size: number of images in the full batch; None takes :meth:`batch_size`.

        Returns:
            (N, C, H, W), float32, in [-1, 1].
        """
        # Pad the batch to its full size.
        height, width = images.shape[2:]
        batch = np.zeros((size or self.batch_size(height, width, deep=deep), *images.shape[1:]), np.float32)
        batch[: len(images)] = images
        # Refine it, large images in tiles, and drop the padding.
        backend = self._backend(deep)
        reach = self.architecture.reach
        if height * width > TILED_PIXELS and reach is not None:
            return apply_in_tiles(backend, batch, reach=reach)[: len(images)]
        return backend(batch)[: len(images)]

    def refine_tensor(self, images: "Tensor") -> "Tensor":
        """Refine a tensor, (N, C, H, W), float32, in [-1, 1], with the network's number of channels C."""
        import torch

        if not len(images):
            return images
        # Refine batch by batch from CPU memory; the result goes back to the device of the input.
        size = self._step(len(images), images.shape[2], images.shape[3])
        batches = (batch.cpu().numpy() for batch in images.split(size))
        refined = [torch.from_numpy(self.refine_batch(batch, size=size)) for batch in batches]
        return torch.cat(refined).to(images.device)

    def _batches_by_kind(self, images: Sequence[Image]) -> Iterator[tuple[int, list[int]]]:
        """Yield batch size and indices of images of one size and depth, at most a batch at a time."""
        kinds: dict[tuple[int, int, bool], list[int]] = {}
        for index, image in enumerate(images):
            kinds.setdefault((image.shape[0], image.shape[1], is_deep(image)), []).append(index)
        for (height, width, deep), indices in kinds.items():
            size = self._step(len(indices), height, width, deep=deep)
            yield from ((size, indices[start : start + size]) for start in range(0, len(indices), size))

    def _step(self, count: int, height: int, width: int, *, deep: bool = False) -> int:
        """Return the batch size for a call: few images are faster one by one than in a batch of mostly padding."""
        return 1 if count <= FEW_IMAGES else self.batch_size(height, width, deep=deep)


def is_deep(image: Image) -> bool:
    """Return whether an image has 16 bits."""
    return image.dtype == np.uint16


@dataclass(frozen=True)
class RefinerSource:
    """A refiner and its settings, which any process of a job can open.

    Attributes:
        path: a refiner file, a run folder, or the name of a pretrained refiner.
        file_digest: SHA-256 of the file; the file must not change while the job runs.
        device: ``cpu`` or ``cuda``.
        backend: a name in :data:`refiner.inference.backends.registry.BACKENDS`.
        threads: number of CPU threads of each process; None keeps the default.
        version: number of the refined version of each image.
        loaded: the content of the file, if this process has read it already; not sent to other processes.
        in_worker: this process is a worker of the job; set when the source is sent to one.
    """

    path: Path
    file_digest: str
    device: str
    backend: str
    threads: int | None = None
    version: int = 0
    loaded: RefinerFile | None = field(default=None, repr=False, compare=False)
    in_worker: bool = field(default=False, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "loaded": None, "in_worker": True}

    @property
    def digest(self) -> str:
        """The key of the refiner's results; other versions, backends and devices have other keys."""
        version = f" version {self.version}" if self.version else ""
        by = "" if self.backend == "torch" else f" by {self.backend}"
        return self.file_digest + version + by + ("" if self.device == "cpu" else f" on {self.device}")

    @property
    def architecture(self) -> Architecture:
        """Architecture of the refiner."""
        return (self.loaded or load_refiner(self.path)).architecture

    def open(self) -> Refiner:
        """Load the refiner in this process.

        Raises:
            DataError: the file has changed since the job began.
        """
        if self.in_worker:  # only there: in the main process, the program that uses this library decides
            keep_freed_memory()
        if self.threads is not None:  # the worker processes share the cores
            cv2.setNumThreads(self.threads)
        if refiner_digest(self.path) != self.file_digest:
            raise DataError(f"{self.path} has changed while the job was running; run the same command again")
        file = self.loaded or load_refiner(self.path)
        return Refiner(file, device=self.device, backend=self.backend, threads=self.threads, version=self.version)
