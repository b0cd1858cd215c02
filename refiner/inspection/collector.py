"""Measurements of a data set, collected from one image after the other, and the facts that they add up to."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from refiner.core.errors import DataError
from refiner.data.folders.labels import FolderLabels, source_name
from refiner.data.folders.left_out import ROWS_WITHOUT_IMAGE, LeftOut
from refiner.data.formats.registry import FORMATS, Dataset, info_of, left_out_of
from refiner.data.labels.objects import OBJECTS
from refiner.data.labels.records import Record
from refiner.images.arrays import highest_level
from refiner.images.io import Image
from refiner.inspection.facts import DatasetFacts, Reject, Sign
from refiner.inspection.fit import AppearanceMeter
from refiner.inspection.images import EXAMPLES, Images
from refiner.inspection.irises import Reading, iris_scale
from refiner.inspection.labels import LabelMeter, Values, as_numbers
from refiner.inspection.objects import ObjectMeter

FLAT = 1.0
"""Standard deviation below which an image counts as flat, in levels of the image's type."""


class Measured(NamedTuple):
    """Measurements of one image: extremes as shares of the highest level, deviation in levels."""

    record: Record
    subject: str | None
    digest: int
    lowest: float
    highest: float
    deviation: float


class Collector:
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
        """Count an image that cannot be used."""
        self.done += 1
        self.rejected[reason] += 1
        examples = self.reject_examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append(name)

    def add(self, measured: Measured, *, with_appearance: bool) -> None:
        """Add the measurements of an image."""
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
        """Return the facts about all images that were added, the ``chosen`` ones of the data set."""
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


def measure(record: Record, subject: str | None) -> Measured:
    """Measure one image."""
    image = record.image
    top = highest_level(image)
    colour = image if image.ndim == 2 else image[..., :3]
    # Equal pixels of another shape or type are no duplicates.
    pixels = hashlib.blake2b(f"{image.shape} {image.dtype}".encode(), digest_size=8)
    pixels.update(np.ascontiguousarray(image).data)
    return Measured(
        record=record,
        subject=subject,
        digest=int.from_bytes(pixels.digest()),
        lowest=float(colour.min()) / top,
        highest=float(colour.max()) / top,
        deviation=float(colour.std(axis=(0, 1)).max()),
    )


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
