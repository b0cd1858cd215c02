"""What drift says of the labels at hand: in which units it is told, and when it rejects."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refiner.data.labels.records import Labels
from refiner.data.labels.regions import MASK, PUPIL
from refiner.data.labels.tables import write_table
from refiner.images.registration import degrees_of_gaze, score_drift

DRIFT_FILE = "drift.csv"
DRIFT_COLUMNS = ("file", "drift_px", "drift_deg", "score")


class LabelDrift(NamedTuple):
    """How far the label of one image may have moved.

    Attributes:
        x, y: shift in pixels of the labelled point, of the worst of several, or of the whole image.
        degrees: what that is in gaze, where the point is a pupil; else None.
        score: length of the shift, plus what is lost of the structure; see ``DriftScores``.
    """

    x: float
    y: float
    degrees: float | None
    score: float

    @property
    def pixels(self) -> float:
        """Length of the shift."""
        return math.hypot(self.x, self.y)

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        """All four, NaN where there is no gaze."""
        return self.x, self.y, math.nan if self.degrees is None else self.degrees, self.score

    def cells(self) -> dict[str, str]:
        """Cells of a row of ``drift.csv``, but for the file."""
        degrees = "" if self.degrees is None else f"{self.degrees:.2f}"
        return {"drift_px": f"{self.pixels:.3f}", "drift_deg": degrees, "score": f"{self.score:.3f}"}

    def to_line(self) -> dict[str, str]:
        """Texts that :meth:`from_line` reads, exactly."""
        return {name: repr(value) for name, value in self._asdict().items() if value is not None}

    @classmethod
    def from_line(cls, cells: Mapping[str, str]) -> "LabelDrift":
        """From the texts of :meth:`to_line`."""
        degrees = cells.get("degrees")
        numbers = (float(cells[name]) for name in ("x", "y", "score"))
        x, y, score = numbers
        return cls(x, y, None if degrees is None else float(degrees), score)

    def sentence(self) -> str:
        """In words, for a reason."""
        if self.degrees is None:
            return f"what it shows moved by about {self.pixels:.1f} px"
        return f"the pupil moved by about {self.pixels:.1f} px, gaze by about {self.degrees:.0f}°"


@dataclass(frozen=True)
class DriftLimit:
    """When a refined image is rejected because its label is to be doubted.

    Attributes:
        score: the largest that passes; None lets everything pass.
        keep: folder or store that refined images go to that do not pass; None drops them.
    """

    score: float | None = None
    keep: Path | None = None

    def rejects(self, drift: LabelDrift) -> bool:
        """Whether an image is to be left out."""
        return self.score is not None and drift.score > self.score

    def reason(self, drift: LabelDrift) -> str:
        """For the table of rejects."""
        return f"{drift.sentence()}: drift score {drift.score:.2f}, the limit is {self.score:g}"


NO_LIMIT = DriftLimit()


def measure_label_drift(before: Any, after: Any, watched: Sequence[Labels]) -> list[LabelDrift]:
    """Score pairs of one size.

    Args:
        before, after: (N, C, H, W), in [-1, 1].
        watched: what must stay in each image, see :meth:`refiner.data.labels.regions.LabelRegion.watched`; an image of
            which nothing is known is scored as a whole.
    """
    synthetic, refined = (np.asarray(planes, np.float32) for planes in (before, after))
    kinds = [next(iter(row), None) for row in watched]
    found: list[LabelDrift | None] = [None] * len(watched)
    for kind in dict.fromkeys(kinds):
        numbers = [number for number, other in enumerate(kinds) if other == kind]
        values = [] if kind is None else [watched[number][kind] for number in numbers]
        points = _stacked(values) if kind not in (None, MASK) else None
        mask = np.stack(values) if kind == MASK else None
        scores = score_drift(synthetic[numbers], refined[numbers], points=points, mask=mask)
        lengths = np.hypot(scores.shifts[:, 0], scores.shifts[:, 1])
        degrees = degrees_of_gaze(lengths, synthetic.shape[3]).tolist() if kind == PUPIL else None
        for place, (number, (x, y)) in enumerate(zip(numbers, scores.shifts.tolist(), strict=True)):
            found[number] = LabelDrift(x, y, None if degrees is None else degrees[place], float(scores.scores[place]))
    return [drift for drift in found if drift is not None]


def _stacked(points: Sequence[Any]) -> np.ndarray[Any, Any]:
    """(N, K, 2) of points of each image, filled up with NaN where one has fewer."""
    arrays = [np.asarray(values, np.float32).reshape(-1, 2) for values in points]
    stacked = np.full((len(arrays), max(map(len, arrays)), 2), np.nan, np.float32)
    for number, values in enumerate(arrays):
        stacked[number, : len(values)] = values
    return stacked


def write_drift(path: Path, rows: Mapping[str, LabelDrift]) -> None:
    """Write ``drift.csv``, a row for each image by its name."""
    write_table(path, DRIFT_COLUMNS, ({"file": name, **drift.cells()} for name, drift in rows.items()))


def drift_columns(drifts: Any) -> dict[str, Any]:
    """The same as labels of a store, (N,), by their names there, from :attr:`LabelDrift.numbers` as (N, 4)."""
    x, y, degrees, score = drifts.T
    return {"drift_px": np.hypot(x, y), "drift_deg": degrees, "drift_score": score}
