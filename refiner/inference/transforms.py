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

from refiner.core.errors import WrongInputError
from refiner.data.transform_factory import load_albumentations
from refiner.inference.refiner import Refiner


class RefineImages(load_albumentations().ImageOnlyTransform):  # type: ignore[misc]
    """Refine the images of a pipeline; labels stay as they are.

    In ``albumentations.Compose``: ``image`` is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, uint16, or float32 in
    [0, 1]; ``images`` is an array (N, ...) of such images. ``mask``, ``masks``, ``bboxes`` and ``keypoints`` stay.

    In ``torchvision.transforms.v2.Compose``: PIL images, ``tv_tensors.Image`` and tensors (..., C, H, W) with C 1, 3 or
    4, uint8, uint16, or float in [0, 1]. Other values in dictionaries, tuples and so on pass through, as with every v2
    transform: ``tv_tensors.Mask``, ``BoundingBoxes`` and ``KeyPoints``. Wrap a mask in ``tv_tensors.Mask``, since a PIL
    image counts as an image.

    The result has the kind, shape and type of the input, and equals the result of :class:`refiner.Refiner`.

    The refiner is loaded on first use, once in each process, so that the transform can be pickled into workers.

    Args:
        path: a refiner file or a run folder.
        p: probability of refining; in torchvision, it applies to all images of a sample at once.
        device: ``auto``, ``cpu`` or ``cuda``; in a worker of a ``DataLoader``, ``auto`` means the CPU.
        version: number of the refined version of each image, see :class:`refiner.Refiner`.

    Raises:
        DataError: ``path`` does not exist; or, on first use, it is no refiner or is damaged.
        ValueError: ``p`` is no probability; or, on use, an image has another shape, type or range, for example because
            it is normalized already.

    Examples:
        >>> albumentations.Compose([RefineImages("runs/eyes", p=0.5)])(image=image)["image"]  # doctest: +SKIP
        >>> v2.Compose([RefineImages("runs/eyes"), v2.ToImage()])(image, labels)  # doctest: +SKIP
    """

    def __init__(self, path: Path | str, p: float = 1.0, device: str = "auto", version: int = 0) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"p is {p}, expected a probability from 0 to 1")
        if not Path(path).exists():
            raise WrongInputError(f"{path} does not exist; pass a refiner file or a run folder")
        super().__init__(p=p)
        self.path, self.device, self.version = str(path), device, version  # plain values, which albumentations can save
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
        # A stack of grey images gets an axis of channels, or it could be one image.
        refined = self.refiner(images[..., None] if images.ndim == 3 else images, value_range=(0, 1))
        return np.ascontiguousarray(refined).reshape(images.shape)

    @property
    def refiner(self) -> Refiner:
        """The refiner, loaded by this process on first use."""
        if self._loaded is None or self._loaded[0] != os.getpid():  # a forked process cannot use CUDA of its parent
            in_worker = torch.utils.data.get_worker_info() is not None
            device = "cpu" if self.device == "auto" and in_worker else self.device
            self._loaded = os.getpid(), Refiner.load(self.path, device=device, version=self.version)
        return self._loaded[1]

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """Return the names of the arguments that albumentations saves with a pipeline."""
        return ("path", "device", "version")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": None}


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
                return self.outer.refiner(inpt)
            refined = self.outer.refiner(inpt.as_subclass(torch.Tensor), value_range=(0, 1))
            return tv_tensors.wrap(refined, like=inpt) if isinstance(inpt, tv_tensors.TVTensor) else refined

    return _Refine
