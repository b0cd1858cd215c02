"""RefineImages: a refiner as a transform in an albumentations or torchvision pipeline.

One class serves both libraries. Albumentations passes only keyword arguments, torchvision only positional ones, so the
call shows which of the two is meant.
"""

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refiner.core.errors import WrongInputError
from refiner.data.transform_factory import load_albumentations
from refiner.images.arrays import LUMA
from refiner.inference.refiner import Refiner

_MODES = ("L", "RGB", "RGBA", "I;16")  # PIL modes whose pixels are intensities, not palette indices


class RefineImages(load_albumentations().ImageOnlyTransform):  # type: ignore[misc]
    """Refine the images of a pipeline; labels stay as they are.

    In ``albumentations.Compose``: ``image`` is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16, or float32 in
    [0, 1]; ``images`` is an array (N, ...) of such images.

    In ``torchvision.transforms.v2.Compose``: PIL images, ``tv_tensors.Image`` and tensors (..., C, H, W) with C 1, 3 or
    4, uint8, uint16, or float in [0, 1]. Other values in dictionaries, tuples and so on pass through, as with every v2
    transform.

    The result has the kind, shape and type of the input, and equals the result of :class:`refiner.Refiner`.

    The refiner is loaded on first use, once in each process, so that the transform can be pickled into workers.

    Args:
        path: a refiner file or a run folder.
        p: probability of refining; in torchvision, it applies to all images of a sample at once.
        device: ``auto``, ``cpu`` or ``cuda``; in a worker of a ``DataLoader``, ``auto`` means the CPU.

    Raises:
        DataError: ``path`` does not exist; or, on first use, it is no refiner or is damaged.
        ValueError: ``p`` is no probability; or, on use, an image has another shape, type or range, for example because
            it is normalized already.

    Examples:
        >>> albumentations.Compose([RefineImages("runs/eyes", p=0.5)])(image=image)["image"]  # doctest: +SKIP
        >>> v2.Compose([RefineImages("runs/eyes"), v2.ToImage()])(image, labels)  # doctest: +SKIP
    """

    def __init__(self, path: Path | str, p: float = 1.0, device: str = "auto") -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"p is {p}, expected a probability from 0 to 1")
        if not Path(path).exists():
            raise WrongInputError(f"{path} does not exist; pass a refiner file or a run folder")
        super().__init__(p=p)
        self.path, self.device = str(path), device  # plain values, which albumentations can save
        self._loaded: tuple[int, Refiner] | None = None

    def __call__(self, *inputs: Any, force_apply: bool = False, **targets: Any) -> Any:
        """Refine a sample of torchvision (``inputs``) or of albumentations (``targets``)."""
        if inputs and targets:
            raise TypeError(
                "pass either positional arguments, as torchvision does, or keyword ones, as albumentations does"
            )
        if inputs:
            return _torchvision_transform()(self)(*inputs)
        return super().__call__(force_apply=force_apply, **targets)

    def apply(self, img: np.ndarray[Any, Any], **params: Any) -> np.ndarray[Any, Any]:
        """Refine one image, (H, W) or (H, W, C); called by albumentations."""
        return np.asarray(self.apply_to_images(img[None], **params)[0])

    def apply_to_images(self, images: np.ndarray[Any, Any], **params: Any) -> np.ndarray[Any, Any]:
        """Refine images of one size, (N, H, W) or (N, H, W, C); called by albumentations."""
        images = np.asarray(images)
        channels_first = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
        refined = refine_tensor(self.refiner, torch.from_numpy(np.ascontiguousarray(channels_first))).numpy()
        return np.ascontiguousarray(refined[:, 0] if images.ndim == 3 else refined.transpose(0, 2, 3, 1))

    @property
    def refiner(self) -> Refiner:
        """The refiner, loaded by this process on first use."""
        if self._loaded is None or self._loaded[0] != os.getpid():  # a forked process cannot use CUDA of its parent
            in_worker = torch.utils.data.get_worker_info() is not None
            device = "cpu" if self.device == "auto" and in_worker else self.device
            self._loaded = os.getpid(), Refiner.load(self.path, device=device)
        return self._loaded[1]

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """Return the names of the arguments that albumentations saves with a pipeline."""
        return ("path", "device")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": None}


def refine_tensor(refiner: Refiner, images: Tensor) -> Tensor:
    """Refine image tensors in the ranges of torchvision.

    Args:
        refiner: a refiner with 1 or 3 channels.
        images: (..., C, H, W), C 1, 3 (RGB) or 4 (RGBA); uint8, uint16, or float in [0, 1].

    Returns:
        A tensor of the same shape, type and device. A grey refiner refines the luma of colour images. Alpha is kept.

    Raises:
        ValueError: the tensor has another shape or type, or floats outside [0, 1].
    """
    if images.ndim < 3 or images.shape[-3] not in (1, 3, 4):
        raise ValueError(f"images are {tuple(images.shape)}, expected (..., C, H, W) with 1, 3 or 4 channels")
    batch = images.reshape(-1, *images.shape[-3:])
    # Floats are refined without rounding.
    if images.is_floating_point():
        if images.numel() and not (images.min() >= 0 and images.max() <= 1):
            found = f"{float(images.min()):.3g} to {float(images.max()):.3g}"
            raise ValueError(f"images have values from {found}, expected [0, 1]; refine before normalizing")
        return _refine_floats(refiner, batch.float()).to(images.dtype).reshape(images.shape)
    if images.dtype not in (torch.uint8, torch.uint16):
        raise ValueError(f"images are {images.dtype}, expected uint8, uint16, or float in [0, 1]")
    # Integers are refined as images are.
    pixels = batch.cpu().numpy().transpose(0, 2, 3, 1)
    refined = refiner([image[..., 0] if image.shape[2] == 1 else image for image in pixels])
    levels = np.ascontiguousarray(np.reshape(refined, pixels.shape).transpose(0, 3, 1, 2))
    return torch.from_numpy(levels).to(images.device).reshape(images.shape)


def _refine_floats(refiner: Refiner, images: Tensor) -> Tensor:
    """Refine (N, C, H, W) in [0, 1], as ``to_planes`` and ``from_planes`` convert integers, but without rounding."""
    colour, alpha = images[:, :3], images[:, 3:]
    luma = torch.from_numpy(LUMA).to(images.device)[:, None, None]
    if colour.shape[1] == refiner.channels:
        refined = (refiner(colour * 2 - 1) + 1) / 2
    elif refiner.channels == 1:
        grey = (colour * luma).sum(1, keepdim=True)
        refined = colour + ((refiner(grey * 2 - 1) + 1) / 2 - grey)
    else:
        refined = ((refiner(colour.repeat(1, 3, 1, 1) * 2 - 1) + 1) / 2 * luma).sum(1, keepdim=True)
    return torch.cat([refined.clamp(0, 1), alpha], dim=1)


@functools.cache
def _torchvision_transform() -> Any:
    """Return the class of a v2 transform that finds the images of a sample for a :class:`RefineImages`."""
    import PIL.Image
    from torchvision import tv_tensors  # type: ignore[import-untyped]
    from torchvision.transforms import v2  # type: ignore[import-untyped]

    class _Refine(v2.Transform):  # type: ignore[misc]
        def __init__(self, outer: RefineImages) -> None:
            super().__init__()
            self.outer = outer

        def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
            return {"refines": self.outer.p >= 1 or bool(torch.rand(()) < self.outer.p)}

        def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
            pixels = (tv_tensors.Image, tv_tensors.Video)
            if not params["refines"] or (isinstance(inpt, tv_tensors.TVTensor) and not isinstance(inpt, pixels)):
                return inpt
            if isinstance(inpt, PIL.Image.Image):
                if inpt.mode not in _MODES:
                    raise ValueError(f"an image has mode {inpt.mode}, expected {', '.join(_MODES)}; convert it first")
                return PIL.Image.fromarray(self.outer.refiner(np.array(inpt)))
            refined = refine_tensor(self.outer.refiner, inpt.as_subclass(torch.Tensor))
            return tv_tensors.wrap(refined, like=inpt) if isinstance(inpt, tv_tensors.TVTensor) else refined

    return _Refine
