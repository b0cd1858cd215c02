"""The work of one process on one task: read some image files, refine them, and write them.

Refined files keep their names, sizes, bit depths, channels and file types.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from refiner.core.errors import ImageError
from refiner.core.files import Stamp
from refiner.data.labels.drift_table import DriftLimit, LabelDrift, measure_label_drift
from refiner.data.labels.records import Labels
from refiner.data.labels.regions import LabelRegion
from refiner.data.labels.tables import LabelTable
from refiner.images.arrays import from_batch, to_batch
from refiner.images.io import LOSSLESS, Image, is_lossless_webp, read_picture, write_image
from refiner.inference.refiner import Refiner, RefinerSource


class FileTask(NamedTuple):
    """A group of images that one process refines.

    Attributes:
        stamps: size and time of the input files, by name.
        labels: labels of the images, if the folder has any.
    """

    stamps: Mapping[str, Stamp]
    labels: LabelTable | None


class Outcome(NamedTuple):
    """The outcome of one image.

    Attributes:
        name: path of the image relative to the folder.
        stamp: size and time of the input file.
        drift: label drift; None if the image was not refined.
        stage, reason: stage and reason of a rejection; empty if the image was written.
    """

    name: str
    stamp: Stamp
    drift: LabelDrift | None = None
    stage: str = ""
    reason: str = ""


class _Read(NamedTuple):
    """An image that was read, with its colour profile, and the points or the mask whose drift is measured."""

    name: str
    image: Image
    profile: bytes
    watched: Labels


@dataclass
class FileRefinement:
    """A function that refines the images of a task; each process opens the refiner once.

    Attributes:
        source: the refiner and its settings.
        inputs, outputs: folders of the original and the refined images.
        kept: folder for images with too much drift; None drops them.
        quality: quality of JPEG and WebP files.
        limit: largest accepted label drift.
        region: the pixels or points whose drift is measured.
        refiner: the opened refiner; not sent to other processes.
    """

    source: RefinerSource
    inputs: Path
    outputs: Path
    kept: Path | None
    quality: int
    limit: DriftLimit
    region: LabelRegion
    refiner: Refiner | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "refiner": None}

    def __call__(self, task: FileTask) -> list[Outcome]:
        """Refine the images of a task.

        Returns:
            The outcomes, in the order in which the images were finished.

        Raises:
            OutputError: an image cannot be written, for example because the disk is full.
        """
        return list(self._outcomes(task))

    def _outcomes(self, task: FileTask) -> Iterator[Outcome]:
        self.refiner = self.refiner or self.source.open()
        labels = {} if task.labels is None else task.labels.sound_rows()  # damaged rows do not matter for refining
        # Read images, and refine each size as soon as a batch is full.
        waiting: dict[tuple[int, ...], list[_Read]] = {}
        for name, stamp in task.stamps.items():
            try:
                read = self._read(name, labels.get(name, {}))
            except ImageError as error:
                yield Outcome(name, stamp, stage="read", reason=error.reason)
                continue
            size = read.image.shape[:2]
            waiting.setdefault(size, []).append(read)
            if len(waiting[size]) == self.refiner.batch_size(*size):
                yield from self._refine(self.refiner, waiting.pop(size), task)
        # Refine the batches that are not full.
        for batch in waiting.values():
            yield from self._refine(self.refiner, batch, task)

    def _read(self, name: str, labels: Labels) -> _Read:
        image, profile = read_picture(self.inputs / name)
        return _Read(name, image, profile, self.region.watched(name, labels, image.shape[:2]))

    def _refine(self, refiner: Refiner, batch: Sequence[_Read], task: FileTask) -> Iterator[Outcome]:
        originals = [read.image for read in batch]
        # Refine the batch.
        before = to_batch(originals, refiner.channels)
        try:
            after = refiner.refine_batch(before)
        except (RuntimeError, MemoryError) as error:  # one image that is too large must not stop the others
            reason = f"cannot be refined, as the network failed ({str(error)[:100]})"
            yield from (Outcome(read.name, task.stamps[read.name], None, "refine", reason) for read in batch)
            return
        # Measure the drift of the labels, and write the images.
        drifts = measure_label_drift(before, after, [read.watched for read in batch])
        for read, drift, refined in zip(batch, drifts, from_batch(after, originals), strict=True):
            yield Outcome(read.name, task.stamps[read.name], drift, *self._write(read, drift, refined))

    def _write(self, read: _Read, drift: LabelDrift, refined: Image) -> tuple[str, str]:
        """Write a refined image; return stage and reason if it is rejected, else two empty strings."""
        rejected = self.limit.rejects(drift)
        folder = self.kept if rejected else self.outputs
        try:
            if folder is not None:
                quality = LOSSLESS if is_lossless_webp(self.inputs / read.name) else self.quality
                write_image(folder / read.name, refined, quality=quality, profile=read.profile)
        except ImageError as error:
            return "write", error.reason
        return ("drift", self.limit.reason(drift)) if rejected else ("", "")
