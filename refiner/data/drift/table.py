"""Label drift of refined images: how far a label may have moved, in pixels and degrees, and when it rejects.

Label drift is the shift between a synthetic image and its refined version, measured by registration. The label is
copied from the synthetic image, so it is off by this shift. See :mod:`refiner.data.drift.measurement`.
"""

import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refiner.data.drift.objects import ObjectDrift
from refiner.data.labels.tables import write_table

log = logging.getLogger(__name__)

DRIFT_FILE = "drift.csv"
"""Name of the table of drift in a folder of refined images."""

DROPPED_FILE = "dropped_objects.csv"
"""Name of the table of objects whose annotations were dropped for their drift."""

UNKNOWN_OBJECTS = "its objects are too small or have too little texture to be followed"
"""Reason why the drift of an image with annotated objects is unknown."""

DRIFT_COLUMNS = ("file", "drift_px", "drift_deg", "score", "known")

OBJECT_COLUMNS = ("object", "class", "structure", "vanished", "background")
"""Further columns if any image has annotated objects. The first four are empty in the row of the image, the last one
in the rows of its objects."""

UNKNOWN_DRIFT = "no labelled point lies in the image, or what is labelled has too little texture to be followed"
"""Reason why a drift is unknown, for messages."""


class LabelDrift(NamedTuple):
    """Estimated shift of one image's label.

    Attributes:
        x, y: shift in pixels, of the labelled point, of the worst of several points or objects, or of the whole image.
        degrees: the same shift as an angle of gaze, in degrees, if the point is a pupil; otherwise None.
        score: length of the shift plus the loss of structure; see :class:`refiner.data.drift.scores.DriftScores`. With
            objects, the worst score of these, of the points and of the background.
        known: False if no labelled point, no object or not the mask could be followed; the shift is that of the whole
            image.
        background: score of new structure outside the objects; None if the image has no annotated objects.
        rest: score of the image without its objects: of the background and of the points; None likewise.
        objects: drift of each object, in the order of the annotations.
    """

    x: float
    y: float
    degrees: float | None
    score: float
    known: bool = True
    background: float | None = None
    rest: float | None = None
    objects: tuple[ObjectDrift, ...] = ()

    @property
    def pixels(self) -> float:
        """Length of the shift, in pixels."""
        return math.hypot(self.x, self.y)

    @property
    def numbers(self) -> tuple[float, float, float, float, float]:
        """The tuple (x, y, degrees, score, known), with NaN for degrees that are None."""
        return self.x, self.y, math.nan if self.degrees is None else self.degrees, self.score, float(self.known)

    @property
    def worst(self) -> ObjectDrift | None:
        """The object with the highest score, if that is the score of the image."""
        known = [each for each in self.objects if each.known]
        found = max(known, key=lambda each: each.score, default=None)
        return found if found is not None and found.score >= (self.rest or 0) else None

    def without(self, numbers: Sequence[int]) -> "LabelDrift":
        """Return the drift without some objects, whose annotations were dropped, by their numbers."""
        objects = tuple(each for number, each in enumerate(self.objects) if number not in numbers)
        score = float(np.max([self.rest or 0.0, *(each.score for each in objects if each.known)]))
        kept = self._replace(objects=objects, score=score)
        if self.worst is None:  # the shift is that of the points
            return kept
        worst = kept.worst
        return kept._replace(x=0.0, y=0.0) if worst is None else kept._replace(x=worst.x, y=worst.y)

    def notes(self) -> list[float | None]:
        """Return the numbers of the image for a manifest, without those of its objects."""
        base = [self.x, self.y, self.degrees, self.score, self.known]
        return base if self.background is None else [*base, self.background, self.rest]

    @classmethod
    def from_notes(cls, notes: Any, objects: Sequence[ObjectDrift] = ()) -> "LabelDrift | None":
        """Build a drift from what :meth:`notes` returned; None if it is something else."""
        if not isinstance(notes, list) or len(notes) not in (5, 7):
            return None
        x, y, degrees, score, known, *more = notes
        background, rest = more or (None, None)
        if x is None or y is None or score is None:
            return None
        return cls(x, y, degrees, score, bool(known), background, rest, tuple(objects))

    def cells(self) -> dict[str, str]:
        """Return the cells of the image's row of ``drift.csv``, without the column ``file``."""
        degrees = "" if self.degrees is None else f"{self.degrees:.2f}"
        score, known = f"{self.score:.3f}", str(int(self.known))
        found = {"drift_px": f"{self.pixels:.3f}", "drift_deg": degrees, "score": score, "known": known}
        return found if self.background is None else {**found, "background": f"{self.background:.3f}"}

    def to_line(self) -> dict[str, str]:
        """Return the fields as texts, from which :meth:`from_line` restores them exactly."""
        found = {name: repr(value) for name, value in self._asdict().items() if value is not None}
        return {**found, "objects": json.dumps([each.to_row() for each in self.objects], ensure_ascii=False)}

    @classmethod
    def from_line(cls, cells: Mapping[str, str]) -> "LabelDrift":
        """Build a drift from the texts of :meth:`to_line`."""
        numbers = {name: float(cells[name]) for name in ("degrees", "background", "rest") if name in cells}
        x, y, score = (float(cells[name]) for name in ("x", "y", "score"))
        objects = tuple(map(ObjectDrift.from_row, json.loads(cells.get("objects", "[]"))))
        return cls(
            x,
            y,
            numbers.get("degrees"),
            score,
            cells.get("known") == "True",
            numbers.get("background"),
            numbers.get("rest"),
            objects,
        )

    def sentence(self) -> str:
        """Describe the drift in words, for the reason of a rejection."""
        if self.background is not None and self.known:
            if (worst := self.worst) is not None:
                return worst.sentence()
            if self.background >= (self.rest or 0):
                return "there is new structure outside the objects"
        if self.degrees is None:
            return f"the image content moved by about {self.pixels:.1f} px"
        return f"the pupil moved by about {self.pixels:.1f} px, the gaze by about {self.degrees:.0f}°"


@dataclass(frozen=True)
class DriftLimit:
    """Limit on the drift score, above which a refined image is rejected.

    Attributes:
        score: the largest score that passes; None lets every image pass.
        keep: folder or store for the rejected refined images; None drops them.
        drop_objects: True if an image is not rejected for its objects; those above the limit lose their annotations.
    """

    score: float | None = None
    keep: Path | None = None
    drop_objects: bool = False

    def rejects(self, drift: LabelDrift) -> bool:
        """Return whether an image with this drift is rejected; an unknown drift may be of any size."""
        return self.score is not None and not (drift.known and self._judged(drift) <= self.score)

    def drops(self, drift: ObjectDrift) -> bool:
        """Return whether the annotation of an object is dropped; an unknown drift is no reason."""
        return self.drop_objects and self.score is not None and drift.known and not drift.score <= self.score

    def reason(self, drift: LabelDrift) -> str:
        """Return the reason of a rejection, for ``rejected.csv``."""
        if not drift.known:
            return f"its drift is unknown: {UNKNOWN_DRIFT if drift.background is None else UNKNOWN_OBJECTS}"
        if self.drop_objects and drift.rest is not None:
            drift = drift._replace(objects=(), score=drift.rest)
        return f"{drift.sentence()} (drift score {drift.score:.2f}, limit {self.score:g})"

    def _judged(self, drift: LabelDrift) -> float:
        return drift.rest if self.drop_objects and drift.rest is not None else drift.score


NO_LIMIT = DriftLimit()
"""The limit that rejects no image."""


def write_drift(path: Path, rows: Iterable[tuple[str, LabelDrift]], *, objects: bool = False) -> None:
    """Write ``drift.csv`` with one row for each image, followed by one for each of its objects.

    Args:
        path: the table.
        rows: file names with their drift; they are read once, and not kept.
        objects: True adds the columns of objects.

    Raises:
        OutputError: the table cannot be written.
    """
    write_table(path, (*DRIFT_COLUMNS, *(OBJECT_COLUMNS if objects else ())), _rows(rows))


def _rows(rows: Iterable[tuple[str, LabelDrift]]) -> Iterator[dict[str, str]]:
    for name, drift in rows:
        yield {"file": name, **drift.cells()}
        yield from ({"file": name, **each.cells()} for each in drift.objects)


def drift_columns(drifts: Any) -> dict[str, Any]:
    """Return drift as labels of a store.

    Args:
        drifts: (N, 5), a row of :attr:`LabelDrift.numbers` for each image.

    Returns:
        Arrays (N,) by label name: ``drift_px`` in pixels, ``drift_deg`` in degrees, ``drift_score``, and
        ``drift_known``, 0 or 1.
    """
    x, y, degrees, score, known = drifts.T
    return {"drift_px": np.hypot(x, y), "drift_deg": degrees, "drift_score": score, "drift_known": known}


OBJECT_DRIFT = "object_drift"
"""Label of a store with the drift of the objects of an image as JSON; empty if it has none."""


def object_drift(drift: LabelDrift) -> str:
    """Return the value of :data:`OBJECT_DRIFT` for an image."""
    values = [each.values() for each in drift.objects]
    return json.dumps({"drift": values}, ensure_ascii=False) if values else ""


def tell_unknown(unknown: Sequence[str], total: int) -> None:
    """Warn of images whose drift is unknown.

    Args:
        unknown: their names.
        total: number of all images.
    """
    if unknown:
        examples = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        log.warning("the drift of %d of %d images is unknown, as %s: %s", len(unknown), total, UNKNOWN_DRIFT, examples)


class UnknownObjects:
    """A count of the objects whose drift is unknown, for a warning."""

    def __init__(self) -> None:
        self.total = self.unknown = 0
        self.examples: list[str] = []

    def count(self, drifts: Iterable[tuple[str, LabelDrift]]) -> Iterator[tuple[str, LabelDrift]]:
        """Yield images and their drift as they come, and count their objects."""
        for name, drift in drifts:
            unknown = [each for each in drift.objects if not each.known]
            self.total, self.unknown = self.total + len(drift.objects), self.unknown + len(unknown)
            self.examples += [f"{name} {each.name}" for each in unknown[: 3 - len(self.examples)]]
            yield name, drift

    def tell(self) -> None:
        """Warn of the objects that were counted."""
        if self.unknown:
            more = ", ..." if self.unknown > len(self.examples) else ""
            log.warning(
                "the drift of %d of %d objects is unknown, as they are too small or have too little texture to be "
                "followed: %s%s",
                self.unknown,
                self.total,
                ", ".join(self.examples),
                more,
            )
