"""Inspect one data set: sizes, levels, labels, duplicates and rejects. Module ``faults`` turns them into findings.

Memory use does not depend on the size of the images: a digest and the angles are kept of each, 16 to 24 bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from refiner.core.errors import DataError, ImageError, WrongInputError
from refiner.core.path_kinds import path_kind
from refiner.data.folders.selection import EVERYTHING, Selection
from refiner.data.formats.registry import FORMATS, Dataset, open_dataset
from refiner.data.labels.records import Record
from refiner.data.store.store_names import is_store_name
from refiner.inspection.collector import Collector, Measured, measure
from refiner.inspection.facts import DatasetFacts
from refiner.inspection.fit import SAMPLE

_CHUNK = 256  # images that are submitted to the reading threads at once, to bound memory

Report = Callable[[int, int], None]
"""Progress callback: number of finished images, number of all images."""


def open_for_inspection(path: Path, format: str | None, selection: Selection = EVERYTHING) -> Dataset:
    """Open a data set; scenes without data for a crop are opened without one.

    Args:
        path: the data set.
        format: a key of :data:`refiner.data.formats.registry.FORMATS`; None detects it.
        selection: the files of a folder to use.

    Raises:
        DataError: ``path`` is no data set, or cannot be read either way.
    """
    # A file with the suffix of a store is opened in any case, since the error then says what is wrong with it.
    may_be_store = is_store_name(path) and path.is_file()
    if format is None and not may_be_store and not any(reader.recognises(path) for reader in FORMATS.values()):
        raise WrongInputError(
            f"{path} is {path_kind(path)}; expected a data set (a folder of images, or a store), a run folder, or a "
            "refiner file"
        )
    dataset = open_dataset(path, format=format, selection=selection)
    try:
        _ = dataset.ids
    except DataError as error:
        whole = open_dataset(path, format=format, crop=False, selection=selection)
        try:
            _ = whole.ids
        except DataError:
            raise error from None
        return whole
    return dataset


def inspect_dataset(dataset: Dataset, *, sample: int = 1000, report: Report = lambda done, total: None) -> DatasetFacts:
    """Inspect a data set.

    Args:
        dataset: a data set from :func:`refiner.data.formats.registry.open_dataset`.
        sample: number of images to inspect, spread evenly; 0 takes all.
        report: called with the progress.

    Raises:
        DataError: the data set is empty, or none of its images can be read.
    """
    ids = dataset.ids
    chosen = spread(ids, sample)
    collector = Collector(label_error=_label_error(dataset, chosen))
    for done, (name, outcome) in enumerate(_read(dataset, chosen, labelled=not collector.label_error), 1):
        if isinstance(outcome, ImageError):
            collector.reject(name, outcome.reason)
        else:
            collector.add(outcome, with_appearance=_has_appearance_measured(done, len(chosen)))
        report(done, len(chosen))
    if not collector.readable:
        reason = collector.rejected.most_common(1)[0][0] if collector.rejected else "no image was inspected"
        raise DataError(
            f"{dataset.root}: none of the {len(chosen):,} inspected images can be read; most frequent reason: {reason}"
        )
    return collector.facts(dataset, chosen)


def spread(ids: Sequence[str], count: int) -> Sequence[str]:
    """Return ``count`` ids that are spread evenly over ``ids``; all of them if ``count`` is 0 or too large."""
    if not 0 < count < len(ids):
        return ids
    return [ids[index * len(ids) // count] for index in range(count)]


def _has_appearance_measured(number: int, total: int) -> bool:
    """True for :data:`SAMPLE` images that are spread evenly over the total."""
    return number * SAMPLE // total > (number - 1) * SAMPLE // total or total <= SAMPLE


def _read(dataset: Dataset, chosen: Sequence[str], *, labelled: bool) -> Iterator[tuple[str, Measured | ImageError]]:
    """Yield each sample with its measurements, in order, read by threads."""

    def read(sample: str) -> Measured | ImageError:
        try:
            record = dataset.read(sample) if labelled else Record(sample, dataset.read_image(sample))
            # Some layouts know the subject from the path.
            subject = record.labels.get("subject") or (dataset.subject(sample) if labelled else None)
            return measure(record, None if subject is None else str(subject))
        except ImageError as error:
            return error

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(chosen), _CHUNK):
            block = chosen[start : start + _CHUNK]
            yield from zip(block, pool.map(read, block))


def _label_error(dataset: Dataset, chosen: Sequence[str]) -> str:
    """Return the reason why no labels can be read, such as a damaged table; empty if they can."""
    try:
        if chosen:
            dataset.read(chosen[0])
    except ImageError:
        pass
    except DataError as error:
        return str(error)
    return ""
