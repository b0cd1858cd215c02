"""Looks at one data set: counts, sizes, levels, labels, twins, rejects. What looks wrong is said in ``faults``.

Memory stays flat: of each image that is looked at, a digest and its angles are kept, 16 to 24 bytes.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from refiner.core.errors import DataError, ImageError
from refiner.data.formats.registry import FORMATS, Dataset
from refiner.data.labels.records import Record
from refiner.data.labels.tables import LABELS_FILE, LabelTable
from refiner.images.arrays import highest_level
from refiner.images.io import Image
from refiner.inspection.facts import EXAMPLES, DatasetFacts, Images, Reject, Sign
from refiner.inspection.fit import SAMPLE, AppearanceMeter
from refiner.inspection.irises import Reading, iris_scale
from refiner.inspection.labels import LabelMeter, as_numbers

FLAT = 1.0
"""Standard deviation, in levels of the image's own type, below which it shows nothing."""

_AHEAD = 256  # images read between two looks at the results: a million futures at once would not be flat memory

Report = Callable[[int, int], None]


class _Look(NamedTuple):
    """What is taken from one image while it is in memory: extremes of 1, deviation in levels."""

    record: Record
    subject: str | None
    digest: int
    lowest: float
    highest: float
    deviation: float


def inspect_dataset(dataset: Dataset, *, sample: int = 1000, report: Report = lambda done, total: None) -> DatasetFacts:
    """Look at a data set.

    Args:
        dataset: from :func:`refiner.data.formats.registry.open_dataset`.
        sample: images to look at, spread evenly; 0 looks at all.
        report: told how many of how many are done.

    Raises:
        DataError: it holds nothing, or nothing that can be read.
    """
    ids = dataset.ids
    chosen = spread(ids, sample)
    looks = _Looks(label_error=_label_error(dataset, chosen))
    for done, (name, outcome) in enumerate(_read(dataset, chosen, labelled=not looks.label_error), 1):
        if isinstance(outcome, ImageError):
            looks.reject(name, outcome.reason)
        else:
            looks.add(outcome, judged=_is_judged(done, len(chosen)))
        report(done, len(chosen))
    if not looks.readable:
        first = looks.rejected.most_common(1)[0][0] if looks.rejected else "nothing was looked at"
        raise DataError(f"{dataset.root}: none of the {len(chosen):,} images looked at can be read; the first {first}")
    return looks.facts(dataset, chosen)


def spread(ids: Sequence[str], count: int) -> Sequence[str]:
    """So many ids, evenly spread over all of them; 0, or more than there are, takes all."""
    if not 0 < count < len(ids):
        return ids
    return [ids[index * len(ids) // count] for index in range(count)]


def _is_judged(number: int, total: int) -> bool:
    """Whether an image is among the few hundred, spread evenly, whose looks are measured."""
    return number * SAMPLE // total > (number - 1) * SAMPLE // total or total <= SAMPLE


class _Looks:
    """Adds up what is seen in one image after the other."""

    def __init__(self, *, label_error: str) -> None:
        self.label_error = label_error
        self.readable = 0
        self.sizes, self.depths, self.channels = Counter[str](), Counter[str](), Counter[str]()
        self.subjects, self.rejected = Counter[str](), Counter[str]()
        self.reject_examples: dict[str, list[str]] = {}
        self.lowest, self.highest = 1.0, 0.0
        self.flat, self.black = Images(), Images()
        self.labels, self.looks = LabelMeter(), AppearanceMeter()
        self.digests, self.digest_numbers = array("Q"), array("Q")
        self.unlabelled = {"gaze": Images(), "head_pose": Images(), "pupil": Images()}
        self.places = {"pupil": array("f"), "found": array("f")}  # pitch, yaw, x, y, mirrored
        self.outlines = array("f")
        self.seen = 0

    def reject(self, name: str, reason: str) -> None:
        self.seen += 1
        self.rejected[reason] += 1
        examples = self.reject_examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append(name)

    def add(self, look: _Look, *, judged: bool) -> None:
        record, image = look.record, look.record.image
        height, width = image.shape[:2]
        self.readable += 1
        self.sizes[f"{height}x{width}"] += 1
        self.depths[f"{image.dtype.itemsize * 8} bits"] += 1
        self.channels[_channels(image)] += 1
        if look.subject:
            self.subjects[look.subject] += 1
        self.lowest, self.highest = min(self.lowest, look.lowest), max(self.highest, look.highest)
        if look.deviation < FLAT:
            dark = look.highest * highest_level(image) < 2 * FLAT
            (self.black if dark else self.flat).add(record.id)
        else:
            self.digests.append(look.digest)
            self.digest_numbers.append(self.seen)
        self.seen += 1
        self.labels.add(record.labels, (height, width))
        for name, missing in self.unlabelled.items():
            if name not in record.labels:
                missing.add(record.id)
        self._add_places(record, self.looks.add(image) if judged else None)

    def _add_places(self, record: Record, iris: Reading | None) -> None:
        height, width = record.image.shape[:2]
        outline = as_numbers(record.labels.get("iris_outline"))
        if outline is not None and outline.ndim == 2 and outline.shape[1] == 2:
            across = np.linalg.norm(outline[:, None] - outline[None], axis=-1).max()
            self.outlines.append(float(across) / width)
        gaze = as_numbers(record.labels.get("gaze"))
        if gaze is None or gaze.shape != (2,):
            return
        mirrored = as_numbers(record.labels.get("mirrored"))
        flag = float(mirrored) if mirrored is not None and mirrored.ndim == 0 else -1.0
        pupil = as_numbers(record.labels.get("pupil"))
        if pupil is not None and pupil.shape == (2,):
            self.places["pupil"].extend([*gaze.tolist(), pupil[0] / width, pupil[1] / height, flag])
        if iris is not None:
            self.places["found"].extend([*gaze.tolist(), iris.x / width, iris.y / height, flag])

    def facts(self, dataset: Dataset, chosen: Sequence[str]) -> DatasetFacts:
        labels = self.labels.result()
        orphans, problems = _look_at_table(dataset)
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
            appearance=self.looks.result(outline=iris_scale(self.outlines, source="iris_outline")),
            subjects=dict(self.subjects.most_common()),
            labels=labels,
            angles={name: self.labels.pairs(name) for name in self.labels.angles},
            signs=_signs(self.places),
            duplicates=self._duplicates(chosen),
            flat=self.flat,
            black=self.black,
            unlabelled={name: missing for name, missing in self.unlabelled.items() if name in labels and missing.count},
            orphans=orphans,
            table_problems=problems,
            rejected=tuple(rejected),
            label_error=self.label_error,
        )

    def _duplicates(self, chosen: Sequence[str]) -> Images:
        digests = np.asarray(self.digests)
        order = np.argsort(digests, kind="stable")
        again = order[1:][digests[order[1:]] == digests[order[:-1]]]
        numbers = np.sort(np.asarray(self.digest_numbers)[again])
        return Images(len(numbers), [chosen[int(number)] for number in numbers[:EXAMPLES]])


def _read(dataset: Dataset, chosen: Sequence[str], *, labelled: bool) -> Iterator[tuple[str, _Look | ImageError]]:
    """Each sample and what was seen in it, in order, a bounded number ahead."""

    def look(sample: str) -> _Look | ImageError:
        try:
            record = dataset.read(sample) if labelled else Record(sample, dataset.read_image(sample))
            subject = record.labels.get("subject") or (dataset.subject(sample) if labelled else None)
            return _look(record, None if subject is None else str(subject))
        except ImageError as error:
            return error

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(chosen), _AHEAD):
            block = chosen[start : start + _AHEAD]
            yield from zip(block, pool.map(look, block))


def _look(record: Record, subject: str | None) -> _Look:
    image = record.image
    top = highest_level(image)
    colour = image if image.ndim == 2 else image[..., :3]
    pixels = hashlib.blake2b(f"{image.shape} {image.dtype}".encode(), digest_size=8)
    pixels.update(np.ascontiguousarray(image).data)
    return _Look(
        record=record,
        subject=subject,
        digest=int.from_bytes(pixels.digest()),
        lowest=float(colour.min()) / top,
        highest=float(colour.max()) / top,
        deviation=float(colour.std(axis=(0, 1)).max()),
    )


def _label_error(dataset: Dataset, chosen: Sequence[str]) -> str:
    """Why no labels can be read at all (a damaged table), found before the threads start; empty when they can."""
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


def _signs(places: dict[str, "array[float]"]) -> tuple[Sign, ...]:
    """Correlations of gaze and place, by the label where enough images have it, and for mirrored images apart."""
    source = "pupil" if len(places["pupil"]) >= len(places["found"]) else "found"
    rows = np.asarray(places[source], np.float64).reshape(-1, 5)
    groups = {"all": np.full(len(rows), True)}
    if len(set(rows[:, 4])) > 1:
        groups |= {"not mirrored": rows[:, 4] == 0, "mirrored": rows[:, 4] == 1}
    signs = []
    for group, members in groups.items():
        chosen = rows[members]
        for angle, axis, first, second in (("yaw", "x", 1, 2), ("pitch", "y", 0, 3)):
            if len(chosen) >= 8 and chosen[:, first].std() > 1e-3 and chosen[:, second].std() > 1e-6:
                correlation = float(np.corrcoef(chosen[:, first], chosen[:, second])[0, 1])
                signs.append(Sign(angle, axis, group, correlation, len(chosen), source))
    return tuple(signs)


def _look_at_table(dataset: Dataset) -> tuple[Images, tuple[str, ...]]:
    """Rows of the label table that name no image, and what else is wrong with its rows."""
    orphans, path = Images(), dataset.root / LABELS_FILE
    if not path.is_file():
        return orphans, ()
    try:
        table = LabelTable(path)
    except DataError:  # said in label_error
        return orphans, ()
    known = set(dataset.ids)
    for sample in table:
        if sample not in known:
            orphans.add(sample)
    return orphans, tuple(table.problems)
