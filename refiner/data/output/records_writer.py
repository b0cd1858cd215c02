"""Records that a program makes, such as renders, written as a folder or as a store."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from refiner.core.errors import OutputError
from refiner.data.labels.records import Labels, Record
from refiner.data.labels.tables import LABELS_FILE, write_labels
from refiner.data.output.chunks import Chunks, fingerprint, write_chunk
from refiner.data.output.destinations import open_store
from refiner.images.io import write_image

WRITE_AHEAD = 256
"""Images that wait to be written, at most."""

CHUNK = 1024
"""Images in a part of a store: what a kill costs."""

Report = Callable[[int, int], None]


def write_folder(out: Path, records: Iterator[Record], count: int, *, labelled: bool, report: Report) -> None:
    """Write records as PNG files, with ``labels.csv`` when ``labelled``.

    Raises:
        OutputError: the folder holds something already, or cannot be written.
    """
    check_empty(out)
    labels: dict[str, Labels] = {}
    with ThreadPoolExecutor(2) as pool:
        for done, (record, _) in enumerate(written_ahead(pool, records, lambda r: write_image(out / r.id, r.image)), 1):
            labels[record.id] = record.labels
            report(done, count)
    if labelled:
        write_labels(out / LABELS_FILE, labels)


def write_store(
    out: Path, records: Callable[[int, int], Iterator[Record]], count: int, *, job: str, overwrite: bool, report: Report
) -> None:
    """Write records as a store; a killed one goes on from its finished parts.

    Args:
        out: the file.
        records: gives those from one number up to another.
        count: how many there are.
        job: all that they follow from, as one text.
        overwrite: replace a store that is there.
        report: told how many of how many are done.

    Raises:
        OutputError: something else is there, or the disk refuses.
    """
    attributes = {"source": "procedural renders of simgan-refiner", "licence": "none needed", "parameters": job}
    with open_store(None, out, attributes=attributes, overwrite=overwrite) as target:
        if target.finished(fingerprint(job)) is not None:
            report(count, count)
            return
        parts = Chunks(target.chunks_folder, job=fingerprint(job), count=-(-count // CHUNK))
        unfinished = set(parts.unfinished())
        report(0, count)
        for number in range(parts.count):
            end = min((number + 1) * CHUNK, count)
            if number in unfinished:
                samples = ((r.id, r.id, partial(_given, r)) for r in records(number * CHUNK, end))
                write_chunk(parts.files(number, None), samples)
            report(end, count)
        target.finish(parts, fingerprint(job), "")


def _given(record: Record) -> Record:
    return record


def check_empty(out: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        OutputError: it does.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: is there already and not an empty folder; choose another place")


def written_ahead(
    pool: ThreadPoolExecutor, items: Iterator[Any], write: Callable[[Any], None]
) -> Iterator[tuple[Any, None]]:
    """Items as they are written, a bounded number ahead."""
    pending: list[tuple[Any, Any]] = []
    for item in items:
        pending.append((item, pool.submit(write, item)))
        if len(pending) >= WRITE_AHEAD:
            first, future = pending.pop(0)
            yield first, future.result()
    for first, future in pending:
        yield first, future.result()
