"""Refinement of any kind of image that Python programs hold; the one conversion of Refiner and RefineImages.

Integers are refined as image files are, and floats without rounding. The result has the kind, shape and type of the
input. What is no image, or has values outside its range, is refused.

torch and PIL are only imported for the images of their libraries.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from refiner.images.arrays import LUMA
from refiner.images.io import Image, read_image

if TYPE_CHECKING:
    import PIL.Image
    from torch import Tensor

    from refiner.inference.refiner import Refiner

SIGNED = (-1.0, 1.0)
"""Range of float tensors unless another one is stated: that of the networks."""

PICTURE_MODES = ("L", "RGB", "RGBA", "I;16")
"""Modes of PIL images whose pixels are intensities, not palette indices."""

_CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
_DEPTHS = (np.uint8, np.uint16)


def refine_any(refiner: "Refiner", images: Any, *, value_range: tuple[float, float] | None = None) -> Any:
    """Refine one image, a stack or a list; see :meth:`refiner.inference.refiner.Refiner.__call__`.

    Args:
        refiner: the refiner.
        images: a path, a PIL image, an array, a tensor, or a list of them.
        value_range: lowest and highest value of floats; None takes [-1, 1] for tensors, and refuses float arrays.

    Returns:
        The kind, shape and type of the input; an array for a path.

    Raises:
        ValueError: the input is no image, or its values are outside their range.
        DataError: a file is not a readable image.
    """
    if isinstance(images, Sequence) and not isinstance(images, str):
        return _refine_list(refiner, images, value_range)
    # Single images of integers.
    levels = _to_levels(images)
    if levels is not None:
        return _like(refiner.refine_images([levels])[0], images)
    # Stacks, and everything of floats.
    if isinstance(images, np.ndarray) and images.ndim == 4 and images.shape[3] in _CHANNELS and images.dtype in _DEPTHS:
        return _stacked(_refine_list(refiner, list(images), None), images)
    if isinstance(images, np.ndarray) and np.issubdtype(images.dtype, np.floating):
        return _refine_float_array(refiner, images, value_range)
    if _is_tensor(images) and images.ndim >= 3 and images.shape[-3] in _CHANNELS:
        if images.is_floating_point():
            return _refine_float_tensor(refiner, images, value_range or SIGNED)
        if _depth(images) is not None:
            flat = images.reshape(-1, *images.shape[-3:])
            return _stacked(_refine_list(refiner, list(flat), None), images)
    raise ValueError(f"{_described(images)}; {_EXPECTED}")


_EXPECTED = (
    "expected a path, a PIL image, an array (H, W), (H, W, C) or (N, H, W, C), or a tensor (..., C, H, W), with C 1, 3 "
    "or 4, of uint8, uint16 or floats"
)


def _refine_list(refiner: "Refiner", images: Sequence[Any], value_range: tuple[float, float] | None) -> list[Any]:
    """Refine images of any kinds and sizes; those of integers and of one size in common batches."""
    levels = [_to_levels(image) for image in images]
    refined = iter(refiner.refine_images([image for image in levels if image is not None]))
    return [
        refine_any(refiner, image, value_range=value_range) if found is None else _like(next(refined), image)
        for image, found in zip(images, levels, strict=True)
    ]


def _to_levels(image: Any) -> Image | None:
    """Return a single image of integers as uint8 or uint16, (H, W), (H, W, 3) or (H, W, 4); None for anything else."""
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if _is_picture(image):
        if image.mode not in PICTURE_MODES:
            raise ValueError(
                f"a PIL image has mode {image.mode}, expected one of {', '.join(PICTURE_MODES)}; convert it first"
            )
        return np.array(image)
    if _is_tensor(image) and _depth(image) is not None and image.ndim == 3:
        image = image.detach().cpu().numpy().transpose(1, 2, 0)
    if not isinstance(image, np.ndarray) or image.dtype not in _DEPTHS:
        return None
    if image.ndim == 2:
        return image
    if image.ndim == 3 and image.shape[2] in _CHANNELS:
        return image[..., 0] if image.shape[2] == 1 else image
    return None


def _like(levels: Image, image: Any) -> Any:
    """Convert refined levels to the kind of the image that they were made of."""
    if _is_picture(image):
        import PIL.Image

        return PIL.Image.fromarray(levels)
    if _is_tensor(image):
        import torch

        channels_first = levels[None] if levels.ndim == 2 else levels.transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(channels_first)).to(image.device)
    return levels.reshape(image.shape) if isinstance(image, np.ndarray) else levels


def _stacked(refined: list[Any], like: Any) -> Any:
    """Put refined images together again as an array or a tensor of the shape of the input."""
    if not refined:
        return like
    if isinstance(like, np.ndarray):
        return np.stack(refined)
    import torch

    return torch.stack(refined).reshape(like.shape)


def _refine_float_array(refiner: "Refiner", images: Any, value_range: tuple[float, float] | None) -> Any:
    """Refine an array of floats, (H, W), (H, W, C) or (N, H, W, C)."""
    if value_range is None:
        raise ValueError(
            f"{_described(images)}, whose range is unknown; pass value_range=(0, 1) or value_range=(-1, 1)"
        )
    is_grey = images.ndim == 2
    if not is_grey and (images.ndim not in (3, 4) or images.shape[-1] not in _CHANNELS):
        raise ValueError(f"{_described(images)}; {_EXPECTED}")
    import torch

    channels_first = images[None] if is_grey else np.moveaxis(images, -1, -3)
    refined = _refine_float_tensor(refiner, torch.from_numpy(np.ascontiguousarray(channels_first)), value_range)
    return refined[0].numpy() if is_grey else np.ascontiguousarray(np.moveaxis(refined.numpy(), -3, -1))


def _refine_float_tensor(refiner: "Refiner", images: "Tensor", value_range: tuple[float, float]) -> "Tensor":
    """Refine a tensor of floats, (..., C, H, W), without rounding; alpha is kept."""
    import torch

    lowest, highest = value_range
    if images.numel() and not (images.min() >= lowest and images.max() <= highest):
        found = f"{float(images.min()):.3g} to {float(images.max()):.3g}"
        raise ValueError(
            f"images have values from {found}, expected [{lowest:g}, {highest:g}]; refine before normalizing, or pass "
            "another value_range"
        )
    batch = images.detach().float().reshape(-1, *images.shape[-3:])
    colour, alpha = batch[:, :3], batch[:, 3:]
    # Convert to the range of the networks, refine, and convert back.
    is_signed = tuple(value_range) == SIGNED
    refined = _refine_signed(refiner, colour if is_signed else (colour - lowest) * (2 / (highest - lowest)) - 1)
    refined = refined if is_signed else (refined + 1) * ((highest - lowest) / 2) + lowest
    whole = torch.cat([refined.clamp(lowest, highest), alpha], dim=1)
    return whole.to(images.dtype).reshape(images.shape)


def _refine_signed(refiner: "Refiner", colour: "Tensor") -> "Tensor":
    """Refine (N, 1 or 3, H, W) in [-1, 1], as ``to_planes`` and ``from_planes`` convert integers."""
    import torch

    if colour.shape[1] == refiner.channels:
        return refiner.refine_tensor(colour)
    luma = torch.from_numpy(LUMA).to(colour.device)[:, None, None]
    if refiner.channels == 1:
        grey = (colour * luma).sum(1, keepdim=True)
        return colour + (refiner.refine_tensor(grey) - grey)
    return (refiner.refine_tensor(colour.repeat(1, 3, 1, 1)) * luma).sum(1, keepdim=True)


def _is_tensor(image: Any) -> "TypeGuard[Tensor]":
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(image, torch.Tensor)


def _is_picture(image: Any) -> "TypeGuard[PIL.Image.Image]":
    library = sys.modules.get("PIL.Image")
    return library is not None and isinstance(image, library.Image)


def _depth(images: "Tensor") -> str | None:
    """Return the type of a tensor of supported integers."""
    name = str(images.dtype).removeprefix("torch.")
    return name if name in ("uint8", "uint16") else None


def _described(image: Any) -> str:
    """Begin a sentence about an input that cannot be refined."""
    shape = getattr(image, "shape", None)
    if shape is None:
        return f"the input is a {type(image).__name__}"
    kind = "a tensor" if _is_tensor(image) else "an array"
    return f"the input is {kind} {tuple(shape)} of {str(image.dtype).removeprefix('torch.')}"
