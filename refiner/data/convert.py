"""Conversion of a data set to a folder of images or a store: in chunks, by several processes, resumable."""

import contextlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

from refiner.core.errors import DataError, ImageError, UsageError
from refiner.core.files import check_apart, content_digest
from refiner.core.parallel.process_pool import map_in_order
from refiner.data.annotations.registry import WRITERS
from refiner.data.conversion import ChunkConverter, ChunkTask, Conversion
from refiner.data.convert_summary import ConversionSummary, SampleCounter
from refiner.data.folders.labels import FolderLabels
from refiner.data.folders.left_out import EXAMPLES
from refiner.data.folders.listing import list_files
from refiner.data.formats.folder import ImageFolder
from refiner.data.formats.registry import Dataset, info_of, left_out_of
from refiner.data.labels.coordinates import NOTHING_DECLARED
from refiner.data.labels.objects import OBJECTS
from refiner.data.output.chunks import Chunks, fingerprint
from refiner.data.output.companions import Companions
from refiner.data.output.destination import Destination
from refiner.data.output.folder_destination import open_folder
from refiner.data.output.label_files import FOLDER, LabelFiles, usual_format
from refiner.data.output.store_destination import open_store
from refiner.data.splits import names_subjects, split_samples
from refiner.data.store.hdf5 import to_label_name
from refiner.data.store.reader import Store
from refiner.data.store.store_names import is_store_name

log = logging.getLogger(__name__)

CHUNK = 1024
"""Largest number of samples in a chunk: the most that each worker loses if the run is killed."""

OBJECT_FORMATS = ("coco", "yolo")
"""Formats that hold nothing but objects: those in masks become annotations if a user asks for such a format."""

Report = Callable[[int, int], None]
"""Callback for progress: the number of finished samples, and of all samples."""


def convert(
    source: Path,
    destination: Path,
    conversion: Conversion,
    *,
    format: str | None = None,
    to: str | None = None,
    limit: int | None = None,
    only: Collection[str] | None = None,
    split: Mapping[str, float] | None = None,
    by: str | None = None,
    workers: int = 1,
    overwrite: bool = False,
    stop_on_error: bool = False,
    attributes: Mapping[str, str] | None = None,
    report: Report = lambda done, total: None,
) -> dict[str, ConversionSummary]:
    """Convert a data set into a folder of lossless images with their labels, or into a store.

    Args:
        source: the data set.
        destination: the folder, or the store (.h5), to write.
        conversion: processing of each image.
        format: name of the layout; None recognises it.
        to: format of the labels in a folder: a key of :data:`refiner.data.annotations.registry.WRITERS`, or ``folder``
            for ``labels.csv``. None takes the format in which the labels came, if it can be written.
        limit: largest number of images, spread over the data set; None converts all.
        only: ids of the samples to convert; None converts all.
        split: shares by name, written to ``DESTINATION/train`` and so on, or to ``name.train.h5``.
        by: split by ``subject`` or ``id``; None splits by subject if every sample names one.
        workers: number of processes. A program that uses more than one needs the usual ``__name__`` guard.
        overwrite: convert finished samples again, and replace existing files.
        stop_on_error: raise the first :class:`ImageError` instead of rejecting the image.
        attributes: further attributes of a store.
        report: called with the number of finished samples and of all samples.

    Returns:
        A summary for each split, by its name; without ``split`` the only name is empty.

    Raises:
        UsageError: a declared label does not exist, it is not certain whether a label moves with its image, or ``to``
            is unknown or given for a store.
        RefinerError: the source or the destination cannot be used.
    """
    _check_label_format(to, destination)
    if to in OBJECT_FORMATS:  # the user asks for objects
        conversion = conversion._replace(objects_from_masks=True)
    dataset = conversion.open(source, format)
    if conversion.declared != NOTHING_DECLARED and OBJECTS not in (names := _label_names(dataset)):
        conversion.declared.check(names, source)  # fields of annotated objects can be declared, too, and are not listed
    selections = _select(dataset, only=only, limit=limit, split=split, by=by)
    total = sum(map(len, selections.values()))
    # Find the files beside the images, and what else the folder holds; a table that fits no image stops here.
    reports = [report for report in left_out_of(dataset) if report.key not in ("label images", "files beside images")]
    is_part = total < len(dataset.ids) or len(selections) > 1
    companions = _companions(source, dataset, destination, conversion, is_part=is_part)
    # Convert each split to a destination of its own.
    label_format = to or usual_format(dataset)
    job = fingerprint(repr(conversion), format or "", label_format, _contents(source))
    convert_chunk = ChunkConverter(source, format, conversion, stop_on_error)
    summaries = {}
    done = 0
    for name, selected in selections.items():
        path = split_path(destination, name)
        opened = _open(path, source, dataset, conversion, label_format, attributes=attributes, overwrite=overwrite)
        with opened as output:
            summaries[name] = _convert_into(
                output,
                selected,
                convert_chunk,
                companions,
                job=job,
                workers=workers,
                overwrite=overwrite,
                report=lambda count: report(done + count, total),  # noqa: B023 - called within the loop only
            )
            summaries[name].label_format = label_format if summaries[name].label_files else ""
        done += len(selected)
    first = next(iter(summaries.values()))
    first.left_out = [*reports, *first.left_out]
    return summaries


def _check_label_format(to: str | None, destination: Path) -> None:
    if to is not None and is_store_name(destination):
        raise UsageError(f"--to names the format of the labels in a folder, but {destination} is a store")
    if to not in (None, FOLDER, *WRITERS):
        raise UsageError(f"labels cannot be written as {to}; expected one of {', '.join([FOLDER, *WRITERS])}")


def _select(
    dataset: Dataset,
    *,
    only: Collection[str] | None,
    limit: int | None,
    split: Mapping[str, float] | None,
    by: str | None,
) -> dict[str, Sequence[str]]:
    """Return the ids of the samples to convert, by the name of their split; see :func:`convert` for the arguments."""
    ids: Sequence[str] = dataset.ids if only is None else [sample for sample in dataset.ids if sample in only]
    if limit is not None and limit < len(ids):
        ids = [ids[i * len(ids) // limit] for i in range(limit)]
    if not split:
        return {"": ids}
    return dict(split_samples(dataset, ids, split, by=by or ("subject" if names_subjects(dataset, ids) else "id")))


def _companions(
    source: Path, dataset: Dataset, destination: Path, conversion: Conversion, *, is_part: bool
) -> Companions | None:
    """Return the files beside the images of a folder; None for a data set of another kind."""
    if not isinstance(dataset, ImageFolder):
        return None
    for link in dataset.contents.listing.links:  # converted images must not come back as input through a link
        check_apart(source / link, destination)
    read = dataset.labels.files if isinstance(dataset.labels, FolderLabels) else ()
    crop, size = conversion.crop, conversion.size
    return Companions(source, dataset.contents, crop=crop, size=size, is_part=is_part, read=read)


def _open(
    path: Path,
    source: Path,
    dataset: Dataset,
    conversion: Conversion,
    label_format: str,
    *,
    attributes: Mapping[str, str] | None,
    overwrite: bool,
) -> AbstractContextManager[Destination]:
    """Open the store or the folder that receives one split."""
    info = info_of(dataset)
    if not is_store_name(path):
        grey = conversion.grey or _is_grey(dataset)
        return open_folder(source, path, LabelFiles(label_format, info), grey=grey, overwrite=overwrite)
    facts = {"source": str(source), "licence": dataset.licence, **(attributes or {}), "label_format": label_format}
    facts |= {} if info is None else {"annotations": info.to_json()}
    return open_store(source, path, attributes=facts, overwrite=overwrite)


def _is_grey(dataset: Dataset) -> bool:
    """Return whether every image is known to be grey; the suffix of an id does not show it."""
    return isinstance(dataset, Store) and dataset.kind.channels == 1


def _label_names(dataset: Dataset) -> list[str]:
    """Names of all labels if a table or a store lists them; else those of the first sample that can be read."""
    if isinstance(dataset, Store):
        return [to_label_name(name) for name in dataset.label_names]
    if isinstance(labels := getattr(dataset, "labels", None), FolderLabels):
        return labels.names
    for sample in dataset.ids:
        with contextlib.suppress(ImageError):
            return list(dataset.read(sample).labels)
    return []


def _contents(source: Path) -> Iterator[str]:
    """Name and digest of every file of a data set, by which a changed input is detected."""
    for name in list_files(source) if source.is_dir() else [""]:
        yield f"{name} {content_digest(source / name)}"


def split_path(destination: Path, split: str) -> Path:
    """Return the path of a split: ``DESTINATION/train`` or ``name.train.h5``; the destination itself for no name."""
    if not split:
        return destination
    if is_store_name(destination):
        return destination.with_suffix(f".{split}{destination.suffix}")
    return destination / split


def _convert_into(
    destination: Destination,
    ids: Sequence[str],
    convert_chunk: ChunkConverter,
    companions: Companions | None,
    *,
    job: str,
    workers: int,
    overwrite: bool,
    report: Callable[[int], None],
) -> ConversionSummary:
    """Convert the missing chunks and merge all chunks into the destination."""
    # Return the summary of an earlier run if the job is finished.
    job = fingerprint(job, ids)
    if not overwrite and (before := destination.finished(job)):
        report(len(ids))
        return ConversionSummary(**{**json.loads(before), "finished_before": True})
    # Divide the samples into chunks.
    size = max(32, min(CHUNK, len(ids) // 32))
    starts = range(0, len(ids), size)
    chunks = Chunks(destination.chunks_folder, job=job, count=len(starts))
    names = destination.names(ids)
    destination.claim(names)
    todo = chunks.unfinished()
    tasks = (
        ChunkTask(
            list(zip(ids[starts[n] : starts[n] + size], names[starts[n] : starts[n] + size], strict=True)),
            chunks.files(n, destination.images_folder),
        )
        for n in todo
    )
    # Convert the unfinished ones in worker processes. Kinds are counted early, so that a store fails at once.
    counter = SampleCounter(one_kind=destination.images_folder is None, root=convert_chunk.source)
    done = len(ids) - sum(min(size, len(ids) - starts[n]) for n in todo)
    report(done)
    moved: set[str] = set()
    still: set[str] = set()
    for result in map_in_order(convert_chunk, tasks, workers=min(workers, len(todo))):
        counter.count_kinds(result.kinds)
        done += result.samples
        moved |= result.moved
        still |= result.still
        report(done)
    if moved | still:
        lists = [", ".join(sorted(some)) or "none" for some in (moved, still - moved)]
        log.info("labels that moved with the images: %s; labels that did not: %s", *lists)
    # Count all samples, those of earlier runs included.
    counter = SampleCounter(one_kind=destination.images_folder is None, root=convert_chunk.source)
    for line in chunks.lines():
        counter.add(line)
    counter.count_kinds(Counter())
    summary = counter.summary()
    # Merge the chunks.
    if not summary.written:
        destination.finish(chunks, "", "")
        reason = next(iter(summary.reasons))
        raise DataError(
            f"none of {len(ids)} images of {convert_chunk.source} could be converted; most frequent reason: {reason}"
        )
    # Write the labels of a folder; the other files beside the images go along.
    label_files = destination.write_labels(chunks)
    summary.label_files = list(label_files[:EXAMPLES])
    if companions is not None:
        written = {line.source: line.name for line in chunks.lines() if line.name}
        carried = companions.carry(destination.output, written, label_files)
        destination.carried = carried.names
        summary.carried = len(carried.names)
        summary.left_out += carried.reports()
    summary.left_out += destination.label_losses()
    destination.finish(chunks, job, json.dumps(asdict(summary)))
    return summary
