"""Refinement of a store into a store, chunk by chunk; labels and attributes are copied, and label drift is added."""

import contextlib
import itertools
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from refiner.core.errors import DataError, OutputError
from refiner.core.files import check_apart, content_digest
from refiner.core.parallel.executors import Engine
from refiner.core.parallel.shards import Shard
from refiner.data.drift.measurement import measure_label_drift
from refiner.data.drift.regions import LabelRegion
from refiner.data.drift.table import (
    OBJECT_DRIFT,
    DriftLimit,
    LabelDrift,
    UnknownObjects,
    drift_columns,
    object_drift,
    tell_unknown,
)
from refiner.data.formats.registry import open_dataset
from refiner.data.labels.objects import OBJECTS
from refiner.data.labels.records import Labels, from_cells
from refiner.data.output.chunks import Chunks, Line, fingerprint, write_lines
from refiner.data.output.destinations import StoreDestination, open_store
from refiner.data.store.columns import to_text
from refiner.data.store.hdf5 import ImageKind, new_file, text_attribute, write_attributes
from refiner.data.store.reader import Store
from refiner.data.store.writer import ImageWriter, copy_store, join_images, write_numbers, write_texts
from refiner.images.arrays import from_batch, to_batch
from refiner.inference.backends.batching import batch_size
from refiner.inference.refiner import Refiner, RefinerSource
from refiner.inference.settings import Settings, settle

log = logging.getLogger(__name__)

CHUNK = 1024
"""Largest number of images in a chunk.

A killed worker loses at most one chunk, and at the end all workers wait for the last chunk.
"""

CHUNK_PIXELS = 2**22
"""Largest number of pixels in a chunk."""

CHUNK_MULTIPLICATIONS = 2 * 10**11
"""Largest number of multiplications in a chunk on the CPU."""

_SMALLEST_CHUNK = 16

_ROWS = 4096  # label rows in memory at a time


def refine_store(
    source: Path,
    destination: Path,
    refiner: RefinerSource,
    requested: tuple[str, str],
    *,
    engine: Engine,
    overwrite: bool,
    limit: DriftLimit,
    region: LabelRegion,
    shard: Shard | None,
    report: Callable[[int, int], None],
) -> tuple[int, int, int]:
    """Refine a store into a store; see :func:`refiner.inference.refine.refine_path`.

    An interrupted job resumes after its finished chunks. A shard makes its share of the chunks; the run without a shard
    makes the missing ones and joins all of them.

    Returns:
        Numbers of images refined by this run, refined earlier, and rejected in total.

    Raises:
        DataError: the source is missing or damaged.
        OutputError: the destination cannot be written, exists with other content, or would hold no image.
    """
    store = open_dataset(source, format="store")
    assert isinstance(store, Store)
    region = region.check(source, store.label_names, partial(_values, store))
    if region.mask is not None:
        region.check_masks(source, store.ids)
    count = len(store.images)
    with contextlib.ExitStack() as stack:
        # Open the store for rejected images now: an error must not come after hours of work.
        opened = partial(open_store, source, attributes={}, overwrite=overwrite, shard=shard)
        kept = None
        if limit.keep is not None:
            check_apart(destination, limit.keep)
            kept = stack.enter_context(opened(limit.keep))
        output = stack.enter_context(opened(destination))
        refiner = settle(refiner, destination, requested, anew=overwrite and shard is None)
        # The fingerprint of everything that the result depends on tells whether this job is finished already.
        drift_options = (
            str(limit.score),
            str(limit.keep),
            *map(str, region.job.items()),
            *_mask_digests(store, region),
        )
        job = fingerprint(refiner.digest, content_digest(source), str(count), *drift_options)
        if kept is not None:
            kept.finished(job)
        if (summary := output.finished(job)) is not None:
            report(count, count)
            return 0, count, int(summary or 0)
        output.claim([])
        # Refine the chunks that are not finished.
        size = _chunk_size(store.kind, refiner)
        chunks = Chunks(output.chunks_folder, job=f"{job} by {size}", count=-(-count // size), shared=shard is not None)
        refinement = ChunkRefinement(refiner, store, chunks, size, region)
        refined, skipped = _make_chunks(chunks, refinement, engine, shard, report)
        if shard is not None:
            return refined, skipped, 0
        # Join all chunks into the store.
        attributes = {
            "refined_from": str(source),
            "refiner": refiner.digest,
            "settings": json.dumps(Settings.of(refiner.backend, refiner.device)),
            "rejected_kept_in": "" if limit.keep is None else str(limit.keep.resolve()),
            "job": job,
        }
        rejected = _join_chunks(store, output, kept, chunks, attributes, limit)
        chunks.remove()
    return refined, skipped, rejected


def _mask_digests(store: Store, region: LabelRegion) -> list[str]:
    """Return the digest of each image's own mask, if there is a folder of masks."""
    return [region.digest(name, {}) for name in store.ids] if region.mask is not None and region.mask.is_dir() else []


def _chunk_size(kind: ImageKind, refiner: RefinerSource) -> int:
    """Return the number of images in a chunk: whole batches, unless one batch is larger than a chunk."""
    pixels = kind.height * kind.width
    size = min(CHUNK, CHUNK_PIXELS // pixels)
    if refiner.device == "cpu":
        size = min(size, CHUNK_MULTIPLICATIONS // max(1, refiner.architecture.multiplications(pixels)))
    size -= size % min(max(1, size), batch_size(refiner.architecture, kind.height, kind.width, refiner.device))
    return max(_SMALLEST_CHUNK, size)


def _make_chunks(
    chunks: Chunks,
    refinement: "ChunkRefinement",
    engine: Engine,
    shard: Shard | None,
    report: Callable[[int, int], None],
) -> tuple[int, int]:
    """Make the missing chunks; return the numbers of images refined now and earlier."""
    numbers = [number for number in range(chunks.count) if shard is None or shard.takes_chunk(number)]
    total = sum(map(len, map(refinement.images, numbers)))
    todo = [number for number in numbers if not chunks.lines_path(number).exists()]
    skipped = done = total - sum(map(len, map(refinement.images, todo)))
    report(done, total)
    for image_count in engine.map(refinement, todo):
        done += image_count
        report(done, total)
    return done - skipped, skipped


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
        for row, value in zip(labels, _values(store, name, indices), strict=False):
            row[name] = value
    return labels


def _values(store: Store, name: str, indices: range | None = None) -> Iterator[Any]:
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


def _join_chunks(
    store: Store,
    output: StoreDestination,
    kept: StoreDestination | None,
    chunks: Chunks,
    attributes: dict[str, str],
    limit: DriftLimit,
) -> int:
    """Join the chunks into a store, and list the rejected images in a table; return their number."""
    # Collect the drift of all images, and reject those above the limit.
    drifts, passing = np.empty((len(store.images), 5)), np.ones(len(store.images), bool)
    rejected, unknown, objects = [], [], UnknownObjects()
    lines = ((line.source, LabelDrift.from_line(line.cells)) for line in chunks.lines())
    for number, (name, drift) in enumerate(objects.count(lines)):
        if not drift.known:
            unknown.append(name)
        drifts[number] = drift.numbers
        if limit.rejects(drift):
            passing[number] = False
            rejected.append((name, "drift", limit.reason(drift)))
    tell_unknown(unknown, len(drifts))
    objects.tell()
    if not passing.any():
        raise OutputError(
            f"{output.path} was not written: all {len(drifts)} images exceed the limit of label drift; "
            f"in the first, {rejected[0][2]}"
        )
    # Write the rejected images first: the store under its final name marks the job as finished.
    output.write_rejected(rejected)
    if kept is not None and rejected:
        kept.place(lambda path: _write_store(store, path, chunks, {**attributes, "summary": ""}, drifts, ~passing))
        shutil.rmtree(kept.chunks_folder, ignore_errors=True)
    elif kept is not None:
        kept.discard()
    before = text_attribute(output.path, "rejected_kept_in")
    if before and before != attributes["rejected_kept_in"] and Path(before).is_file():
        log.warning("%s still holds images that an earlier run rejected; delete it if you do not need them", before)
    summary = {"summary": str(len(rejected))}
    output.place(lambda path: _write_store(store, path, chunks, {**attributes, **summary}, drifts, passing))
    return len(rejected)


def _write_store(store: Store, path: Path, chunks: Chunks, attributes: dict[str, str], drifts: Any, mask: Any) -> None:
    """Write a store of the images where ``mask``, (N,) boolean, is True."""
    with new_file(path) as file:
        copy_store(store.file, file, None if mask.all() else mask)
        join_images(file, store.kind, int(mask.sum()), chunks.images(), None if mask.all() else mask)
        for name, values in drift_columns(drifts[mask]).items():
            write_numbers(file, name, values)
        if OBJECTS in store.label_names:
            lines = itertools.compress(chunks.lines(), mask)
            texts = (object_drift(LabelDrift.from_line(line.cells)) for line in lines)
            write_texts(file, OBJECT_DRIFT, texts, int(mask.sum()))
        write_attributes(file, attributes)
