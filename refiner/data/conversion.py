"""Processing of each image of a conversion, with its labels, and of a chunk of them in a worker process."""

import math
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from refiner.core.errors import ImageError
from refiner.data.annotations.positions.moves import count_losses, move_annotations
from refiner.data.folders.selection import EVERYTHING, Selection
from refiner.data.formats.folder import ImageFolder
from refiner.data.formats.registry import Dataset, open_dataset
from refiner.data.labels.coordinates import NOTHING_DECLARED, Change, Declared
from refiner.data.labels.geometry import resize_labels
from refiner.data.labels.objects import OBJECTS, ImageAnnotations
from refiner.data.labels.records import Record
from refiner.data.output.chunks import ChunkFiles, write_chunk
from refiner.images.arrays import MAX_SQUEEZE, crop_centre, equalize, resize, to_grey
from refiner.images.io import Image


class Conversion(NamedTuple):
    """Processing of each image in a conversion.

    Attributes:
        size: (height, width) of the result; None keeps the size of each image.
        crop: (height, width) of the centre that is cut out before resizing; None keeps the whole image.
        grey: convert colour images to luma.
        equalized: equalise the histogram of the luma, after resizing.
        whole: read whole frames of layouts that are otherwise cut to the eye or the hand.
        declared: labels whose names and shapes do not show whether they move with the image.
        selection: the files of a folder to use.
        objects_from_masks: take the masks of a folder as objects, if it has no annotated ones.
    """

    size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    grey: bool = False
    equalized: bool = False
    whole: bool = False
    declared: Declared = NOTHING_DECLARED
    selection: Selection = EVERYTHING
    objects_from_masks: bool = False

    @property
    def moves_pixels(self) -> bool:
        """True if images are cropped or resized, so that labels in pixels move."""
        return self.crop is not None or self.size is not None

    def open(self, source: Path, format: str | None) -> Dataset:
        """Open the data set, with frames cut or whole as this conversion needs them."""
        size = None if self.crop else self.size
        dataset = open_dataset(source, format=format, size=size, crop=not self.whole, selection=self.selection)
        if isinstance(dataset, ImageFolder):
            dataset.objects_from_masks = self.objects_from_masks
        return dataset

    def squeezes(self, image: Image) -> bool:
        """Return whether resizing distorts the image by more than training accepts (``MAX_SQUEEZE``)."""
        if self.size is None:
            return False
        height, width = self.crop or image.shape[:2]
        return abs(math.log(height * self.size[1] / (width * self.size[0]))) > MAX_SQUEEZE

    def apply(self, record: Record) -> Record:
        """Return the record with its image converted and its labels in pixels moved accordingly.

        Raises:
            ImageError: the image is smaller than the crop, has 16 bits and cannot be equalised, or has a label that
                cannot be moved.
            UsageError: it is not certain whether a label moves.
        """
        image = to_grey(record.image) if self.grey else record.image
        height, width = image.shape[:2]
        # Crop, then resize; labels in pixels follow both.
        corner = (0, 0)
        if self.crop:
            image, corner = crop_centre(image, self.crop, record.id)
        cropped = (image.shape[0], image.shape[1])
        if self.size:
            image = resize(image, self.size)
        change = Change((height, width), corner, cropped, (image.shape[0], image.shape[1]))
        labels = resize_labels(record.labels, change, self.declared, sample=record.id)
        if change.changes and isinstance(objects := labels.get(OBJECTS), ImageAnnotations):
            labels[OBJECTS] = move_annotations(objects, change, record.id, self.declared)
        # Equalise last, on the pixels that are kept.
        if self.equalized:
            if image.dtype != np.uint8:
                raise ImageError(record.id, "has 16 bits; only 8-bit images are equalised")
            image = equalize(image)
        # A profile of colours says nothing about grey.
        return Record(record.id, image, labels, record.profile if image.ndim == record.image.ndim else b"")


class ChunkTask(NamedTuple):
    """A chunk to convert: (id, output name) of its samples, and its files."""

    samples: list[tuple[str, str]]
    files: ChunkFiles


class ChunkResult(NamedTuple):
    """Outcome of a converted chunk.

    Attributes:
        samples: number of samples.
        kinds: number of images by kind.
        moved, still: names of the labels that moved with an image that was cropped or resized, and of the others.
    """

    samples: int
    kinds: Counter[str]
    moved: set[str]
    still: set[str]


class ChunkConverter:
    """Function that converts one chunk; each process that calls it opens the data set once."""

    def __init__(self, source: Path, format: str | None, conversion: Conversion, stop_on_error: bool) -> None:
        self.source, self.format, self.conversion = source, format, conversion
        self.stop_on_error = stop_on_error
        self._dataset: Dataset | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dataset": None}

    def __call__(self, task: ChunkTask) -> ChunkResult:
        """Convert one chunk and write its files."""
        if self._dataset is None:
            self._dataset = self.conversion.open(self.source, self.format)
            cv2.setNumThreads(1)  # the processes share the cores
        self._losses: dict[str, Counter[str]] = {}
        self._keeps_profiles = task.files.folder is not None
        self._moved: set[str] = set()
        self._still: set[str] = set()
        samples = ((sample, name, partial(self._record, sample)) for sample, name in task.samples)
        lines = write_chunk(task.files, samples, losses=self._losses, stop_on_error=self.stop_on_error)
        return ChunkResult(len(lines), Counter(line.kind for line in lines if line.name), self._moved, self._still)

    def _record(self, sample: str) -> Record:
        assert self._dataset is not None
        record = self._dataset.read(sample)
        converted = self.conversion.apply(record)
        losses = Counter(squeezed=int(self.conversion.squeezes(record.image)))
        losses["profiles"] = int(bool(record.profile) and not (converted.profile and self._keeps_profiles))
        if converted.image.shape[:2] != record.image.shape[:2]:
            for name, value in record.labels.items():
                moved = converted.labels[name] is not value
                if isinstance(value, ImageAnnotations):
                    losses.update(count_losses(value, converted.labels[name])._asdict())
                (self._moved if moved else self._still).add(name)
        self._losses[sample] = losses
        return converted
