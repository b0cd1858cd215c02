"""Labelled eye patches for training and testing estimators, held in memory as 8-bit grey."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refiner.core.errors import DataError, ImageError
from refiner.data.domains import MAX_BYTES
from refiner.data.formats.registry import Dataset, open_dataset
from refiner.data.labels.angles import Angles
from refiner.data.labels.records import PAIRS, Labels
from refiner.data.splits import split_of
from refiner.data.store.columns import to_text
from refiner.data.store.hdf5 import to_label_name
from refiner.data.store.reader import Store
from refiner.images.arrays import eye_patch
from refiner.images.arrays import to_float as to_float
from refiner.images.io import Image

log = logging.getLogger(__name__)

Patches = np.ndarray[Any, np.dtype[np.uint8]]
"""(N, 1, H, W), grey."""

_BLOCK = 1024  # images read at a time


@dataclass(frozen=True)
class LabelledPatches:
    """Eye patches with their gaze.

    Attributes:
        images: (N, 1, H, W), uint8.
        gaze: (N, 2), pitch and yaw in radians.
        head_pose: the same of the head; None where it was not asked for.
        ids: of the samples.
        columns: further labels as text, by name; empty text where a sample has none.
        rejected: path and reason of each image that could not be used.
        unlabelled: images that were left out for having no gaze.
    """

    images: Patches
    gaze: Angles
    head_pose: Angles | None
    ids: list[str]
    columns: dict[str, list[str]] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    unlabelled: int = 0

    def __len__(self) -> int:
        return len(self.images)

    def digest(self) -> str:
        """SHA-256 of the images and labels in their order: by it a resumed run knows its data."""
        digest = hashlib.sha256(f"{self.images.shape}".encode())
        for values in (self.images, self.gaze, self.head_pose):
            digest.update(b"none" if values is None else np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()

    def take(self, numbers: Sequence[int]) -> "LabelledPatches":
        """Some of the patches."""
        chosen = np.asarray(numbers, np.int64)
        return LabelledPatches(
            self.images[chosen],
            self.gaze[chosen],
            None if self.head_pose is None else self.head_pose[chosen],
            [self.ids[i] for i in numbers],
            {name: [values[i] for i in numbers] for name, values in self.columns.items()},
        )

    def tensors(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images as uint8, gaze and head pose as float32, for drawing batches from."""
        head_pose = None if self.head_pose is None else torch.from_numpy(self.head_pose.astype(np.float32))
        return torch.from_numpy(self.images), torch.from_numpy(self.gaze.astype(np.float32)), head_pose


def load_patches(
    paths: Sequence[Path], *, size: tuple[int, int], equalize: bool, head_pose: bool, key: str
) -> LabelledPatches:
    """Read labelled data sets into memory, one after another.

    Args:
        paths: folders or files of any known layout.
        size, equalize: see :func:`eye_patch`.
        head_pose: whether the head pose is needed too.
        key: where the paths come from, for messages.

    Raises:
        DataError: one is missing, holds no image with the labels needed, or they do not fit in memory.
    """
    if not paths:
        raise DataError(f"{key} is not set; name a folder or store of labelled images, as in --set {key}=DIR")
    parts = [_load(path, size=size, equalize=equalize, head_pose=head_pose) for path in paths]
    columns = list(dict.fromkeys(name for part in parts for name in part.columns))
    return LabelledPatches(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.gaze for part in parts]),
        np.concatenate([part.head_pose for part in parts if part.head_pose is not None]) if head_pose else None,
        [sample for part in parts for sample in part.ids],
        {name: [v for part in parts for v in part.columns.get(name, [""] * len(part))] for name in columns},
        {sample: reason for part in parts for sample, reason in part.rejected.items()},
        sum(part.unlabelled for part in parts),
    )


def _load(path: Path, *, size: tuple[int, int], equalize: bool, head_pose: bool) -> LabelledPatches:
    dataset = open_dataset(path, size=size)
    if len(dataset.ids) * size[0] * size[1] > MAX_BYTES:
        raise DataError(f"{path}: {len(dataset.ids):,} images do not fit in memory; use a part of them")
    images: list[Patches] = []
    rows: dict[str, Labels] = {}
    rejected: dict[str, str] = {}
    unlabelled = poseless = 0
    for sample, found in read_labelled(dataset, size, equalize=equalize):
        if isinstance(found, ImageError):
            rejected[str(path / sample)] = found.reason
        elif "gaze" not in found[1]:
            unlabelled += 1
        elif head_pose and "head_pose" not in found[1]:
            poseless += 1
        else:
            images.append(found[0])
            rows[sample] = found[1]
    for sample, reason in list(rejected.items())[:5]:
        log.warning("left out %s: %s", sample, reason)
    if poseless:
        raise DataError(f"{path}: {poseless} images have no head pose; name theirs, or train with head_pose: false")
    if not images:
        why = f"; the first that cannot be read {next(iter(rejected.values()))}" if rejected else ""
        raise DataError(f"{path}: none of {len(dataset.ids)} images has a gaze that can be read{why}")
    if unlabelled:
        log.warning("%s: %d images without gaze are left out", path, unlabelled)
    names = dict.fromkeys(name for row in rows.values() for name, value in row.items() if _is_text(name, value))
    return LabelledPatches(
        np.stack(images),
        np.array([row["gaze"] for row in rows.values()], np.float64),
        np.array([row["head_pose"] for row in rows.values()], np.float64) if head_pose else None,
        list(rows),
        {name: [str(row.get(name, "")) for row in rows.values()] for name in names},
        rejected,
        unlabelled,
    )


def _is_text(name: str, value: Any) -> bool:
    return name not in PAIRS and np.ndim(value) == 0


def read_labelled(
    dataset: Dataset, size: tuple[int, int], *, equalize: bool, labels: bool = True
) -> Iterator[tuple[str, tuple[Patches, Labels] | ImageError]]:
    """Each sample in order, as a patch with its labels, or why not; reads ahead by some hundred images.

    Args:
        dataset: of any layout.
        size, equalize: see :func:`eye_patch`.
        labels: whether labels are looked at; without, a faulty label rejects no image.
    """
    read = _reader(dataset, labels=labels)

    def patch(sample: str) -> tuple[Patches, Labels] | ImageError:
        try:
            image, found = read(sample)
            return eye_patch(image, size, equalize=equalize, name=sample), found
        except ImageError as error:
            return error

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(dataset.ids), _BLOCK):
            block = dataset.ids[start : start + _BLOCK]
            yield from zip(block, pool.map(patch, block))


def _reader(dataset: Dataset, *, labels: bool) -> Callable[[str], tuple[Image, Labels]]:
    if not labels:
        return lambda sample: (dataset.read_image(sample), {})
    if isinstance(dataset, Store):
        table, numbers = StoreTable(dataset), dataset.numbers
        return lambda sample: (dataset.image(numbers[sample]), table[numbers[sample]])

    def read(sample: str) -> tuple[Image, Labels]:
        record = dataset.read(sample)
        return record.image, record.labels

    return read


class StoreTable:
    """The gaze, head pose and text labels of a store, read whole: HDF5 takes a millisecond for the labels of one image.

    Raises:
        DataError: they cannot be read.
    """

    def __init__(self, store: Store) -> None:
        self._pairs: dict[str, Angles] = {}
        self._texts: dict[str, list[str]] = {}
        try:
            for dataset in store.label_names:
                name, values = to_label_name(dataset), store.file["labels"][dataset]
                if name in ("gaze", "head_pose") and values.shape[1:] == (2,):
                    self._pairs[name] = np.asarray(values[:], np.float64)
                elif values.ndim == 1 and name not in PAIRS:
                    cells = str(values.attrs.get("cells", "float"))
                    self._texts[name] = [to_text(value, cells) for value in values[:]]
            self._subjects = [store.subject(sample) for sample in store.ids] if "subjects" in store.file else []
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, ImageError) as error:
            raise DataError(f"{store.root}: its labels cannot be read ({error})") from error

    def __getitem__(self, number: int) -> Labels:
        """Labels of one image; those that it lacks are left out."""
        labels: Labels = {name: values[number] for name, values in self._pairs.items()}
        labels = {name: value for name, value in labels.items() if np.isfinite(value).all()}
        labels |= {name: texts[number] for name, texts in self._texts.items() if texts[number]}
        if self._subjects and self._subjects[number]:
            labels["subject"] = self._subjects[number]
        return labels


def split_held_out(patches: LabelledPatches, share: float, key: str) -> tuple[LabelledPatches, LabelledPatches | None]:
    """Training and held-out patches; where one goes follows from its subject, or its id, alone.

    Args:
        patches: all of them.
        share: of the subjects to hold out; of the images where no subject is named, or all fall on one side.
        key: the configuration key of the share, for messages.

    Raises:
        DataError: too few images to hold out any.
    """
    if not share:
        return patches, None
    subjects = patches.columns.get("subject", [""] * len(patches))
    named = [subject or sample for subject, sample in zip(subjects, patches.ids, strict=True)]
    for keys in (named, patches.ids):
        sides: Mapping[str, list[int]] = {"train": [], "held_out": []}
        for number, name in enumerate(keys):
            sides[split_of(name, {"held_out": share, "train": 1 - share})].append(number)
        if all(sides.values()):
            return patches.take(sides["train"]), patches.take(sides["held_out"])
    raise DataError(f"{key} is {share}, which leaves one side of {len(patches)} images empty; choose another, or 0")
