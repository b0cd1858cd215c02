"""Inspect one data set: sizes, levels, labels, duplicates and rejects. Module ``faults`` turns them into findings.

Memory use does not depend on the size of the images: a digest and the angles are kept of each, 16 to 24 bytes.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from refiner.core.errors import DataError, ImageError, WrongInputError
from refiner.core.path_kinds import path_kind
from refiner.data.folders.labels import FolderLabels, source_name
from refiner.data.folders.left_out import ROWS_WITHOUT_IMAGE, LeftOut
from refiner.data.folders.selection import EVERYTHING, Selection
from refiner.data.formats.registry import FORMATS, Dataset, info_of, left_out_of, open_dataset
from refiner.data.labels.objects import OBJECTS
from refiner.data.labels.records import Record
from refiner.data.store.store_names import is_store_name
from refiner.images.arrays import highest_level
from refiner.images.io import Image
from refiner.inspection.facts import DatasetFacts, Reject, Sign
from refiner.inspection.fit import SAMPLE, AppearanceMeter
from refiner.inspection.images import EXAMPLES, Images
from refiner.inspection.irises import Reading, iris_scale
from refiner.inspection.labels import LabelMeter, Values, as_numbers
from refiner.inspection.objects import ObjectMeter

FLAT = 1.0
"""Standard deviation below which an image counts as flat, in levels of the image's type."""

_CHUNK = 256  # images that are submitted to the reading threads at once, to bound memory

Report = Callable[[int, int], None]
"""Progress callback: number of finished images, number of all images."""


class _Measured(NamedTuple):
    """Measurements of one image: extremes as shares of the highest level, deviation in levels."""

    record: Record
    subject: str | None
    digest: int
    lowest: float
    highest: float
    deviation: float


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
    collector = _Collector(label_error=_label_error(dataset, chosen))
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


class _Collector:
    """Collect the measurements of one image after the other."""

    def __init__(self, *, label_error: str) -> None:
        self.label_error = label_error
        self.readable = 0
        self.sizes, self.depths, self.channels = Counter[str](), Counter[str](), Counter[str]()
        self.subjects, self.rejected = Counter[str](), Counter[str]()
        self.reject_examples: dict[str, list[str]] = {}
        self.lowest, self.highest = 1.0, 0.0
        self.flat, self.black = Images(), Images()
        self.labels, self.objects, self.appearance = LabelMeter(), ObjectMeter(), AppearanceMeter()
        self.digests, self.digest_numbers = array("Q"), array("Q")
        self.unlabelled = {"gaze": Images(), "head_pose": Images(), "pupil": Images()}
        self.positions = {"pupil": array("f"), "found": array("f")}  # rows of pitch, yaw, x, y, mirrored
        self.outlines = array("f")
        self.done = 0

    def reject(self, name: str, reason: str) -> None:
        self.done += 1
        self.rejected[reason] += 1
        examples = self.reject_examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append(name)

    def add(self, measured: _Measured, *, with_appearance: bool) -> None:
        record, image = measured.record, measured.record.image
        height, width = image.shape[:2]
        self.readable += 1
        # Size, type and levels.
        self.sizes[f"{height}x{width}"] += 1
        self.depths[f"{image.dtype.itemsize * 8} bits"] += 1
        self.channels[_channels(image)] += 1
        if measured.subject:
            self.subjects[measured.subject] += 1
        self.lowest, self.highest = min(self.lowest, measured.lowest), max(self.highest, measured.highest)
        # Flat images are no duplicates of one another.
        if measured.deviation < FLAT:
            dark = measured.highest * highest_level(image) < 2 * FLAT
            (self.black if dark else self.flat).add(record.id)
        else:
            self.digests.append(measured.digest)
            self.digest_numbers.append(self.done)
        self.done += 1
        # Labels, and positions for the signs of the gaze.
        self.labels.add(record.labels, (height, width))
        self.objects.add(record.labels.get(OBJECTS), (height, width), record.id)
        for name, missing in self.unlabelled.items():
            if name not in record.labels:
                missing.add(record.id)
        self._add_positions(record, self.appearance.add(image) if with_appearance else None)

    def _add_positions(self, record: Record, iris: Reading | None) -> None:
        """Collect the size of the iris outline, and the gaze with the position of the pupil or of the iris."""
        height, width = record.image.shape[:2]
        outline = as_numbers(record.labels.get("iris_outline"))
        if outline is not None and outline.ndim == 2 and outline.shape[1] == 2:
            diameter = np.linalg.norm(outline[:, None] - outline[None], axis=-1).max()
            self.outlines.append(float(diameter) / width)
        gaze = as_numbers(record.labels.get("gaze"))
        if gaze is None or gaze.shape != (2,):
            return
        mirrored = as_numbers(record.labels.get("mirrored"))
        flag = float(mirrored) if mirrored is not None and mirrored.ndim == 0 else -1.0
        pupil = as_numbers(record.labels.get("pupil"))
        if pupil is not None and pupil.shape == (2,):
            self.positions["pupil"].extend([*gaze.tolist(), pupil[0] / width, pupil[1] / height, flag])
        if iris is not None:
            self.positions["found"].extend([*gaze.tolist(), iris.x / width, iris.y / height, flag])

    def facts(self, dataset: Dataset, chosen: Sequence[str]) -> DatasetFacts:
        labels = self.labels.result()
        left_out, problems = _folder_faults(dataset)
        orphans = next((report for report in left_out if report.key == ROWS_WITHOUT_IMAGE), None)
        rejected = [Reject(why, count, tuple(self.reject_examples[why])) for why, count in self.rejected.most_common()]
        return DatasetFacts(
            path=str(dataset.root),
            format=next((name for name, reader in FORMATS.items() if reader is type(dataset)), "unknown"),
            images=len(dataset.ids),
            sampled=len(chosen),
            readable=self.readable,
            sizes=dict(self.sizes.most_common()),
            depths=dict(self.depths.most_common()),
            channels=dict(self.channels.most_common()),
            lowest=self.lowest,
            highest=self.highest,
            appearance=self.appearance.result(outline=iris_scale(self.outlines, source="iris_outline")),
            subjects=dict(self.subjects.most_common()),
            labels=labels,
            angles={name: self.labels.pairs(name) for name in self.labels.angles},
            signs=_signs(self.positions),
            duplicates=self._duplicates(chosen),
            flat=self.flat,
            black=self.black,
            unlabelled={name: missing for name, missing in self.unlabelled.items() if name in labels and missing.count},
            orphans=Images(orphans.count, list(orphans.examples)) if orphans else Images(),
            left_out=tuple(report for report in left_out if report is not orphans),
            table_problems=problems,
            rejected=tuple(rejected),
            label_error=self.label_error,
            label_formats=() if self.label_error else _label_formats(dataset),
            objects=None if self.label_error else self.objects.result(info_of(dataset)),
        )

    def _duplicates(self, chosen: Sequence[str]) -> Images:
        digests = np.asarray(self.digests)
        order = np.argsort(digests, kind="stable")
        # Sorted digests that equal their predecessor belong to duplicates.
        again = order[1:][digests[order[1:]] == digests[order[:-1]]]
        numbers = np.sort(np.asarray(self.digest_numbers)[again])
        return Images(len(numbers), [chosen[int(number)] for number in numbers[:EXAMPLES]])


def _read(dataset: Dataset, chosen: Sequence[str], *, labelled: bool) -> Iterator[tuple[str, _Measured | ImageError]]:
    """Yield each sample with its measurements, in order, read by threads."""

    def read(sample: str) -> _Measured | ImageError:
        try:
            record = dataset.read(sample) if labelled else Record(sample, dataset.read_image(sample))
            # Some layouts know the subject from the path.
            subject = record.labels.get("subject") or (dataset.subject(sample) if labelled else None)
            return _measure(record, None if subject is None else str(subject))
        except ImageError as error:
            return error

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(chosen), _CHUNK):
            block = chosen[start : start + _CHUNK]
            yield from zip(block, pool.map(read, block))


def _measure(record: Record, subject: str | None) -> _Measured:
    image = record.image
    top = highest_level(image)
    colour = image if image.ndim == 2 else image[..., :3]
    # Equal pixels of another shape or type are no duplicates.
    pixels = hashlib.blake2b(f"{image.shape} {image.dtype}".encode(), digest_size=8)
    pixels.update(np.ascontiguousarray(image).data)
    return _Measured(
        record=record,
        subject=subject,
        digest=int.from_bytes(pixels.digest()),
        lowest=float(colour.min()) / top,
        highest=float(colour.max()) / top,
        deviation=float(colour.std(axis=(0, 1)).max()),
    )


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


def _channels(image: Image) -> str:
    return "grey" if image.ndim == 2 else {3: "RGB", 4: "RGBA"}.get(image.shape[2], f"{image.shape[2]} channels")


def _signs(positions: dict[str, "array[float]"]) -> tuple[Sign, ...]:
    """Correlate gaze with labelled, else with found positions, for all images and for mirrored ones apart."""
    source = "pupil" if len(positions["pupil"]) >= len(positions["found"]) else "found"
    rows = np.asarray(positions[source], np.float64).reshape(-1, 5)
    # Mirrored images may have the wrong sign while all others are right.
    groups = {"all": np.full(len(rows), True)}
    if len(set(rows[:, 4])) > 1:
        groups |= {"not mirrored": rows[:, 4] == 0, "mirrored": rows[:, 4] == 1}
    signs = []
    for group, members in groups.items():
        chosen = rows[members]
        for angle, axis, first, second in (("yaw", "x", 1, 2), ("pitch", "y", 0, 3)):
            if len(chosen) >= 8 and chosen[:, first].std() > 1e-3 and chosen[:, second].std() > 1e-6:
                correlation, crosswise = (
                    _correlation(chosen[:, which], chosen[:, second]) for which in (first, 1 - first)
                )
                signs.append(Sign(angle, axis, group, correlation, crosswise, len(chosen), source))
    return tuple(signs)


def _correlation(first: Values, second: Values) -> float:
    return float(np.corrcoef(first, second)[0, 1]) if first.std() > 1e-6 and second.std() > 1e-6 else 0.0


def _folder_faults(dataset: Dataset) -> tuple[list[LeftOut], tuple[str, ...]]:
    """Return reports about files and rows that are not used, and the rows of the label table that cannot be used."""
    try:
        reports = left_out_of(dataset)
    except DataError:  # reported as label_error
        return [], ()
    labels = getattr(dataset, "labels", None)
    table = labels.table if isinstance(labels, FolderLabels) else None
    return reports, () if table is None else tuple(table.problems)


def _label_formats(dataset: Dataset) -> tuple[str, ...]:
    """Return the formats of the labels, each with its file or the first of its files."""
    labels = getattr(dataset, "labels", None)
    if isinstance(labels, FolderLabels):
        tables = ("folder (labels.csv)",) if labels.table is not None else ()
        return (*tables, *(f"{source.format} ({source_name(source)})" for source in labels.sources if source.names))
    info = info_of(dataset)
    return () if info is None else (info.format,)
