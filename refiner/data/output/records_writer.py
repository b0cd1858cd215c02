"""Writer of generated records, such as renders, to a folder or a store."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.errors import WrongOutputError
from refiner.core.files import TEMPORARY_PREFIX, remove_file
from refiner.data.annotations.coco import writer as coco_writer
from refiner.data.annotations.source import LabelledImage
from refiner.data.labels.objects import AnnotationInfo
from refiner.data.labels.records import PAIRS, Labels, Record
from refiner.data.labels.tables import LABELS_FILE, write_labels
from refiner.data.output.chunks import Chunks, fingerprint, write_chunk
from refiner.data.output.store_destination import open_store
from refiner.images.io import write_image

WRITE_AHEAD = 256
"""Largest number of records that wait to be written."""

CHUNK = 1024
"""Images in a chunk of a store: the most that a killed run loses."""

Report = Callable[[int, int], None]
"""Callback for progress: the number of finished records, and of all records."""


_FOLDER_FILES = re.compile(r"\d{6,}\.png|labels\.csv|annotations\.json")


def write_folder(
    out: Path,
    records: Iterator[Record],
    count: int,
    *,
    labelled: bool,
    info: AnnotationInfo | None = None,
    overwrite: bool = False,
    report: Report,
) -> None:
    """Write records as image files.

    Args:
        out: the folder, empty or missing.
        records: the records; their ids are the file names.
        count: number of records, for the report.
        labelled: also write the labels, last: ``labels.csv``, or ``annotations.json`` if there are annotated objects.
        info: facts about the annotated objects; None if the records have other labels.
        overwrite: first delete the numbered images and the labels of an earlier call.
        report: called after each record.

    Raises:
        OutputError: the folder is not empty, holds other files, or cannot be written.
    """
    make_empty(out, _FOLDER_FILES, overwrite=overwrite)
    labels: dict[str, Labels] = {}
    images: list[LabelledImage] = []
    with ThreadPoolExecutor(2) as pool:
        for done, (record, _) in enumerate(written_ahead(pool, records, lambda r: write_image(out / r.id, r.image)), 1):
            if info is None:
                labels[record.id] = _rounded(record).labels
            else:
                images.append(LabelledImage(record.id, record.image.shape[:2], record.labels))
            report(done, count)
    if labelled and info is not None:
        coco_writer.write(out, images, info)
    elif labelled:
        write_labels(out / LABELS_FILE, labels)


def write_store(
    out: Path,
    records: Callable[[int, int], Iterator[Record]],
    count: int,
    *,
    job: str,
    info: AnnotationInfo | None = None,
    overwrite: bool,
    report: Report,
) -> None:
    """Write records as a store; a killed run resumes from its finished chunks.

    Args:
        out: the store.
        records: function from a first number and an end to the records in between.
        count: number of records.
        job: parameters that the records depend on, as one text.
        info: facts about the annotated objects; None if the records have other labels.
        overwrite: replace an existing store.
        report: called with the number of finished records and ``count``.

    Raises:
        OutputError: another file is there, or the store cannot be written.
    """
    attributes = {"source": "procedural renders of simgan-refiner", "licence": "none needed", "parameters": job}
    attributes |= {} if info is None else {"annotations": info.to_json()}
    with open_store(None, out, attributes=attributes, overwrite=overwrite) as destination:
        if destination.finished(fingerprint(job)) is not None:
            report(count, count)
            return
        destination.claim([])
        # Make the missing chunks.
        chunks = Chunks(destination.chunks_folder, job=fingerprint(job), count=-(-count // CHUNK))
        unfinished = set(chunks.unfinished())
        report(0, count)
        for number in range(chunks.count):
            end = min((number + 1) * CHUNK, count)
            if number in unfinished:
                samples = ((r.id, r.id, partial(_rounded, r)) for r in records(number * CHUNK, end))
                write_chunk(chunks.files(number, None), samples)
            report(end, count)
        # Join them into the store.
        destination.finish(chunks, fingerprint(job), "")


def _rounded(record: Record) -> Record:
    """Return the record with its arrays rounded to thousandths, which keeps tables of outlines small."""
    arrays = {name: value for name, value in record.labels.items() if isinstance(value, np.ndarray)}
    rounded = {name: np.round(value, 3) for name, value in arrays.items() if name not in PAIRS}
    return replace(record, labels=record.labels | rounded)


def make_empty(out: Path, written: re.Pattern[str], *, overwrite: bool) -> None:
    """Check that a folder is empty or missing, or delete the files that an earlier call wrote into it.

    Args:
        out: the folder.
        written: pattern of the names that a call writes.
        overwrite: delete such files. Nothing is deleted if the folder also holds other files.

    Raises:
        OutputError: the folder is not empty, holds other files, or is a file.
    """
    # Check everything first, so that nothing is deleted if one file is in the way.
    if out.exists() and not out.is_dir():
        raise WrongOutputError(f"{out} already exists and is a file; choose another name")
    found = sorted(out.iterdir()) if out.exists() else []
    if found and not overwrite:
        raise WrongOutputError(
            f"{out} already exists and is not empty; choose another folder, or pass --overwrite to replace its images"
        )
    for file in found:
        own = written.fullmatch(file.name) or file.name.startswith(TEMPORARY_PREFIX)
        if not own or not (file.is_file() or file.is_symlink()):
            raise WrongOutputError(
                f"{out} holds {file.name}, which this command does not write, so --overwrite deletes nothing; choose "
                "another folder"
            )
    for file in found:
        remove_file(file)


def written_ahead(
    pool: ThreadPoolExecutor, items: Iterator[Any], write: Callable[[Any], None]
) -> Iterator[tuple[Any, None]]:
    """Write items in the background and yield each once it is written; at most ``WRITE_AHEAD`` are pending."""
    pending: list[tuple[Any, Any]] = []
    # Yield the oldest item once enough are pending, then the rest.
    for item in items:
        pending.append((item, pool.submit(write, item)))
        if len(pending) >= WRITE_AHEAD:
            first, future = pending.pop(0)
            yield first, future.result()
    for first, future in pending:
        yield first, future.result()
