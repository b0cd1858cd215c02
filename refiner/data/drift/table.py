"""Label drift of refined images: how far a label may have moved, in pixels and degrees, and when it rejects.

Label drift is the shift between a synthetic image and its refined version, measured by registration. The label is
copied from the synthetic image, so it is off by this shift. See :mod:`refiner.data.drift.scores`.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refiner.data.drift.regions import MASK, PUPIL, UNKNOWN
from refiner.data.drift.scores import degrees_of_gaze, score_drift
from refiner.data.labels.records import Labels
from refiner.data.labels.tables import write_table

log = logging.getLogger(__name__)

DRIFT_FILE = "drift.csv"
"""Name of the table of drift in a folder of refined images."""

DRIFT_COLUMNS = ("file", "drift_px", "drift_deg", "score", "known")

UNKNOWN_DRIFT = "no labelled point lies in the image, or what is labelled has too little texture to be followed"
"""Reason why a drift is unknown, for messages."""


class LabelDrift(NamedTuple):
    """Estimated shift of one image's label.

    Attributes:
        x, y: shift in pixels, of the labelled point, of the worst of several points, or of the whole image.
        degrees: the same shift as an angle of gaze, in degrees, if the point is a pupil; otherwise None.
        score: length of the shift plus the loss of structure; see :class:`refiner.data.drift.scores.DriftScores`.
        known: False if the labelled points or the mask could not be followed; the shift is that of the whole image.
    """

    x: float
    y: float
    degrees: float | None
    score: float
    known: bool = True

    @property
    def pixels(self) -> float:
        """Length of the shift, in pixels."""
        return math.hypot(self.x, self.y)

    @property
    def numbers(self) -> tuple[float, float, float, float, float]:
        """The tuple (x, y, degrees, score, known), with NaN for degrees that are None."""
        return self.x, self.y, math.nan if self.degrees is None else self.degrees, self.score, float(self.known)

    def cells(self) -> dict[str, str]:
        """Return the cells of a row of ``drift.csv``, without the column ``file``."""
        degrees = "" if self.degrees is None else f"{self.degrees:.2f}"
        score, known = f"{self.score:.3f}", str(int(self.known))
        return {"drift_px": f"{self.pixels:.3f}", "drift_deg": degrees, "score": score, "known": known}

    def to_line(self) -> dict[str, str]:
        """Return the fields as texts, from which :meth:`from_line` restores them exactly."""
        return {name: repr(value) for name, value in self._asdict().items() if value is not None}

    @classmethod
    def from_line(cls, cells: Mapping[str, str]) -> "LabelDrift":
        """Build a drift from the texts of :meth:`to_line`."""
        degrees = cells.get("degrees")
        x, y, score = (float(cells[name]) for name in ("x", "y", "score"))
        return cls(x, y, None if degrees is None else float(degrees), score, cells.get("known") == "True")

    def sentence(self) -> str:
        """Describe the drift in words, for the reason of a rejection."""
        if self.degrees is None:
            return f"the image content moved by about {self.pixels:.1f} px"
        return f"the pupil moved by about {self.pixels:.1f} px, the gaze by about {self.degrees:.0f}°"


@dataclass(frozen=True)
class DriftLimit:
    """Limit on the drift score, above which a refined image is rejected.

    Attributes:
        score: the largest score that passes; None lets every image pass.
        keep: folder or store for the rejected refined images; None drops them.
    """

    score: float | None = None
    keep: Path | None = None

    def rejects(self, drift: LabelDrift) -> bool:
        """Return whether an image with this drift is rejected; an unknown drift may be of any size."""
        return self.score is not None and not (drift.known and drift.score <= self.score)

    def reason(self, drift: LabelDrift) -> str:
        """Return the reason of a rejection, for ``rejected.csv``."""
        if not drift.known:
            return f"its drift is unknown: {UNKNOWN_DRIFT}"
        return f"{drift.sentence()} (drift score {drift.score:.2f}, limit {self.score:g})"


NO_LIMIT = DriftLimit()
"""The limit that rejects no image."""


def measure_label_drift(before: Any, after: Any, watched: Sequence[Labels]) -> list[LabelDrift]:
    """Measure the label drift of pairs of images.

    Args:
        before, after: synthetic and refined images, (N, C, H, W), float32, in [-1, 1].
        watched: the points or the mask that must not move in each image, from
            :meth:`refiner.data.drift.regions.LabelRegion.watched`. An image with an empty entry is scored as a whole,
            and so is one whose points or mask cannot be followed; its drift is then unknown.

    Returns:
        One drift for each image, in order.
    """
    # Find the kind of label that each image has.
    synthetic, refined = (np.asarray(planes, np.float32) for planes in (before, after))
    kinds = [next(iter(row), None) for row in watched]
    found: list[LabelDrift | None] = [None] * len(watched)
    # Score images with the same kind of label together, in one registration.
    for kind in dict.fromkeys(kinds):
        numbers = [number for number, other in enumerate(kinds) if other == kind]
        values = [] if kind is None else [watched[number][kind] for number in numbers]
        points = _stacked(values) if kind not in (None, MASK, UNKNOWN) else None
        mask = np.stack(values) if kind == MASK else None
        scores = score_drift(synthetic[numbers], refined[numbers], points=points, mask=mask)
        # A shift of a pupil is also an angle of gaze.
        lengths = np.hypot(scores.shifts[:, 0], scores.shifts[:, 1])
        degrees = degrees_of_gaze(lengths, synthetic.shape[3]).tolist() if kind == PUPIL else None
        for index, (number, (x, y)) in enumerate(zip(numbers, scores.shifts.tolist(), strict=True)):
            known = kind != UNKNOWN and bool(scores.known[index])
            angle = None if degrees is None or not known else degrees[index]
            found[number] = LabelDrift(x, y, angle, float(scores.scores[index]), known)
    return [drift for drift in found if drift is not None]


def _stacked(points: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Points of each image as one array (N, K, 2), padded with NaN."""
    arrays = [np.asarray(values, np.float32).reshape(-1, 2) for values in points]
    stacked = np.full((len(arrays), max(map(len, arrays)), 2), np.nan, np.float32)
    for number, values in enumerate(arrays):
        stacked[number, : len(values)] = values
    return stacked


def write_drift(path: Path, rows: Mapping[str, LabelDrift]) -> None:
    """Write ``drift.csv`` with one row for each image.

    Args:
        path: the table.
        rows: drift by file name.

    Raises:
        OutputError: the table cannot be written.
    """
    write_table(path, DRIFT_COLUMNS, ({"file": name, **drift.cells()} for name, drift in rows.items()))


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


def tell_unknown(unknown: Sequence[str], total: int) -> None:
    """Warn of images whose drift is unknown.

    Args:
        unknown: their names.
        total: number of all images.
    """
    if unknown:
        examples = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        log.warning("the drift of %d of %d images is unknown, as %s: %s", len(unknown), total, UNKNOWN_DRIFT, examples)
