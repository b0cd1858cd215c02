"""Annotated objects of an evaluation for a page: those with the largest label drift, and some of each class."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from refiner.core.rng import numpy_generator
from refiner.data.drift.objects import ObjectDrift
from refiner.data.formats.registry import Dataset
from refiner.data.labels.objects import OBJECTS, ImageAnnotations
from refiner.data.labels.records import Record
from refiner.evaluation.verdict import MAX_DRIFT
from refiner.images.io import Image
from refiner.inspection.overlays.label_shapes import object_shapes
from refiner.inspection.overlays.shapes import LabelStyle
from refiner.report.object_crops import real_crops, window_around
from refiner.report.overlays import Overlay, overlay, svg_shapes
from refiner.report.pictures import data_uri, shown

WORST = 18
"""Number of objects in the gallery of those with the largest drift."""

CLASSES, EACH = 12, 6
"""Number of classes that have a contact sheet, the most frequent ones, and of objects on each sheet."""

POOL = 36
"""Number of images from which the objects of contact sheets are taken."""


MOVED = 0.5
"""Shift in pixels from which the place of an object after refining is outlined."""


Refine = Callable[[Record], Image]
"""Function from a render to its refined image, of the same size."""

Drifts = Mapping[str, Sequence[ObjectDrift]]
"""Drift of the objects of each image, in the order of its labels."""


class ObjectPair(NamedTuple):
    """An object before and after refining, for a page.

    Attributes:
        name: name of its image.
        category: its class, else its id.
        before, after, nearest: pictures as data URIs; ``nearest`` is the most similar real object of its class, or
            empty.
        overlay: its label.
        moved: SVG elements that outline where it is after refining; empty if it did not move.
        caption: its drift in words.
    """

    name: str
    category: str
    before: str
    after: str
    nearest: str
    overlay: Overlay
    moved: str
    caption: str


@dataclass(frozen=True)
class ClassSheet:
    """Some objects of one class.

    Attributes:
        name: name of the class.
        colour: its colour on the page, as CSS.
        note: number and drift of all its objects in words.
        pairs: some of them.
    """

    name: str
    colour: str
    note: str
    pairs: list[ObjectPair]


@dataclass(frozen=True)
class ObjectSections:
    """The parts of a page on objects.

    Attributes:
        note: number and drift of all objects in words.
        worst: the objects with the largest drift, the worst first.
        sheets: contact sheets by class, the most frequent class first.
        more_classes: number of classes without a sheet.
    """

    note: str
    worst: list[ObjectPair]
    sheets: list[ClassSheet]
    more_classes: int


class ObjectPictures:
    """Objects of renders before and after refining, cut out of their images at full size.

    Args:
        synthetic: data set of the renders.
        style: colours of the classes, and skeletons.
        refine: function that returns the refined image of a render.
        real: data set of the real images; its objects are compared if it has any.
        real_ids: ids of the real images that were evaluated.
        measured: (height, width) at which drift was measured; images may be larger.
    """

    def __init__(
        self,
        synthetic: Dataset,
        style: LabelStyle,
        refine: Refine,
        real: Dataset,
        real_ids: Sequence[str],
        *,
        measured: tuple[int, int],
    ) -> None:
        self._synthetic, self._style, self._refine, self._measured = synthetic, style, refine, measured
        self._pairs: dict[str, tuple[Record, Image]] = {}
        self._real = real_crops(real, real_ids)

    def sections(self, drifts: Drifts, seed: int) -> ObjectSections:
        """Return the parts of a page on all objects whose drift was measured.

        Args:
            drifts: drift of the objects of each image.
            seed: seed of the choice of objects for the contact sheets.

        Raises:
            RefinerError: an image can no longer be read.
        """
        every = [(name, number, drift) for name, some in drifts.items() for number, drift in enumerate(some)]
        # The worst first; what is too small to be followed has no place among them.
        known = sorted((row for row in every if row[2].known), key=lambda row: (-row[2].vanished, -row[2].score))
        worst = [pair for row in known[:WORST] if (pair := self._pair(*row)) is not None]
        # Some objects of each class, from few images, since each image is refined for it.
        counts = Counter(drift.category for _, _, drift in every)
        classes = [category for category, _ in counts.most_common(CLASSES)]
        chosen = _choose(drifts, classes, [*self._pairs], seed)
        sheets = [
            ClassSheet(
                category or "objects without a class",
                "rgb({}, {}, {})".format(*self._style.colour(category)),
                _summary([drift for _, _, drift in every if drift.category == category]),
                [pair for row in chosen[category] if (pair := self._pair(*row)) is not None],
            )
            for category in classes
        ]
        return ObjectSections(_summary([drift for _, _, drift in every]), worst, sheets, len(counts) - len(classes))

    def _pair(self, name: str, number: int, drift: ObjectDrift) -> ObjectPair | None:
        """Return an object for the page; None if it has no place in its image."""
        record, refined = self._read(name)
        annotations = record.labels.get(OBJECTS)
        size = (record.image.shape[0], record.image.shape[1])
        if not isinstance(annotations, ImageAnnotations) or number >= len(annotations.objects):
            return None
        shapes = object_shapes(annotations.objects[number], size, self._style)
        window = window_around(shapes, size)
        if window is None:
            return None
        before, after = (shown(window.cut(image)) for image in (record.image, refined))
        moved = ""
        if drift.known and not drift.vanished and drift.pixels >= MOVED:
            x, y = drift.x * size[1] / self._measured[1], drift.y * size[0] / self._measured[0]
            moved = f'<g class="moved" transform="translate({x:.2f} {y:.2f})">{svg_shapes(shapes)}</g>'
        category = drift.category or drift.id
        view = (window.left - 0.5, window.top - 0.5, float(window.width), float(window.height))
        return ObjectPair(
            name,
            category,
            data_uri(before),
            data_uri(after),
            self._real.nearest(drift.category, after),
            overlay(shapes, view, category),
            moved,
            _caption(drift),
        )

    def _read(self, name: str) -> tuple[Record, Image]:
        if name not in self._pairs:
            record = self._synthetic.read(name)
            self._pairs[name] = record, self._refine(record)
        return self._pairs[name]


def _choose(
    drifts: Drifts, classes: Sequence[str], read: Sequence[str], seed: int
) -> dict[str, list[tuple[str, int, ObjectDrift]]]:
    """Choose some objects of each class, at most one of an image as long as there are others.

    Args:
        drifts: drift of the objects of each image.
        classes: the classes.
        read: images that have been read already.
        seed: seed of the choice.
    """
    names = list(drifts)
    shuffled = [names[number] for number in numpy_generator(seed, "class-sheets").permutation(len(names)).tolist()]
    pool = dict.fromkeys(shuffled[: POOL // 2])
    # Images for the rarer classes come on top, then those that have been read.
    for category in reversed(classes):
        holders = (name for name in shuffled if any(drift.category == category for drift in drifts[name]))
        pool.update(dict.fromkeys(name for name, _ in zip(holders, range(EACH), strict=False) if len(pool) < POOL))
    pool.update(dict.fromkeys(read))
    chosen: dict[str, list[tuple[str, int, ObjectDrift]]] = {}
    for category in classes:
        rows = [
            (turn, name, number)
            for name in pool
            for turn, number in enumerate(
                number for number, drift in enumerate(drifts[name]) if drift.category == category and drift.known
            )
        ]
        rows.sort(key=lambda row: row[0])
        chosen[category] = [(name, number, drifts[name][number]) for _, name, number in rows[:EACH]]
    return chosen


def _caption(drift: ObjectDrift) -> str:
    if not drift.known:
        return "too small or plain to be followed"
    if drift.vanished:
        return f"vanished, score {drift.score:.2f}"
    return f"{drift.pixels:.1f} px, score {drift.score:.2f}"


def _summary(drifts: Sequence[ObjectDrift]) -> str:
    """Describe the drift of objects in full sentences."""
    scores = [drift.score for drift in drifts if drift.known]
    above, vanished = sum(score > MAX_DRIFT for score in scores), sum(drift.vanished for drift in drifts)
    return " ".join(_sentences(len(drifts), scores, above, vanished))


def _sentences(count: int, scores: Sequence[float], above: int, vanished: int) -> Iterator[str]:
    yield f"{count:,} object{'s' if count != 1 else ''}."
    if scores:
        yield f"Median drift score {np.median(scores):.2f}; {above:,} of {len(scores):,} above {MAX_DRIFT:g}."
    if vanished:
        yield f"{vanished:,} vanished."
    if unknown := count - len(scores):
        yield f"{unknown:,} could not be followed."
