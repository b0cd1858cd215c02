"""Label drift of an evaluation: of the labels that ``refiner refine`` watches, without the objects that it dropped."""

from collections.abc import Sequence

import numpy as np

from refiner.data.drift.measurement import measure_label_drift
from refiner.data.drift.table import LabelDrift
from refiner.data.labels.coordinates import PIXEL_LABELS
from refiner.data.labels.objects import OBJECTS, ImageAnnotations
from refiner.data.labels.records import Labels
from refiner.evaluation.samples import Sample


def drift_labels(raw: Sample) -> list[Labels]:
    """Return the labels of each render on which drift is measured.

    If objects come from masks, they do not count beside a pupil or joints, and an image without mask has no objects.
    """
    if not raw.from_masks:
        return raw.labels
    if any(name in row for row in raw.labels for name in PIXEL_LABELS):
        return [{name: value for name, value in row.items() if name != OBJECTS} for row in raw.labels]
    return [{OBJECTS: ImageAnnotations(), **row} for row in raw.labels]


def measure_kept_drift(
    before: np.ndarray, after: np.ndarray, watched: Sequence[Labels], dropped: Sequence[Sequence[int]]
) -> list[LabelDrift]:
    """Measure the label drift of pairs, without that of the objects whose annotations refining dropped.

    Args:
        before, after, watched: see :func:`refiner.data.drift.measurement.measure_label_drift`; all objects are in
            ``watched``, so that what is left of a dropped one is no new structure.
        dropped: numbers of the dropped objects of each image.
    """
    drifts = measure_label_drift(before, after, watched)
    return [drift.without(numbers) if drift.objects else drift for drift, numbers in zip(drifts, dropped, strict=True)]


def without_dropped(watched: Sequence[Labels], dropped: Sequence[Sequence[int]]) -> list[Labels]:
    """Return what is watched in each image, without the objects whose annotations refining dropped."""
    kept = []
    for row, numbers in zip(watched, dropped, strict=True):
        objects = tuple(each for at, each in enumerate(row.get(OBJECTS, ())) if at not in numbers)
        kept.append({**row, OBJECTS: objects} if OBJECTS in row else row)
    return kept
