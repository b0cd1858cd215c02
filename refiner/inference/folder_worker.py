"""Some image files of a folder through a refiner: the work of one process on one task.

What comes in goes out: the same name, size, depth, channels and file type.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from refiner.core.errors import ImageError
from refiner.core.files import Stamp
from refiner.data.labels.drift import DriftLimit, LabelDrift, measure_label_drift
from refiner.data.labels.records import Labels
from refiner.data.labels.regions import LabelRegion
from refiner.data.labels.tables import LabelTable
from refiner.images.arrays import from_batch, to_batch
from refiner.images.io import LOSSLESS, Image, is_lossless_webp, read_image, write_image
from refiner.inference.refiner import Refiner, RefinerSource


class FileTask(NamedTuple):
    """Images that are refined in one go.

    Attributes:
        stamps: of the inputs, by name.
        labels: of them, where there are any.
    """

    stamps: Mapping[str, Stamp]
    labels: LabelTable | None


class Outcome(NamedTuple):
    """What became of one image.

    Attributes:
        name: below the folder.
        stamp: of the input.
        drift: how far its label may have moved; None where it was not refined.
        stage, reason: of what was rejected; empty for what was written.
    """

    name: str
    stamp: Stamp
    drift: LabelDrift | None = None
    stage: str = ""
    reason: str = ""


class _Read(NamedTuple):
    """One image on its way through the network."""

    name: str
    image: Image
    watched: Labels


@dataclass
class FileRefinement:
    """Reads, refines and writes the images of one task after another, in whatever process it finds itself.

    Attributes:
        source: the refiner.
        inputs, outputs: folders.
        kept: where images go that do not pass; None drops them.
        quality: of JPEG and WebP.
        limit: on drift.
        region: where drift is read.
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
        """Refine the images of a task; in the order in which they are done.

        Raises:
            OutputError: the disk refuses.
        """
        return list(self._outcomes(task))

    def _outcomes(self, task: FileTask) -> Iterator[Outcome]:
        self.refiner = self.refiner or self.source.open()
        labels = {} if task.labels is None else task.labels.sound_rows()  # refining does not need the others
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
        for batch in waiting.values():
            yield from self._refine(self.refiner, batch, task)

    def _read(self, name: str, labels: Labels) -> _Read:
        image = read_image(self.inputs / name)
        return _Read(name, image, self.region.watched(name, labels, image.shape[:2]))

    def _refine(self, refiner: Refiner, batch: Sequence[_Read], task: FileTask) -> Iterator[Outcome]:
        originals = [read.image for read in batch]
        planes = to_batch(originals, refiner.channels)
        try:
            refined = refiner.refine_batch(planes)
        except (RuntimeError, MemoryError) as error:  # memory: one large image must not stop the others
            reason = f"the network failed on it ({str(error)[:100]})"
            yield from (Outcome(read.name, task.stamps[read.name], None, "refine", reason) for read in batch)
            return
        drifts = measure_label_drift(planes, refined, [read.watched for read in batch])
        for read, drift, picture in zip(batch, drifts, from_batch(refined, originals), strict=True):
            yield Outcome(read.name, task.stamps[read.name], drift, *self._write(read, drift, picture))

    def _write(self, read: _Read, drift: LabelDrift, refined: Image) -> tuple[str, str]:
        """Write a refined image where it belongs; the stage and the reason of one that is rejected."""
        doubtful = self.limit.rejects(drift)
        folder = self.kept if doubtful else self.outputs
        try:
            if folder is not None:
                quality = LOSSLESS if is_lossless_webp(self.inputs / read.name) else self.quality
                write_image(folder / read.name, refined, quality=quality)
        except ImageError as error:
            return "write", error.reason
        return ("drift", self.limit.reason(drift)) if doubtful else ("", "")
