"""Random samples of data sets in memory: images, their labels, and the person or day of each image.

Images are in colour if the renders and the real images have colours, and in grey otherwise. Memory is bounded: of large
images fewer are drawn, and very large ones are made smaller.
"""

import logging
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from refiner.core.errors import DataError, ImageError, UsageError
from refiner.core.rng import numpy_generator
from refiner.data.annotations.masks import MaskObjects
from refiner.data.annotations.positions.moves import move_annotations
from refiner.data.folders.selection import EVERYTHING, Selection
from refiner.data.formats.folder import ImageFolder
from refiner.data.formats.registry import Dataset, info_of, open_dataset, warn_of_left_out
from refiner.data.labels.coordinates import ANGLES, PIXEL_LABELS, Change, Declared
from refiner.data.labels.geometry import resize_labels
from refiner.data.labels.objects import OBJECTS, AnnotationInfo, ImageAnnotations
from refiner.data.labels.records import Labels, Record
from refiner.images.arrays import has_colours, image_patch, luma, to_float
from refiner.metrics.clusters import CLUSTER_COLUMNS, Clusters, find_clusters

log = logging.getLogger(__name__)

Numbers = np.ndarray[Any, np.dtype[np.int64]]

MAX_VALUES = 4000 * 3 * 96 * 128
"""Largest number of values in the images of a sample, 590 MB: 4,000 images of 96x128 in colour."""

MIN_DRAWN = 128
"""Number of images that a sample can always hold; larger ones than that allows are made smaller."""

PEOPLE_LABELS = ("subject", *ANGLES, *PIXEL_LABELS)
"""Labels that only images of people have."""

_PEEKED = 9  # images of each data set that are searched for colours


Masks = Literal["left", "drift", "objects"]
"""Use of the masks beside images: left out; or taken as objects, where ``refiner refine`` measures drift on them, or
always if there are no annotated objects."""


class Original(NamedTuple):
    """Labels of an image as its data set has them, in pixels of an image of ``size``, (height, width)."""

    labels: Labels
    size: tuple[int, int]


@dataclass(frozen=True)
class Sample:
    """Images of a data set, with their labels.

    Attributes:
        images: (N, C, H, W), float32, in [-1, 1]; C is 1 or 3.
        ids: ids of the N images.
        labels: labels of the N images; labelled points are in pixels of ``images``.
        rejected: reason for each image that could not be used, by id.
        originals: labels of the N images before they were resized, and their size then.
        drawn: number of images that were drawn, and of all images of the data set.
        info: facts about the annotated objects of the data set; None if it has none.
        from_masks: True if the objects are those in the masks beside the images, which were asked for.
    """

    images: Tensor
    ids: list[str]
    labels: list[Labels]
    rejected: dict[str, str]
    originals: list[Original] = field(default_factory=list)
    drawn: tuple[int, int] = (0, 0)
    info: AnnotationInfo | None = None
    from_masks: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return self.images.shape[2], self.images.shape[3]

    @property
    def grey(self) -> Tensor:
        """The images in grey, (N, 1, H, W)."""
        return luma(self.images)

    def only(self, numbers: Sequence[int]) -> "Sample":
        """Return some of the images, by their numbers."""
        return replace(
            self,
            images=self.images[torch.tensor(numbers, dtype=torch.long)],
            ids=[self.ids[number] for number in numbers],
            labels=[self.labels[number] for number in numbers],
            originals=[self.originals[number] for number in numbers] if self.originals else [],
        )

    @property
    def shows_people(self) -> bool:
        """True if an image has a label of eyes or hands."""
        return any(name in row for row in self.labels for name in PEOPLE_LABELS)

    def clusters(self, column: str | None = None, *, of_people: bool | None = None) -> Clusters:
        """Return the people or days that the images belong to, or the values of another label column.

        Args:
            column: the label column; None takes people, else days.
            of_people: True if the images show people; None asks their own labels.

        Raises:
            UsageError: no image has the label ``column``.
        """
        columns = {}
        for name in (*CLUSTER_COLUMNS, *([column] if column else [])):
            values = [str(row.get(name, "")) for row in self.labels]
            if any(values):
                columns[name] = values
        if column and column not in columns:
            known = ", ".join(sorted({name for row in self.labels for name in row})) or "none"
            raise UsageError(f"no image has the label {column} to group the images by; their labels are {known}")
        return find_clusters(
            columns, len(self.ids), column, of_people=self.shows_people if of_people is None else of_people
        )


def common_channels(paths: Sequence[Path], selection: Selection = EVERYTHING) -> int:
    """Return the number of channels in which data sets are compared: 3 if all have colours, else 1.

    A data set has colours if at least half of a few images have; an image with three equal channels has none.
    """
    for path in paths:
        dataset = open_dataset(path, selection=selection if path.is_dir() else EVERYTHING)
        ids, found = dataset.ids, []
        for sample in dict.fromkeys(ids[number * len(ids) // _PEEKED] for number in range(_PEEKED)):
            try:
                found.append(has_colours(dataset.read_image(sample)))
            except ImageError:  # it is reported when the sample is read
                continue
        if not found or 2 * sum(found) < len(found):
            return 1
    return 3


def evaluated_size(size: tuple[int, int], channels: int) -> tuple[int, int]:
    """Return the size, (height, width), at which images are held: smaller than their own if they are very large."""
    factor = math.sqrt(MAX_VALUES / MIN_DRAWN / channels / (size[0] * size[1]))
    return size if factor >= 1 else (max(1, int(size[0] * factor)), max(1, int(size[1] * factor)))


def _resized(record: Record, size: tuple[int, int], points: Sequence[str]) -> Labels:
    """Return the labelled points and objects of a record after a resize of its image to (height, width)."""
    before = (record.image.shape[0], record.image.shape[1])
    change = Change(before, (0, 0), before, size)
    labels = {name: record.labels[name] for name in points if name in record.labels}
    annotations = labels.pop(OBJECTS, None)
    moved = resize_labels(labels, change, Declared(points=tuple(name for name in points if name != OBJECTS)))
    if isinstance(annotations, ImageAnnotations):
        moved[OBJECTS] = move_annotations(annotations, change, record.id)
    return moved


def read_sample(
    path: Path,
    *,
    size: tuple[int, int] | None,
    most: int,
    seed: int,
    channels: int = 1,
    ids: Sequence[str] | None = None,
    points: Sequence[str] = (),
    selection: Selection = EVERYTHING,
    masks: Masks = "left",
) -> Sample:
    """Draw random images of a data set and read them.

    Args:
        path: folder or file of the data set.
        size: (height, width) to resize to; None takes the size of the first image, or less if it is very large.
        most: largest number of images to draw; fewer are drawn if they would need too much memory.
        seed: seed of the draw.
        channels: 1 reads in grey, 3 in colour.
        ids: ids to read in this order, instead of a draw.
        points: names of labels that hold points, which move with an image that is resized.
        selection: the files to use, if the data set is a folder.
        masks: use of the masks beside the images of a folder.

    Returns:
        The readable images, with the reasons for the others.

    Raises:
        DataError: no image can be read, or one of ``ids`` is missing.
    """
    dataset = open_with_masks(path, size=size, selection=selection, masks=masks)
    if ids is None:  # else they are those of another data set, of which this was said
        warn_of_left_out(dataset)
    known = dataset.ids
    # Choose the images.
    order = numpy_generator(seed, "sample").permutation(len(known))
    if ids is not None:
        _check_known(path, known, ids)
    if size is None:
        first = dataset.read_image(ids[0] if ids else known[min(order[:most].tolist())])
        size = evaluated_size((first.shape[0], first.shape[1]), channels)
    most = min(most, max(1, MAX_VALUES // (channels * size[0] * size[1])))
    chosen = [known[number] for number in sorted(order[:most].tolist())] if ids is None else list(ids)
    common_size = size

    def read(sample: str) -> tuple[Any, Labels, Original] | ImageError:
        try:
            record = dataset.read(sample)
            image = image_patch(record.image, common_size, channels=channels, name=sample)
            original = Original(record.labels, (record.image.shape[0], record.image.shape[1]))
            return image, record.labels | _resized(record, common_size, points), original
        except ImageError as error:
            return error

    # Read them in parallel, and separate readable images from rejected ones.
    with ThreadPoolExecutor() as pool:
        outcomes = dict(zip(chosen, pool.map(read, chosen), strict=True))
    readable = {sample: outcome for sample, outcome in outcomes.items() if not isinstance(outcome, ImageError)}
    rejected = {sample: outcome.reason for sample, outcome in outcomes.items() if isinstance(outcome, ImageError)}
    for sample, reason in list(rejected.items())[:5]:
        log.warning("%s: %s is left out: %s", path, sample, reason)
    if not readable:
        sample, reason = next(iter(rejected.items()))
        raise DataError(f"{path}: none of the {len(chosen)} images can be read; the first, {sample}, {reason}")
    images = to_float(torch.from_numpy(np.stack([image for image, _, _ in readable.values()])))
    labels, originals = ([outcome[place] for outcome in readable.values()] for place in (1, 2))
    info = info_of(dataset)
    from_masks = masks == "objects" and info is not None and info.format == MaskObjects.format
    return Sample(images, list(readable), labels, rejected, originals, (len(chosen), len(known)), info, from_masks)


def open_with_masks(path: Path, *, size: tuple[int, int] | None, selection: Selection, masks: Masks) -> Dataset:
    """Open a data set; see :func:`read_sample`."""
    dataset = open_dataset(path, size=size, selection=selection if path.is_dir() else EVERYTHING)
    if isinstance(dataset, ImageFolder):
        dataset.objects_from_masks, dataset.drift_from_masks = masks == "objects", masks == "drift"
    return dataset


def _check_known(path: Path, known: Sequence[str], wanted: Sequence[str]) -> None:
    missing = set(wanted) - set(known)
    if missing:
        others = len(missing) - 1
        more = f", and {others} other image{'s are' if others > 1 else ' is'} missing" if others else ""
        raise DataError(
            f"{path} has no {min(missing)}{more}; it must hold one refined image for each render, under the same "
            "name, as refiner refine writes them"
        )
