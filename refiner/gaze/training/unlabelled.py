"""Unlabelled eye patches for co-teaching, in memory as 8-bit grey."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from refiner.core.errors import DataError, ImageError, WrongInputError
from refiner.data.domains import MAX_BYTES
from refiner.data.formats.registry import open_dataset, warn_of_left_out
from refiner.data.labels.angles import Angles
from refiner.gaze.data import Patches, read_labelled
from refiner.gaze.networks.estimators import HeadPose

log = logging.getLogger(__name__)

_KEY = "data.unlabelled"

_SHOWN_REJECTS = 5  # rejected images that are logged


@dataclass(frozen=True)
class UnlabelledPatches:
    """Eye patches without their gaze.

    Attributes:
        images: (N, 1, H, W), uint8.
        head_pose: (N, 2), pitch and yaw of the head in radians; None if it was not requested.
        rejected: reason of each image that could not be used, by path.
    """

    images: Patches
    head_pose: Angles | None
    rejected: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def digest(self) -> str:
        """Return the SHA-256 of images and head poses in their order; a resumed run compares it."""
        digest = hashlib.sha256(f"{self.images.shape}".encode())
        for values in (self.images, self.head_pose):
            digest.update(b"none" if values is None else np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()

    def tensors(self) -> tuple[Tensor, Tensor | None]:
        """Return images as uint8 and head pose as float32; the images share memory with :attr:`images`."""
        head_pose = None if self.head_pose is None else torch.from_numpy(self.head_pose.astype(np.float32))
        return torch.from_numpy(self.images), head_pose


def load_unlabelled(
    paths: Sequence[Path], *, size: tuple[int, int], equalize: bool, head_pose: HeadPose
) -> UnlabelledPatches:
    """Read data sets into memory and concatenate them, without the gaze that their labels may have.

    Args:
        paths: folders or files in any known layout.
        size, equalize: see :func:`refiner.images.arrays.eye_patch`.
        head_pose: head angles of the estimator; if it has any, every image needs a head pose.

    Raises:
        DataError: a data set is missing, has an image without the head pose needed, or does not fit in memory; or there
            are fewer than two images, whose gaze could be compared.
    """
    parts = [_load(path, size=size, equalize=equalize, head_pose=head_pose) for path in paths]
    loaded = UnlabelledPatches(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.head_pose for part in parts if part.head_pose is not None]) if head_pose else None,
        {sample: reason for part in parts for sample, reason in part.rejected.items()},
    )
    if len(loaded) < 2:
        raise WrongInputError(f"{_KEY} has one image, but co-teaching compares images; name a data set with more")
    return loaded


def _load(path: Path, *, size: tuple[int, int], equalize: bool, head_pose: HeadPose) -> UnlabelledPatches:
    """Read one data set into memory."""
    dataset = open_dataset(path, size=size)
    warn_of_left_out(dataset)
    if len(dataset.ids) * size[0] * size[1] > MAX_BYTES:
        raise DataError(
            f"{_KEY}: {path} has {len(dataset.ids):,} images, which do not fit in memory; convert a subset with "
            "refiner convert --limit N"
        )

    # Sort the samples into usable and rejected ones. Of the labels, only the head pose is used.
    images: list[Patches] = []
    poses: list[Angles] = []
    rejected: dict[str, str] = {}
    poseless = 0
    for sample, found in read_labelled(dataset, size, equalize=equalize, labels=bool(head_pose)):
        if isinstance(found, ImageError):
            rejected[str(path / sample)] = found.reason
        elif head_pose and "head_pose" not in found[1]:
            poseless += 1
        else:
            images.append(found[0])
            poses.append(found[1].get("head_pose", np.zeros(0)))

    # Report what is missing.
    for image, reason in list(rejected.items())[:_SHOWN_REJECTS]:
        log.warning("%s was skipped: it %s", image, reason)
    if poseless:
        raise WrongInputError(
            f"{_KEY}: {poseless} images of {path} have no head pose, but head_pose is {str(head_pose).lower()}; add "
            "the columns head_pitch_rad and head_yaw_rad to labels.csv, or train with head_pose: false"
        )
    if not images:
        why = next(iter(rejected.values()))
        raise DataError(f"{_KEY}: none of the {len(dataset.ids)} images of {path} can be used; the first {why}")
    return UnlabelledPatches(np.stack(images), np.array(poses, np.float64) if head_pose else None, rejected)
