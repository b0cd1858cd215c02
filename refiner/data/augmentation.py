"""Random changes of training images, declared in the configuration as albumentations transforms by name.

What is done to an image follows from (seed, purpose, position) alone: the same in a resumed run, in any worker,
after any other image. With labels, a change that moves the eye moves them too: a flip negates yaw and mirrors
points, a shift moves points, a rotation in the image plane turns gaze and head pose; a change that no label
could follow is refused.

albumentations takes seconds to import, so it is imported by the first :class:`Augmentation` that is built.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refiner.config.sections import AugmentationStep
from refiner.core.errors import ConfigurationError
from refiner.core.rng import derived_seed, numpy_generator
from refiner.data.labels.geometry import keeps_angles, move_labels
from refiner.data.labels.records import Labels
from refiner.data.transform_factory import MOVING, build, leaves, load_albumentations, numbered, refuse_lost_labels
from refiner.images.io import Image

_TRIALS = 8  # draws of each transform before the first image, to find what only some draws do


class Augmentation:
    """A pipeline of albumentations transforms, applied in order, each with its probability ``p``.

    Every transform is tried on construction, so that a mistake costs no run. Not for use by several threads at once;
    in several processes, pickled or forked, it does the same in each.

    Args:
        steps: one ``{name: {argument: value}}`` per transform, with albumentations' names.
        key: where they stand in the configuration, for messages.
        seed: of the run.
        purpose: what the images are, such as ``synthetic``: two purposes draw differently.
        shape: (H, W) or (H, W, C) of the images.
        dtype: uint8 or uint16; 16-bit images keep their depth, and transforms that compute in 8 bits are refused.
        labelled: whether labels go along; then geometry is restricted to what they can follow.

    Raises:
        ConfigurationError: a name, argument or value that albumentations does not know, or a transform that changes
            size, channels or depth, or that labels cannot follow; the message says which and why.

    Examples:
        >>> flips = Augmentation(
        ...     [{"HorizontalFlip": {"p": 1.0}}],
        ...     key="augmentation.synthetic",
        ...     seed=0,
        ...     purpose="renders",
        ...     shape=(1, 3),
        ...     labelled=True,
        ... )
        >>> image, labels = flips(np.array([[1, 2, 3]], np.uint8), {"gaze": np.array([0.1, 0.2])}, position=(0,))
        >>> image.tolist(), labels["gaze"].tolist()
        ([[3, 2, 1]], [0.1, -0.2])
    """

    def __init__(
        self,
        steps: Sequence[AugmentationStep],
        *,
        key: str,
        seed: int,
        purpose: str,
        shape: tuple[int, ...],
        dtype: Any = np.uint8,
        labelled: bool = False,
    ) -> None:
        self.key, self.seed, self.purpose = key, seed, purpose
        self.shape, self.dtype, self.labelled = tuple(shape), np.dtype(dtype), labelled
        if self.dtype not in (np.uint8, np.uint16) or len(self.shape) not in (2, 3):
            raise ValueError(f"images are {self.dtype} of shape {self.shape}, expected uint8 or uint16, (H, W[, C])")
        library = load_albumentations()
        transforms = [build(step, where, library) for step, where in numbered(steps, key)]
        self._pipeline = library.Sequential(transforms, p=1.0)
        for transform, where in leaves(self._pipeline, key):
            if labelled:
                refuse_lost_labels(transform, where, library)
            self._try(transform, where)

    def __call__(
        self, image: Image, labels: Labels | None = None, *, position: tuple[int, ...]
    ) -> tuple[Image, Labels]:
        """Change one image, and its labels with it.

        Args:
            image: of the shape and type given on construction; left as it is.
            labels: by name, see :func:`refiner.data.labels.geometry.move_labels`; left as they are.
            position: of the image in the run, such as (epoch, sample number) or (step, place in the batch).

        Returns:
            Image and labels of the same shapes and types.

        Raises:
            ValueError: the image is of another shape or type, or labels come to a pipeline built without.
            ConfigurationError: the result is of another size.
        """
        if image.shape != self.shape or image.dtype != self.dtype:
            expected = f"{self.shape} {self.dtype}"
            raise ValueError(f"an image is {image.shape} {image.dtype}, but the augmentation was built for {expected}")
        if labels and not self.labelled:
            raise ValueError(f"{self.key} was built without labels; build it with labelled=True")
        changed, matrix = self._apply(self._pipeline, image, derived_seed(self.seed, self._stream, *position))
        if changed.shape != image.shape:
            raise ConfigurationError(f"{self.key}: {_resized(image, changed)}")
        return changed, move_labels(labels or {}, matrix, image.shape[:2])

    def batch(
        self,
        images: NDArray[Any],
        labels: Mapping[str, NDArray[Any]] | None = None,
        *,
        positions: Sequence[tuple[int, ...]],
    ) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        """Change a batch, each image by its own draw.

        Args:
            images: (N, H, W) or (N, H, W, C), uint8 or uint16.
            labels: arrays by name, N first: ``gaze`` (N, 2), outlines (N, K, 2), and so on.
            positions: of each image, as in a call.

        Returns:
            Images and labels of the same shapes and types.

        Raises:
            ValueError: as a call, or the counts differ.
        """
        labels = labels or {}
        counts = {len(images), len(positions), *map(len, labels.values())}
        if len(counts) != 1:
            raise ValueError(f"images, labels and positions are {sorted(counts)} in number, expected one count")
        results = [
            self(image, {name: values[i] for name, values in labels.items()}, position=position)
            for i, (image, position) in enumerate(zip(images, positions, strict=True))
        ]
        changed = {
            name: np.stack([moved[name] for _, moved in results]).astype(values.dtype)
            for name, values in labels.items()
        }
        return np.stack([image for image, _ in results]), changed

    def planes(self, images: Tensor, *, position: tuple[int, ...], first: int = 0) -> Tensor:
        """Change a batch as networks see it, without labels.

        Args:
            images: (N, C, H, W), float32, in [-1, 1]: levels of stored images, not of computed ones.
            position: of the batch; each image adds its place to it.
            first: place of the first image in it.

        Returns:
            The same shape and range, again on the levels of the stored depth.
        """
        highest = float(np.iinfo(self.dtype).max)
        levels = np.rint((images.numpy() + 1) * np.float32(highest / 2)).astype(self.dtype)
        pixels = np.ascontiguousarray(levels.transpose(0, 2, 3, 1)).reshape(len(levels), *self.shape)
        changed, _ = self.batch(pixels, positions=[(*position, first + i) for i in range(len(pixels))])
        channels_last = changed.reshape(len(levels), *images.shape[2:], images.shape[1])
        planes = np.ascontiguousarray(channels_last.transpose(0, 3, 1, 2)).astype(np.float32)
        return torch.from_numpy(planes / np.float32(highest / 2) - 1)

    @property
    def _stream(self) -> str:
        return f"augmentation/{self.purpose}"

    def _apply(self, transform: Any, image: Image, seed: int) -> tuple[Image, NDArray[np.float64]]:
        """The image, and where its points went: a 3x3 matrix on (x, y, 1)."""
        # One generator for all: set_random_seed would give each transform its own, all drawing the same numbers.
        transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
        applied: list[tuple[str, dict[str, Any]]] = []
        deep = image.dtype == np.uint16  # albumentations takes 65535 for 255 here and there; in floats it is right
        given = image.astype(np.float32) / np.float32(65535) if deep else image
        found = transform(image=given, applied_transforms=applied)["image"]
        if deep and found.dtype == np.float32:
            if found.max() > 1.001 or found.min() < -0.001:
                raise ValueError("values leave [0, 1]; with 16-bit images every level counts from 0 to 1, fill too")
            found = np.rint(np.clip(found, 0, 1) * np.float32(65535)).astype(np.uint16)
        matrix = np.eye(3)
        for name, parameters in applied if self.labelled else ():
            if name == "HorizontalFlip":
                matrix = np.array([[-1.0, 0, image.shape[1] - 1], [0, 1, 0], [0, 0, 1]]) @ matrix
            elif name in MOVING:
                matrix = parameters["matrix"] @ matrix
        return found, matrix

    def _try(self, transform: Any, where: str) -> None:
        """Some draws of one transform, for certain, on noise: refuses what does not give an image of the same kind.

        Raises:
            ConfigurationError: it fails, or changes size, channels or depth, or distorts gaze.
        """
        rng = numpy_generator(0, "augmentation-trial")
        noise = rng.uniform(0, np.iinfo(self.dtype).max, self.shape).astype(np.float32)
        image = cv2.GaussianBlur(noise, (0, 0), 1.0).reshape(self.shape).astype(self.dtype)
        certain = load_albumentations().Sequential([transform], p=1.0)
        probability, transform.p = transform.p, 1.0
        try:
            for trial in range(_TRIALS):
                changed, matrix = self._apply(certain, image, trial)
                if changed.shape != image.shape or changed.dtype != image.dtype:
                    raise ConfigurationError(f"{where}: {_resized(image, changed)}")
                if image.dtype == np.uint16 and _is_coarse(changed):
                    raise ConfigurationError(f"{where}: computes in 8 bits, and these images have 16; leave it out")
                if not keeps_angles(matrix):
                    raise ConfigurationError(
                        f"{where}: stretches or shears the eye, which no gaze angle describes; set shear: 0, and "
                        "keep_ratio: true where there is a scale"
                    )
        except ConfigurationError:
            raise
        except Exception as error:  # whatever a library raises on what it cannot handle
            reason = " ".join(str(error).split())[:200]
            raise ConfigurationError(
                f"{where}: does not work on images of {_kind(image)} ({reason}); leave it out"
            ) from error
        finally:
            transform.p = probability


def _kind(image: Image) -> str:
    channels = image.shape[2] if image.ndim == 3 else 1
    return f"{image.shape[0]}x{image.shape[1]}, {channels} channel{'s' if channels > 1 else ''}, {image.dtype}"


def _resized(image: Image, changed: Image) -> str:
    return f"makes {_kind(changed)} of {_kind(image)}; an augmentation must keep size, channels and depth"


def _is_coarse(image: Image) -> bool:
    """Whether 16-bit levels are nearly all among the 256 that 8 bits have."""
    between = image[(image > 0) & (image < 65535)]
    return between.size > 0 and float(np.mean(between % 257 == 0)) > 0.5
