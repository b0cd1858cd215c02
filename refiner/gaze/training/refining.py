"""Refinement of training batches: an estimator that trains on renders sees each of them refined anew in every batch.

A refiner that draws gives a render another result each time. The draw follows from the seed, the step and the position
in the batch, so that a resumed run sees the same images. A refiner that draws nothing gives the same result each time.
"""

import copy
import dataclasses
from typing import Any, Self

import cv2
import numpy as np
import torch
from torch import Tensor

from refiner.core.errors import DataError, WrongInputError
from refiner.core.rng import numpy_generator
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.data import LabelledPatches
from refiner.images.arrays import to_float
from refiner.models.draws import draws_at, draws_of
from refiner.models.files.refiner_file import RefinerFile, load_refiner, refiner_digest
from refiner.models.modules import apply_module

_KEY = "augmentation.refiner"

_BATCH = 256  # held-out images that are refined at once


class BatchRefiner:
    """A refiner for the batches of an estimator.

    Args:
        file: a refiner of grey images.
        digest: SHA-256 of its file.
        share: share of the images of a batch that is refined, 0 to 1.
        equalize: whether the histogram of every image is equalised afterwards.
        seed: every random choice follows from it.
    """

    def __init__(self, file: RefinerFile, *, digest: str, share: float, equalize: bool, seed: int) -> None:
        self.module, self.digest = file.network(), digest
        self.share, self.equalize, self.seed = share, equalize, seed
        self.device = "cpu"

    def with_seed(self, seed: int) -> Self:
        """Return this refiner with draws that follow from another seed."""
        other = copy.copy(self)
        other.seed = seed
        return other

    def to(self, device: str) -> None:
        """Move the refiner to a device, ``cpu`` or ``cuda``."""
        self.module, self.device = self.module.to(device), device

    def batch(self, images: Tensor, step: int) -> Tensor:
        """Refine a share of a training batch.

        Args:
            images: (N, 1, H, W), uint8 on the CPU, not equalised.
            step: number of updates so far.

        Returns:
            Same shape and type, on the CPU; a new tensor.
        """
        places, draws = self._places(len(images), step), draws_at(self.seed, "gaze-refiner", step, len(images))
        images = images.clone()
        if len(places):  # NumPy copies whole images, PyTorch single pixels
            refined = self._refined(torch.from_numpy(images.numpy()[places]), [draws[place] for place in places])
            images.numpy()[places] = refined.numpy()
        return self._equalized(images)

    def held_out(self, patches: LabelledPatches) -> LabelledPatches:
        """Refine all held-out patches once, by the draws of their pixels, as ``refiner refine`` does."""
        images = torch.from_numpy(patches.images)
        parts = [self._refined(part, draws_of(to_float(part))) for part in images.split(_BATCH)]
        return dataclasses.replace(patches, images=self._equalized(torch.cat(parts)).numpy())

    def _places(self, count: int, step: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the positions in a batch that are refined: the share of them, spread evenly."""
        offset = numpy_generator(self.seed, "gaze-refined-share", step).random()
        return np.flatnonzero(np.diff(np.floor(np.arange(count + 1) * self.share + offset)))

    @torch.inference_mode()
    def _refined(self, images: Tensor, draws: list[bytes]) -> Tensor:
        """Refine uint8 images (N, 1, H, W), and round the result as an image file does."""
        refined = apply_module(self.module, to_float(images).to(self.device), draws)
        return ((refined + 1) * 127.5).round_().clamp_(0, 255).to("cpu", torch.uint8)

    def _equalized(self, images: Tensor) -> Tensor:
        """Equalise uint8 images (N, 1, H, W) in place, if that is set."""
        if self.equalize:
            for image in images.numpy():
                cv2.equalizeHist(image[0], dst=image[0])
        return images


def load_batch_refiner(configuration: GazeConfiguration) -> BatchRefiner | None:
    """Load the refiner of a configuration; None if it has none.

    Raises:
        DataError: there is no such refiner, or it is made for images with colours or of another size.
    """
    section, size = configuration.augmentation, configuration.size
    if section.refiner is None:
        return None
    # Errors name the setting, since the path came from a configuration.
    try:
        file = load_refiner(section.refiner)
    except DataError as error:
        kind = WrongInputError if isinstance(error, WrongInputError) else DataError
        raise kind(f"{_KEY}: {error}") from error
    if file.architecture.channels != 1:
        raise WrongInputError(
            f"{_KEY}: {section.refiner} refines images with colours, but estimators see grey images; train a refiner "
            "with channels: 1"
        )
    made_for = _trained_size(file)
    if made_for is not None and made_for != size:
        raise WrongInputError(
            f"{_KEY}: {section.refiner} was made for images of {made_for[0]}x{made_for[1]}, but size is "
            f"{size[0]}x{size[1]}; train a refiner of that size, or set size={made_for[0]}x{made_for[1]}"
        )
    return BatchRefiner(
        file,
        digest=refiner_digest(section.refiner),
        share=section.refined_share,
        equalize=configuration.equalize,
        seed=configuration.seed,
    )


def _trained_size(file: RefinerFile) -> tuple[int, int] | None:
    """Return the (height, width) of the images that a refiner was made for; None if the file does not record it."""
    settings = file.metadata.get("training", {}).get("configuration", {})
    size = getattr(file.architecture, "size", settings.get("size"))
    return None if size is None else (int(size[0]), int(size[1]))
