"""Refinement of a store into a store, chunk by chunk; labels and attributes are copied, and label drift is added."""

import contextlib
import itertools
import json
import logging
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.errors import OutputError
from refiner.core.files import check_apart, content_digest
from refiner.core.parallel.executors import Engine
from refiner.core.parallel.shards import Shard
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
from refiner.data.output.chunks import Chunks, fingerprint
from refiner.data.output.store_destination import StoreDestination, open_store
from refiner.data.store.hdf5 import ImageKind, new_file, text_attribute, write_attributes
from refiner.data.store.reader import Store
from refiner.data.store.writer import copy_store, join_images, write_numbers, write_texts
from refiner.inference.backends.batching import batch_size
from refiner.inference.jobs.settings import Settings, settle
from refiner.inference.jobs.store_worker import ChunkRefinement, label_values
from refiner.inference.refiner import RefinerSource

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
    """Refine a store into a store; see :func:`refiner.inference.jobs.refine.refine_path`.

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
    region = region.check(source, store.label_names, partial(label_values, store))
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
        job = _job(refiner, source, store, limit, region)
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


def _job(refiner: RefinerSource, source: Path, store: Store, limit: DriftLimit, region: LabelRegion) -> str:
    """Return the fingerprint of everything that the result depends on; it tells whether a job is finished already."""
    options = [str(limit.score), str(limit.keep), *map(str, region.job.items())]
    if region.mask is not None and region.mask.is_dir():  # each image has a mask of its own
        options += [region.digest(name, {}) for name in store.ids]
    return fingerprint(refiner.digest, content_digest(source), str(len(store.images)), *options)


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
