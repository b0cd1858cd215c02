"""The work of one process on one task: read some image files, refine them, and write them.

Refined files keep their names, sizes, bit depths, channels and file types.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from refiner.core.errors import ImageError
from refiner.core.files import content_digest
from refiner.data.drift.measurement import measure_label_drift
from refiner.data.drift.regions import LabelRegion
from refiner.data.drift.table import DriftLimit, LabelDrift
from refiner.data.folders.labels import FolderLabels
from refiner.data.labels.records import Labels
from refiner.images.arrays import from_batch, to_batch
from refiner.images.io import LOSSLESS, Image, is_lossless_webp, read_picture, write_image
from refiner.inference.refiner import Refiner, RefinerSource, is_deep


class FileTask(NamedTuple):
    """A group of images that one process refines.

    Attributes:
        names: paths of the images relative to the folder.
        labels: labels of the images, if the folder has any.
    """

    names: Sequence[str]
    labels: FolderLabels | None


class Outcome(NamedTuple):
    """The outcome of one image.

    Attributes:
        name: path of the image relative to the folder.
        stamp: digests of what was read, see :func:`image_stamp`; empty if the image was not refined.
        drift: label drift; None if the image was not refined.
        stage, reason: stage and reason of a rejection; empty if the image was written.
    """

    name: str
    stamp: str = ""
    drift: LabelDrift | None = None
    stage: str = ""
    reason: str = ""


class _Read(NamedTuple):
    """An image that was read, with its stamp, its colour profile, and the points or the mask that are watched."""

    name: str
    stamp: str
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
        waiting: dict[tuple[int, int, bool], list[_Read]] = {}
        for name in task.names:
            try:
                read = self._read(name, labels.get(name, {}))
            except ImageError as error:
                yield Outcome(name, stage="read", reason=error.reason)
                continue
            height, width, deep = kind = *read.image.shape[:2], is_deep(read.image)
            waiting.setdefault(kind, []).append(read)
            if len(waiting[kind]) == self.refiner.batch_size(height, width, deep=deep):
                yield from self._refine(self.refiner, waiting.pop(kind))
        # Refine the batches that are not full.
        for batch in waiting.values():
            yield from self._refine(self.refiner, batch)

    def _read(self, name: str, labels: Labels) -> _Read:
        # The stamp comes first: if the file changes while it is read, the next run refines it again.
        stamp = image_stamp(self.inputs, self.region, name, labels)
        image, profile = read_picture(self.inputs / name)
        return _Read(name, stamp, image, profile, self.region.watched(name, labels, image.shape[:2]))

    def _refine(self, refiner: Refiner, batch: Sequence[_Read]) -> Iterator[Outcome]:
        originals = [read.image for read in batch]
        # Refine the batch.
        before = to_batch(originals, refiner.channels)
        try:
            after = refiner.refine_batch(before, deep=is_deep(originals[0]))
        except (RuntimeError, MemoryError) as error:  # one image that is too large must not stop the others
            reason = f"cannot be refined, as the network failed ({str(error)[:100]})"
            yield from (Outcome(read.name, stage="refine", reason=reason) for read in batch)
            return
        # Measure the drift of the labels, and write the images.
        drifts = measure_label_drift(before, after, [read.watched for read in batch])
        for read, drift, refined in zip(batch, drifts, from_batch(after, originals), strict=True):
            yield Outcome(read.name, read.stamp, drift, *self._write(read, drift, refined))

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


def image_stamp(folder: Path, region: LabelRegion, name: str, labels: Labels) -> str:
    """Return the digest of an image file, and after a space that of the points or the mask that are watched in it.

    Args:
        folder: the folder of the image.
        region: the pixels or points whose drift is measured.
        name: path of the image relative to the folder.
        labels: labels of the image.
    """
    return f"{content_digest(folder / name)} {region.digest(name, labels)}".rstrip()
