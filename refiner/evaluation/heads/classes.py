"""Head for the presence of classes: of annotated objects, or of the one class of each image.

It is measured by the balanced accuracy: the mean of the share of images with a class that are found to have it, and of
the share of images without it that are found not to. A constant prediction has 50 % for every class, however rare it
is. Each share is a mean over images, so that its interval holds for few images with a class, too. The average
precision, by contrast, depends on how rare a class is, and on the order of all images.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from refiner.data.labels.objects import OBJECTS, ImageAnnotations
from refiner.evaluation.heads.head import Labelled, Measure, Shared, Sums, UnfitError, check_counts
from refiner.evaluation.samples import Original
from refiner.models.classifier import SmallClassifier

CLASS_LABELS = ("label", "class", "category", "class_name")
"""Names of labels that hold the class of an image, as text."""

MIN_TRAINED_EACH = 10
"""Smallest number of renders with a class, and without it."""

MIN_TESTED_EACH = 5
"""Smallest number of real images with a class, and without it."""


class ClassesHead:
    """Classifier of the presence of each of ``names``; ``shares`` are the shares of the renders that have it."""

    steps, batch_size = 400, 32

    def __init__(self, names: Sequence[str], shares: Sequence[float]) -> None:
        self.names = list(names)
        present = torch.tensor(shares, dtype=torch.float32).clamp(0.01, 0.99)
        self._weight = (1 - present) / present

    def build(self, size: tuple[int, int], channels: int) -> nn.Module:
        """Build the network for images of (height, width)."""
        return SmallClassifier(classes=len(self.names), channels=channels)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy, in which images with and without a class weigh the same."""
        return functional.binary_cross_entropy_with_logits(outputs, targets, pos_weight=self._weight)

    def outcomes(self, outputs: Tensor, targets: Tensor) -> Sums:
        """Return, for each class, images found with it, with it, found without it, and without it, (N, 4K)."""
        present, found = targets > 0.5, outputs > 0
        sums = torch.stack([present & found, present, ~present & ~found, ~present], dim=2)
        return sums.flatten(1).double().numpy()

    def measures(self, trained: Tensor, tested: Tensor) -> Sequence[Measure]:
        """Return the balanced accuracy."""
        return (Measure("class_accuracy", "balanced accuracy on real labels", "%", True, balanced_accuracy, 50.0),)


def balanced_accuracy(sums: Sums) -> Sums:
    """Return the balanced accuracy in percent, the mean over classes, (...), from the sums of outcomes, (..., 4K)."""
    counts = sums.reshape(*sums.shape[:-1], -1, 4)
    with np.errstate(invalid="ignore"):
        shares = np.stack([counts[..., 0] / counts[..., 1], counts[..., 2] / counts[..., 3]])
    return np.asarray(100 * np.nanmean(shares, axis=(0, -1)))


def share_classes(renders: Labelled, refined: Sequence[Original], real: Labelled) -> Shared:
    """Find the classes of images that the renders and the real images share.

    Args:
        renders, real: the labels of both.
        refined: the labels of the refined images.

    Raises:
        UnfitError: there are none, or too few.
    """
    label = _common_label(renders, real)
    sides = [_present(rows, label) for rows in (renders.rows, refined, real.rows)]
    pairs = sorted(sides[0].keys() & sides[1].keys())
    check_counts(len(pairs), len(sides[2]), renders, real, "classes")
    # Match the classes by their names.
    every: list[set[str]] = [set().union(*side.values()) - {""} for side in sides]
    shared = sorted(every[0] & every[2])
    if not shared:
        raise UnfitError(
            f"the classes of {renders.where} are {_listed(every[0])}, those of {real.where} {_listed(every[2])}, and "
            "none is in both"
        )
    notes = one_sided(every[0], every[2], renders, real)
    # Leave out classes that are in too few images, or in almost all.
    names, dropped = [], []
    for name in shared:
        counts = _count(name, [sides[0][number] for number in pairs]), _count(name, list(sides[2].values()))
        if min(counts[0]) < MIN_TRAINED_EACH or min(counts[1]) < MIN_TESTED_EACH:
            dropped.append(f"{name} ({counts[0][0]} of {len(pairs)} renders, {counts[1][0]} of {len(sides[2])} real)")
        else:
            names.append(name)
    needed = (
        f"at least {MIN_TRAINED_EACH} renders and {MIN_TESTED_EACH} real images with a class, and as many without it, "
        "are needed"
    )
    if not names:
        raise UnfitError(f"no class is present in some images and absent in others: {_listed(dropped)}; {needed}")
    if dropped:
        notes.append(f"Classes that too few images have or lack are not tested: {_listed(dropped)}; {needed}.")
    raw, after = (_table([side[number] for number in pairs], names) for side in sides[:2])
    head = ClassesHead(names, raw.mean(dim=0).tolist())
    about = f"presence of {len(names)} classes: {_listed(names)}"
    return Shared(
        "classes", about, head, raw, after, _table(list(sides[2].values()), names), pairs, list(sides[2]), notes
    )


def one_sided(synthetic: set[str], real: set[str], renders: Labelled, tested: Labelled) -> list[str]:
    """Return sentences that name the classes that only one side has."""
    pairs = ((synthetic - real, renders), (real - synthetic, tested))
    return [f"Only {side.where} has these classes: {_listed(names)}." for names, side in pairs if names]


def _common_label(renders: Labelled, real: Labelled) -> str:
    """Return the name of the label with classes that both sides have."""
    sides = [{name for row in side.rows for name in row.labels} for side in (renders, real)]
    for name in (OBJECTS, *CLASS_LABELS):
        if name in sides[0] & sides[1]:
            return name
    raise UnfitError(f"both sides share no objects, and no label {_listed(CLASS_LABELS)}")


def _present(rows: Sequence[Original], label: str) -> dict[int, set[str]]:
    """Return the classes in each image whose classes are known, by the number of the image."""
    found = {}
    for number, row in enumerate(rows):
        value = row.labels.get(label)
        if isinstance(value, ImageAnnotations):
            found[number] = {each.category for each in value.objects}
        elif value is not None and label != OBJECTS:
            found[number] = {str(value)}
    return found


def _count(name: str, images: Sequence[set[str]]) -> tuple[int, int]:
    present = sum(name in classes for classes in images)
    return present, len(images) - present


def _table(images: Sequence[set[str]], names: Sequence[str]) -> Tensor:
    return torch.tensor([[float(name in classes) for name in names] for classes in images])


def _listed(names: Any, most: int = 8) -> str:
    """Return names as text; of many, the first ones."""
    names = sorted(names) if isinstance(names, set | Mapping) else list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + more
