"""Store to store: the images refined, everything else carried over, and how far labels may have moved beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from refiner.core.errors import OutputError
from refiner.core.files import check_apart, remove_file, stamp
from refiner.core.parallel.executors import Engine
from refiner.core.parallel.shards import Shard
from refiner.data.formats.registry import open_dataset
from refiner.data.labels.drift import DriftLimit, LabelDrift, drift_columns, measure_label_drift
from refiner.data.labels.records import Labels
from refiner.data.labels.regions import LabelRegion
from refiner.data.labels.tables import write_rejected
from refiner.data.output.chunks import Chunks, Line, fingerprint, write_lines
from refiner.data.output.destinations import StoreDestination, open_store
from refiner.data.store.hdf5 import ImageKind, hdf5_errors, new_file, write_attributes
from refiner.data.store.reader import Store
from refiner.data.store.writer import ImageWriter, copy_store, join_images, write_numbers
from refiner.images.arrays import from_batch, to_batch
from refiner.inference.backends.batching import batch_size
from refiner.inference.refiner import Refiner, RefinerSource

CHUNK, CHUNK_PIXELS, CHUNK_WORK = 1024, 2**22, 2 * 10**11
"""Images in a part, and pixels, or multiplications of a processor, from which on there are fewer.

A part is what a kill costs on each worker, and what all but the last to finish wait for in the end.
"""

_SMALLEST_CHUNK = 16


def refine_store(
    source: Path,
    destination: Path,
    refiner: RefinerSource,
    *,
    engine: Engine,
    overwrite: bool,
    limit: DriftLimit,
    region: LabelRegion,
    shard: Shard | None,
    report: Callable[[int, int], None],
) -> tuple[int, int, int]:
    """Refine a store into a store; see :func:`refiner.inference.refine.refine_path`.

    A killed one goes on from its finished parts. A shard makes its share of the parts; the run that gathers joins them.

    Returns:
        Images refined now, images refined before, and how many of all were rejected.

    Raises:
        RefinerError: a store cannot be used.
    """
    store = open_dataset(source, format="store")
    assert isinstance(store, Store)
    region.check(source, store.label_names)
    count = len(store.images)
    drift = (str(limit.score), str(limit.keep), *map(str, region.job.items()))
    job = fingerprint(refiner.digest, str(stamp(source)), str(count), *drift)
    facts = {"refined_from": str(source), "refiner": refiner.digest}
    if limit.keep is not None:  # refused before hours of work, if anything but ours would be lost
        check_apart(destination, limit.keep)
        with open_store(source, limit.keep, attributes=facts, overwrite=overwrite, shard=shard) as kept:
            kept.finished(job)
    with open_store(source, destination, attributes=facts, overwrite=overwrite, shard=shard) as target:
        if (summary := target.finished(job)) is not None:
            report(count, count)
            return 0, count, int(summary or 0)
        size = _chunk_size(store.kind, refiner)
        parts = Chunks(target.chunks_folder, job=f"{job} by {size}", count=-(-count // size), shared=shard is not None)
        made, before = _make_chunks(parts, ChunkRefinement(refiner, store, parts, size, region), engine, shard, report)
        if shard is not None:
            return made, before, 0
        rejected = _finish(store, target, parts, {**facts, "job": job}, limit)
        parts.remove()
    return made, before, rejected


def _chunk_size(kind: ImageKind, refiner: RefinerSource) -> int:
    """Images in a part: whole batches, where there are several."""
    pixels = kind.height * kind.width
    size = min(CHUNK, CHUNK_PIXELS // pixels)
    if refiner.device == "cpu":
        size = min(size, CHUNK_WORK // max(1, refiner.architecture.multiplications(pixels)))
    size -= size % min(max(1, size), batch_size(refiner.architecture, kind.height, kind.width, refiner.device))
    return max(_SMALLEST_CHUNK, size)


def _make_chunks(
    parts: Chunks, work: "ChunkRefinement", engine: Engine, shard: Shard | None, report: Callable[[int, int], None]
) -> tuple[int, int]:
    """Make those that are missing; gives the images that were refined now, and before."""
    ours = [number for number in range(parts.count) if shard is None or shard.takes_part(number)]
    total = sum(map(len, map(work.images, ours)))
    todo = [number for number in ours if not parts.lines_path(number).exists()]
    before = done = total - sum(map(len, map(work.images, todo)))
    report(done, total)
    for images in engine.map(work, todo):
        done += images
        report(done, total)
    return done - before, before


@dataclass
class ChunkRefinement:
    """Makes one part of a store after another, in whatever process it finds itself.

    Attributes:
        source: the refiner.
        store: that is read.
        parts: where they go.
        size: images in each.
        region: where drift is read.
    """

    source: RefinerSource
    store: Store
    parts: Chunks
    size: int
    region: LabelRegion
    refiner: Refiner | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "refiner": None}

    def images(self, number: int) -> range:
        """Numbers of the images of a part."""
        return range(number * self.size, min((number + 1) * self.size, len(self.store.images)))

    def __call__(self, number: int) -> int:
        """Make a part; gives its number of images.

        Raises:
            ImageError: an image is damaged.
            OutputError: the disk refuses.
        """
        self.refiner = self.refiner or self.source.open()
        chosen = self.images(number)
        names = self.store.read_ids(chosen)
        labels = [{} for _ in chosen] if self.region.mask else _points(self.store, chosen, self.region.names)
        size = self.refiner.batch_size(self.store.kind.height, self.store.kind.width)
        drifts: list[LabelDrift] = []
        with ImageWriter(self.parts.images_path(number)) as writer:
            for start in range(0, len(chosen), size):
                batch = slice(start, start + size)
                images, found = self._refined(self.refiner, chosen[batch], names[batch], labels[batch])
                for image in images:
                    writer.append(image)
                drifts += found
        rows = zip(names, drifts, strict=True)
        write_lines(self.parts.lines_path(number), (Line(name, cells=drift.to_line()) for name, drift in rows))
        return len(chosen)

    def _refined(
        self, refiner: Refiner, chosen: range, names: Sequence[str], labels: Sequence[Labels]
    ) -> tuple[list[Any], list[LabelDrift]]:
        images = self.store.read_range(chosen)
        before = to_batch(images, refiner.channels)
        planes = refiner.refine_batch(before)
        size = (self.store.kind.height, self.store.kind.width)
        watched = [self.region.watched(name, row, size) for name, row in zip(names, labels, strict=True)]
        drifts = measure_label_drift(before, planes, watched)
        return from_batch(planes, images), drifts


def _points(store: Store, chosen: range, names: Sequence[str]) -> list[Labels]:
    """The labelled points of some images, where the store has any; read at once, for HDF5 is slow row by row."""
    labels: list[Labels] = [{} for _ in chosen]
    for name in names:
        values = store.file["labels"][name] if name in store.label_names else None
        if isinstance(values, h5py.Dataset) and values.dtype.kind == "f" and len(values.shape) > 1:
            for row, points in zip(labels, values[chosen.start : chosen.stop], strict=False):
                row |= {name: points} if np.isfinite(points).any() else {}
    return labels


def _finish(
    store: Store, target: StoreDestination, parts: Chunks, attributes: dict[str, str], limit: DriftLimit
) -> int:
    """Join the parts, and list the rejects beside the store; gives their number."""
    drifts, passing = np.empty((len(store.images), 4)), np.ones(len(store.images), bool)
    rejected = []
    for number, line in enumerate(parts.lines()):
        drift = LabelDrift.from_line(line.cells)
        drifts[number] = drift.numbers
        if limit.rejects(drift):
            passing[number] = False
            rejected.append((line.source, "drift", limit.reason(drift)))
    if not passing.any():
        raise OutputError(
            f"{target.path}: is not written, for no label of {len(drifts)} images passes; the first {rejected[0][2]}"
        )
    if rejected:
        write_rejected(target.rejected_path, rejected)
        if limit.keep is not None:
            _join(store, limit.keep, parts, {**attributes, "summary": ""}, drifts, ~passing)
    else:
        remove_file(target.rejected_path)
    _join(store, target.path, parts, {**attributes, "summary": str(len(rejected))}, drifts, passing)
    return len(rejected)


def _join(store: Store, path: Path, parts: Chunks, attributes: dict[str, str], drifts: Any, chosen: Any) -> None:
    """Write a store of the chosen images, a boolean array, last of all under its name."""
    temporary = parts.folder / "store.h5"
    with hdf5_errors(path):
        with new_file(temporary) as file:
            copy_store(store.file, file, None if chosen.all() else chosen)
            join_images(file, store.kind, int(chosen.sum()), parts.images(), None if chosen.all() else chosen)
            for name, values in drift_columns(drifts[chosen]).items():
                write_numbers(file, name, values)
            write_attributes(file, attributes)
        temporary.replace(path)
