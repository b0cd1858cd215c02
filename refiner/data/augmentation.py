"""Augmentation of training images, configured as a list of albumentations transforms by name.

The change of an image depends only on (seed, purpose, position). It is the same in a resumed run and in any worker.

Labels follow changes that move the eye. A flip negates yaw and mirrors points, a shift moves points, and a rotation in
the image plane turns gaze and head pose. A change that labels cannot follow is refused.

albumentations takes seconds to import, so it is imported when the first :class:`Augmentation` is built.
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

_TRIALS = 8  # test runs of each transform, since some faults occur only for some random values


class Augmentation:
    """A pipeline of albumentations transforms, applied in order, each with its probability ``p``.

    Every transform is tested on construction, so that a mistake is found before the run. A pipeline is not
    thread-safe. Copies in other processes, pickled or forked, give the same results.

    Args:
        steps: one ``{name: {argument: value}}`` for each transform, with albumentations' names.
        key: key of the steps in the configuration, for messages.
        seed: seed of the run.
        purpose: name of the image domain; each purpose has its own random stream.
        shape: (H, W) or (H, W, C) of the images.
        dtype: uint8 or uint16; 16-bit images keep their depth, and transforms that compute in 8 bits are refused.
        labelled: True if labels are given with the images; geometry is then restricted to what they can follow.

    Raises:
        ConfigurationError: albumentations does not know a name, argument or value; or a transform changes size,
            channels or depth, or moves labels in a way they cannot follow. The message names the transform.

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
            raise ValueError(f"images are {self.dtype} of shape {self.shape}; expected uint8 or uint16, (H, W[, C])")
        # Build the transforms.
        library = load_albumentations()
        transforms = [build(step, where, library) for step, where in numbered(steps, key)]
        self._pipeline = library.Sequential(transforms, p=1.0)
        # Test each transform, also those inside compositions.
        for transform, where in leaves(self._pipeline, key):
            if labelled:
                refuse_lost_labels(transform, where, library)
            self._try(transform, where)

    def __call__(
        self, image: Image, labels: Labels | None = None, *, position: tuple[int, ...]
    ) -> tuple[Image, Labels]:
        """Augment one image and its labels.

        Args:
            image: image of the shape and type given on construction; not modified.
            labels: labels by name, see :func:`refiner.data.labels.geometry.move_labels`; not modified.
            position: position of the image in the run, such as (epoch, sample number) or (step, index in the batch).

        Returns:
            Image and labels of the same shapes and types.

        Raises:
            ValueError: the shape or type of the image is wrong, or labels are given to a pipeline built without them.
            ConfigurationError: the result has another size.
        """
        if image.shape != self.shape or image.dtype != self.dtype:
            expected = f"{self.shape} {self.dtype}"
            raise ValueError(f"an image is {image.shape} {image.dtype}, but the augmentation was built for {expected}")
        if labels and not self.labelled:
            raise ValueError(f"{self.key} was built without labels; build it with labelled=True")
        changed, matrix = self._apply(self._pipeline, image, derived_seed(self.seed, self._stream, *position))
        if changed.shape != image.shape:
            raise ConfigurationError(f"{self.key} {_resized(image, changed)}")
        return changed, move_labels(labels or {}, matrix, image.shape[:2])

    def batch(
        self,
        images: NDArray[Any],
        labels: Mapping[str, NDArray[Any]] | None = None,
        *,
        positions: Sequence[tuple[int, ...]],
    ) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        """Augment a batch, each image with its own random values.

        Args:
            images: (N, H, W) or (N, H, W, C), uint8 or uint16.
            labels: arrays by name, N first: ``gaze`` (N, 2), outlines (N, K, 2), and so on.
            positions: position of each image, see :meth:`__call__`.

        Returns:
            Images and labels of the same shapes and types.

        Raises:
            ValueError: the numbers of images, labels and positions differ, or :meth:`__call__` raises.
        """
        # Check that images, labels and positions belong together.
        labels = labels or {}
        counts = {len(images), len(positions), *map(len, labels.values())}
        if len(counts) != 1:
            raise ValueError(f"images, labels and positions are {sorted(counts)} in number; expected equal numbers")
        # Augment image by image, and stack the results.
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
        """Augment a batch of network inputs, without labels.

        Args:
            images: (N, C, H, W), float32, in [-1, 1]; the values are levels of stored images.
            position: position of the batch; the index of each image in the batch is appended.
            first: index of the first image in the batch.

        Returns:
            (N, C, H, W), float32, in [-1, 1], again on the levels of the stored depth.
        """
        # Convert to integers, channels last.
        highest = float(np.iinfo(self.dtype).max)
        levels = np.rint((images.numpy() + 1) * np.float32(highest / 2)).astype(self.dtype)
        pixels = np.ascontiguousarray(levels.transpose(0, 2, 3, 1)).reshape(len(levels), *self.shape)
        changed, _ = self.batch(pixels, positions=[(*position, first + i) for i in range(len(pixels))])
        # Convert back.
        channels_last = changed.reshape(len(levels), *images.shape[2:], images.shape[1])
        planes = np.ascontiguousarray(channels_last.transpose(0, 3, 1, 2)).astype(np.float32)
        return torch.from_numpy(planes / np.float32(highest / 2) - 1)

    @property
    def _stream(self) -> str:
        return f"augmentation/{self.purpose}"

    def _apply(self, transform: Any, image: Image, seed: int) -> tuple[Image, NDArray[np.float64]]:
        """Apply a transform with a seed; return the image and the (3, 3) matrix that moves its points (x, y, 1)."""
        # One generator for all transforms: set_random_seed would give each its own, with the same random numbers.
        transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
        applied: list[tuple[str, dict[str, Any]]] = []
        # 16-bit images go through as floats, since some transforms of albumentations expect at most 255 otherwise.
        deep = image.dtype == np.uint16
        given = image.astype(np.float32) / np.float32(65535) if deep else image
        found = transform(image=given, applied_transforms=applied)["image"]
        if deep and found.dtype == np.float32:
            if found.max() > 1.001 or found.min() < -0.001:
                raise ValueError("values leave [0, 1]; give levels of 16-bit images, such as fill, from 0 to 1")
            found = np.rint(np.clip(found, 0, 1) * np.float32(65535)).astype(np.uint16)
        # Multiply the matrices of the transforms that move points.
        matrix = np.eye(3)
        for name, parameters in applied if self.labelled else ():
            if name == "HorizontalFlip":
                matrix = np.array([[-1.0, 0, image.shape[1] - 1], [0, 1, 0], [0, 0, 1]]) @ matrix
            elif name in MOVING:
                matrix = parameters["matrix"] @ matrix
        return found, matrix

    def _try(self, transform: Any, where: str) -> None:
        """Test one transform on noise, several times and with probability 1.

        Raises:
            ConfigurationError: the transform fails, changes size, channels or depth, or distorts gaze.
        """
        # Blurred noise has texture everywhere, so that no transform meets a flat image.
        rng = numpy_generator(0, "augmentation-trial")
        noise = rng.uniform(0, np.iinfo(self.dtype).max, self.shape).astype(np.float32)
        image = cv2.GaussianBlur(noise, (0, 0), 1.0).reshape(self.shape).astype(self.dtype)
        certain = load_albumentations().Sequential([transform], p=1.0)
        probability, transform.p = transform.p, 1.0
        try:
            for trial in range(_TRIALS):
                changed, matrix = self._apply(certain, image, trial)
                if changed.shape != image.shape or changed.dtype != image.dtype:
                    raise ConfigurationError(f"{where} {_resized(image, changed)}")
                if image.dtype == np.uint16 and _is_coarse(changed):
                    raise ConfigurationError(f"{where} computes in 8 bits, but these images have 16; leave it out")
                if not keeps_angles(matrix):
                    raise ConfigurationError(
                        f"{where} stretches or shears the eye, so its gaze is no longer known; set shear: 0, and "
                        "keep_ratio: true with a scale"
                    )
        except ConfigurationError:
            raise
        except Exception as error:  # a library raises any kind of error for an image that it cannot handle
            reason = " ".join(str(error).split())[:200]
            raise ConfigurationError(
                f"{where} does not work on images of {_kind(image)} ({reason}); leave it out"
            ) from error
        finally:
            transform.p = probability


def _kind(image: Image) -> str:
    channels = image.shape[2] if image.ndim == 3 else 1
    return f"{image.shape[0]}x{image.shape[1]}, {channels} channel{'s' if channels > 1 else ''}, {image.dtype}"


def _resized(image: Image, changed: Image) -> str:
    return f"turns {_kind(image)} into {_kind(changed)}; an augmentation must keep size, channels and depth"


def _is_coarse(image: Image) -> bool:
    """Return whether most 16-bit levels are among the 256 levels that 8 bits can hold."""
    between = image[(image > 0) & (image < 65535)]
    return between.size > 0 and float(np.mean(between % 257 == 0)) > 0.5
