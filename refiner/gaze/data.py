"""Labelled eye patches for training and testing estimators, in memory as 8-bit grey."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refiner.core.errors import DataError, ImageError, WrongInputError
from refiner.data.domains import MAX_BYTES
from refiner.data.folders.labels import FolderLabels
from refiner.data.formats.registry import Dataset, open_dataset, warn_of_left_out
from refiner.data.labels.angles import Angles
from refiner.data.labels.records import PAIRS, Labels
from refiner.data.labels.table_text import explain_angles
from refiner.data.splits import held_out_keys
from refiner.data.store.columns import to_text
from refiner.data.store.hdf5 import to_label_name
from refiner.data.store.reader import Store
from refiner.images.arrays import eye_patch
from refiner.images.io import Image

log = logging.getLogger(__name__)

Patches = np.ndarray[Any, np.dtype[np.uint8]]
"""(N, 1, H, W), grey."""

_BLOCK = 1024  # images that are read ahead
_SHOWN_REJECTS = 5  # rejected images that are logged


@dataclass(frozen=True)
class LabelledPatches:
    """Eye patches with their gaze.

    Attributes:
        images: (N, 1, H, W), uint8.
        gaze: (N, 2), pitch and yaw in radians.
        head_pose: (N, 2), pitch and yaw of the head in radians; None if it was not requested.
        ids: ids of the samples.
        columns: further labels as text, by name; samples without the label have an empty text.
        rejected: reason of each image that could not be used, by path.
        unlabelled: number of images that were skipped because they have no gaze.
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
        """Return the SHA-256 of images and labels in their order; a resumed run compares it."""
        digest = hashlib.sha256(f"{self.images.shape}".encode())
        for values in (self.images, self.gaze, self.head_pose):
            digest.update(b"none" if values is None else np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()

    def take(self, numbers: Sequence[int]) -> "LabelledPatches":
        """Return the patches with these indices, in this order."""
        chosen = np.asarray(numbers, np.int64)
        return LabelledPatches(
            self.images[chosen],
            self.gaze[chosen],
            None if self.head_pose is None else self.head_pose[chosen],
            [self.ids[i] for i in numbers],
            {name: [values[i] for i in numbers] for name, values in self.columns.items()},
        )

    def tensors(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return images as uint8, gaze and head pose as float32; the images share memory with :attr:`images`."""
        head_pose = None if self.head_pose is None else torch.from_numpy(self.head_pose.astype(np.float32))
        return torch.from_numpy(self.images), torch.from_numpy(self.gaze.astype(np.float32)), head_pose


def load_patches(
    paths: Sequence[Path], *, size: tuple[int, int], equalize: bool, head_pose: bool, key: str
) -> LabelledPatches:
    """Read labelled data sets into memory and concatenate them.

    Args:
        paths: folders or files in any known layout.
        size, equalize: see :func:`refiner.images.arrays.eye_patch`.
        head_pose: whether the head pose is needed, too.
        key: configuration key or argument of the paths, named in errors.

    Raises:
        DataError: a data set is missing, has no image with the labels needed, or does not fit in memory.
    """
    if not paths:
        raise WrongInputError(f"{key} is not set; name a folder or store of labelled images, as in --set {key}=DIR")
    # Read each data set, and join them in order; a column that one lacks is empty there.
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
    """Read one data set into memory; samples without gaze are left out and counted."""
    dataset = open_dataset(path, size=size)
    warn_of_left_out(dataset)
    if len(dataset.ids) * size[0] * size[1] > MAX_BYTES:
        raise DataError(
            f"{path} has {len(dataset.ids):,} images, which do not fit in memory; convert a subset with "
            "refiner convert --limit N"
        )

    # Sort the samples into usable, rejected, and those without the labels needed.
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

    # Report what is missing.
    for image, reason in list(rejected.items())[:_SHOWN_REJECTS]:
        log.warning("%s was skipped: it %s", image, reason)
    if poseless:
        raise WrongInputError(
            f"{poseless} images of {path} have no head pose; add the columns head_pitch_rad and head_yaw_rad to "
            "labels.csv, or train with head_pose: false"
        )
    if not images:
        if unlabelled:
            wanted = "a labels.csv with the columns file, gaze_pitch_rad and gaze_yaw_rad"
            columns = labels.names if isinstance(labels := getattr(dataset, "labels", None), FolderLabels) else ()
            why = explain_angles(columns)
            raise WrongInputError(
                f"none of the {len(dataset.ids)} images of {path} has a gaze label; expected {wanted}"
                + (f" ({why})" if why else "")
            )
        why = next(iter(rejected.values()))
        raise DataError(f"none of the {len(dataset.ids)} images of {path} can be used; the first {why}")
    if unlabelled:
        log.warning("%s: %d images without gaze were skipped", path, unlabelled)

    # Keep the labels that are text as columns, for tables and clusters.
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
    """Yield the id of each sample in order, with its patch and labels, or with the error that rejects it.

    Threads read ahead by up to a thousand images.

    Args:
        dataset: a data set in any layout.
        size, equalize: see :func:`refiner.images.arrays.eye_patch`.
        labels: whether labels are read. Without them, a faulty label rejects no image.
    """
    read = _reader(dataset, labels=labels)

    def patch(sample: str) -> tuple[Patches, Labels] | ImageError:
        try:
            image, found = read(sample)
            return eye_patch(image, size, equalize=equalize, name=sample), found
        except ImageError as error:
            return error

    with ThreadPoolExecutor() as pool:
        # The pool decodes one block while its first patches are already in use.
        for start in range(0, len(dataset.ids), _BLOCK):
            block = dataset.ids[start : start + _BLOCK]
            yield from zip(block, pool.map(patch, block))


def _reader(dataset: Dataset, *, labels: bool) -> Callable[[str], tuple[Image, Labels]]:
    if not labels:
        return lambda sample: (dataset.read_image(sample), {})
    # A store reads its labels as whole columns, which is much faster than row by row.
    if isinstance(dataset, Store):
        table, numbers = StoreTable(dataset), dataset.numbers
        return lambda sample: (dataset.image(numbers[sample]), table[numbers[sample]])

    def read(sample: str) -> tuple[Image, Labels]:
        record = dataset.read(sample)
        return record.image, record.labels

    return read


class StoreTable:
    """The gaze, head pose and text labels of a store, in memory.

    HDF5 takes a millisecond to read the labels of one image, so the table reads whole columns.

    Args:
        store: the open store.

    Raises:
        DataError: the labels cannot be read.
    """

    def __init__(self, store: Store) -> None:
        store.check_angles()
        # Columns of two angles, and columns of one value as text; others are not needed here.
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
            raise DataError(f"the labels of {store.root} cannot be read: {error}") from error

    def __getitem__(self, number: int) -> Labels:
        """Return the labels of one image, without those that it lacks."""
        labels: Labels = {name: values[number] for name, values in self._pairs.items()}
        labels = {name: value for name, value in labels.items() if np.isfinite(value).all()}
        labels |= {name: texts[number] for name, texts in self._texts.items() if texts[number]}
        if self._subjects and self._subjects[number]:
            labels["subject"] = self._subjects[number]
        return labels


def split_held_out(
    patches: LabelledPatches, share: float, key: str
) -> tuple[LabelledPatches, LabelledPatches | None, str | None]:
    """Split patches into training and held-out patches.

    The side of a patch follows from its subject only, or from its id if it names no subject. Raw and refined versions
    of one image fall on the same side. At least one whole subject is held out, and at least one is trained on. The
    images of a single subject are split by their ids, with a warning.

    Args:
        patches: the patches to split.
        share: share of the subjects, or of the images, to hold out; 0 holds out none.
        key: configuration key of the share, named in errors.

    Returns:
        Training and held-out patches, None for the latter if none are held out; and what was held out: ``subjects``,
        ``images``, ``images of the same subject``, or None.

    Raises:
        DataError: there are too few images to hold out any.
    """
    if not share:
        return patches, None, None
    subjects = patches.columns.get("subject", [""] * len(patches))
    # An image without a subject is a group of its own.
    groups = [subject or sample for subject, sample in zip(subjects, patches.ids, strict=True)]
    what = "subjects" if any(subjects) else "images"
    if len(set(groups)) == 1 and any(subjects):
        groups, what = patches.ids, "images of the same subject"
        log.warning(
            "all images show one subject, so the held-out images show it, too: the held-out error says nothing about "
            "other people; add images of other subjects, or set %s to 0",
            key,
        )
    if len(set(groups)) < 2:
        raise DataError(
            f"{key} is {share}, but one image cannot be held out and trained on; add images, or set it to 0"
        )
    chosen = held_out_keys(groups, share)
    sides: tuple[list[int], list[int]] = [], []
    for number, name in enumerate(groups):
        sides[name in chosen].append(number)
    return patches.take(sides[0]), patches.take(sides[1]), what
