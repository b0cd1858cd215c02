"""The work of one process on one chunk of a store: read its images, refine them, and write them."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from refiner.core.errors import DataError
from refiner.data.drift.measurement import measure_label_drift
from refiner.data.drift.regions import LabelRegion
from refiner.data.drift.table import LabelDrift
from refiner.data.labels.records import Labels, from_cells
from refiner.data.output.chunks import Chunks, Line, write_lines
from refiner.data.store.columns import to_text
from refiner.data.store.reader import Store
from refiner.data.store.writer import ImageWriter
from refiner.images.arrays import from_batch, to_batch
from refiner.inference.refiner import Refiner, RefinerSource

_ROWS = 4096  # label rows in memory at a time


@dataclass
class ChunkRefinement:
    """A function that refines one chunk of a store; each process opens the refiner once.

    Attributes:
        source: the refiner and its settings.
        store: the store with the original images.
        chunks: the folder of the refined chunks.
        size: number of images in a chunk.
        region: the pixels or points whose drift is measured.
        refiner: the opened refiner; not sent to other processes.
    """

    source: RefinerSource
    store: Store
    chunks: Chunks
    size: int
    region: LabelRegion
    refiner: Refiner | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "refiner": None}

    def images(self, number: int) -> range:
        """Return the indices of the images of a chunk."""
        return range(number * self.size, min((number + 1) * self.size, len(self.store.images)))

    def __call__(self, number: int) -> int:
        """Refine and write a chunk.

        Returns:
            The number of its images.

        Raises:
            ImageError: an image is damaged.
            OutputError: the chunk cannot be written, for example because the disk is full.
        """
        self.refiner = self.refiner or self.source.open()
        indices = self.images(number)
        names = self.store.read_ids(indices)
        labels = [{} for _ in indices] if self.region.mask else _points(self.store, indices, self.region.names)
        kind = self.store.kind
        size = self.refiner.batch_size(kind.height, kind.width, deep=kind.bits == 16)
        drifts: list[LabelDrift] = []
        # Refine batch by batch.
        with ImageWriter(self.chunks.images_path(number)) as writer:
            for start in range(0, len(indices), size):
                batch = slice(start, start + size)
                refined, batch_drifts = self._refine(self.refiner, indices[batch], names[batch], labels[batch])
                for image in refined:
                    writer.append(image)
                drifts += batch_drifts
        # The lines come last: they mark the chunk as finished.
        rows = zip(names, drifts, strict=True)
        write_lines(self.chunks.lines_path(number), (Line(name, cells=drift.to_line()) for name, drift in rows))
        return len(indices)

    def _refine(
        self, refiner: Refiner, indices: range, names: Sequence[str], labels: Sequence[Labels]
    ) -> tuple[list[Any], list[LabelDrift]]:
        originals = self.store.read_range(indices)
        before = to_batch(originals, refiner.channels)
        after = refiner.refine_batch(before, deep=self.store.kind.bits == 16)
        size = (self.store.kind.height, self.store.kind.width)
        watched = [self.region.watched(name, row, size) for name, row in zip(names, labels, strict=True)]
        drifts = measure_label_drift(before, after, watched)
        return from_batch(after, originals), drifts


def _points(store: Store, indices: range, names: Sequence[str]) -> list[Labels]:
    """Read the labelled points of some images, if the store has any; all at once, as HDF5 is slow row by row."""
    labels: list[Labels] = [{} for _ in indices]
    for name in names:
        for row, value in zip(labels, label_values(store, name, indices), strict=False):
            row[name] = value
    return labels


def label_values(store: Store, name: str, indices: range | None = None) -> Iterator[Any]:
    """Iterate over the values of a label, of some images or of all; arrays of several shapes are stored as text."""
    values = store.file["labels"][name] if name in store.label_names else None
    if not isinstance(values, h5py.Dataset):
        return
    cells = str(values.attrs.get("cells", "float"))
    for start in range(0, len(values), _ROWS) if indices is None else [indices.start]:
        for value in values[start : start + _ROWS if indices is None else indices.stop]:
            if np.ndim(value):
                yield value
                continue
            text = to_text(value, "text" if isinstance(value, bytes) else cells)
            with contextlib.suppress(DataError):  # a damaged label has no point
                yield from_cells({name: text}, name).get(name, text)
                continue
            yield text
