"""Check that a render and its refined image have the same labels; else they are no pair, or labels were changed."""

from collections.abc import Sequence, Set
from pathlib import Path

import numpy as np

from refiner.core.errors import ImageError, UsageError, WrongInputError
from refiner.data.formats.registry import Dataset, open_dataset
from refiner.data.labels.objects import OBJECTS
from refiner.data.labels.records import Labels
from refiner.evaluation.pairs.same_labels import lists_dropped, same_label
from refiner.evaluation.samples import Sample

_COMPARED = 20  # images whose labels are compared to tell which arguments are swapped


def check_labels(synthetic: Path, refined: Path, real: Path, renders: Sample, others: Sample) -> None:
    """Refuse pairs whose labels differ: the images are no pairs, or the labels were changed."""
    ids, before, after = others.ids, _comparable(renders, others), others.labels
    if type(open_dataset(synthetic)) is not type(open_dataset(refined)):
        return  # a scene is cut to a patch in one of them, so that points differ
    # Refined images may have no labels at all; but if some have a label, the others must not have lost it.
    known = {name for row in after for name in row}
    drops = lists_dropped(refined)
    differing = [
        (sample, name)
        for sample, row, other in zip(ids, before, after, strict=True)
        if (name := _difference(row, other, drops=drops) or _lost(row, other, known)) is not None
    ]
    if not differing:
        return
    # Tell by the labels of the real images which arguments are swapped.
    dataset = open_dataset(real)
    for option, rows in (("--refined", before), ("--synthetic", after)):
        if _shares_labels(dataset, ids, rows):
            raise UsageError(f"the labels of {real} show that {option} and --real are swapped; exchange them")
    sample, name = differing[0]
    raise WrongInputError(
        f"{refined}: the label {name} of {sample} is not that of the render in {synthetic}, and so for "
        f"{len(differing):,} of {len(ids):,} images; name the refined images of these renders, or refine them again"
    )


def _shares_labels(dataset: Dataset, ids: Sequence[str], rows: Sequence[Labels]) -> bool:
    """Return whether the first images of these names have the same labels in a data set."""
    known, compared = set(dataset.ids), 0
    for sample, row in list(zip(ids, rows, strict=True))[:_COMPARED]:
        if sample not in known:
            return False
        try:
            other = dataset.read(sample).labels
        except ImageError:
            continue
        if _difference(row, other) is not None:
            return False
        compared += any(is_array(name, value) and name in other for name, value in row.items())
    return compared > 0


def _comparable(renders: Sample, others: Sample) -> list[Labels]:
    """Return the labels of the renders, without objects in pixels of images of another size than the refined ones."""
    sizes = zip(renders.originals, others.originals, strict=True)
    return [
        row if original.size == other.size else {name: value for name, value in row.items() if name != OBJECTS}
        for row, (original, other) in zip(renders.labels, sizes, strict=True)
    ]


def _lost(row: Labels, other: Labels, known: Set[str]) -> str | None:
    """Return the name of the first label of a row that the other lacks, among those that other images have."""
    return next((name for name in row if name in known and name not in other), None)


def _difference(row: Labels, other: Labels, *, drops: bool = False) -> str | None:
    """Return the name of the first label that both rows have with other values; None if there is none.

    Args:
        row: labels of a render.
        other: labels of its refined image.
        drops: True if objects may be missing from the refined image.
    """
    for name, value in row.items():
        if name in other and not name.startswith("drift_") and not same_label(name, value, other[name], drops=drops):
            return name
    return None


def is_array(name: str, value: object) -> bool:
    """Return whether a label holds numbers in an array, such as gaze or points, and is no drift score."""
    return not name.startswith("drift_") and isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
