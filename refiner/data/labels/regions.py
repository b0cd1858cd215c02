"""What of an image its label describes, and must not move: a labelled point, several, or a masked region."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.errors import DataError, ImageError
from refiner.core.files import stamp
from refiner.data.labels.records import Labels
from refiner.data.labels.tables import LABELS_FILE, LabelTable
from refiner.images.arrays import highest_level, resize, to_grey
from refiner.images.io import read_image

log = logging.getLogger(__name__)

PUPIL = "pupil"

POINTS = (PUPIL, "joints")
"""Labels of one or several points, (2,) or (K, 2) in pixels, in the order in which they are looked for."""

MASK = "mask"
"""Under which a region stands among what is watched, (H, W), weights from 0 to 1."""


@dataclass(frozen=True)
class LabelRegion:
    """Where drift is read.

    Attributes:
        points: name of a label of one or several points; None takes the first of :data:`POINTS` that an image has.
        mask: an image whose bright pixels are the region in every image, or a folder of such, of the images' names;
            None reads points.
    """

    points: str | None = None
    mask: Path | None = None

    @property
    def names(self) -> Sequence[str]:
        """Of the labels that are looked for, in this order."""
        return POINTS if self.points is None else (self.points,)

    @property
    def job(self) -> Mapping[str, str]:
        """What a finished drift follows from, beside the images; empty without a choice."""
        chosen = {} if self.points is None else {"points": self.points}
        return chosen if self.mask is None else {**chosen, "mask": f"{self.mask} {stamp(self.mask)}"}

    def watched(self, name: str, labels: Labels, size: tuple[int, int]) -> Labels:
        """What must stay in an image: one entry, the name of a label and its points, or :data:`MASK` and weights.

        Args:
            name: of the image, for its mask.
            labels: of the image.
            size: (height, width), to which a mask is brought.

        Returns:
            Nothing where nothing is known: the whole image is what must stay.

        Raises:
            ImageError: it has no mask, or none that can be used.
        """
        if self.mask is not None:
            return {MASK: self._weights(self.mask, name, size)}
        found = next((label for label in self.names if are_points(labels.get(label))), None)
        return {} if found is None else {found: labels[found]}

    def check(self, source: Path, labels: Sequence[str]) -> None:
        """Refuse a name that no image has.

        Args:
            source: of the images, for the message.
            labels: names of their labels.

        Raises:
            DataError: ``points`` is not among them.
        """
        if self.points is not None and self.points not in labels:
            known = ", ".join(labels) or "none"
            raise DataError(f"{source}: has no label {self.points!r} to read points from; its labels: {known}")

    def _weights(self, mask: Path, name: str, size: tuple[int, int]) -> Any:
        path = mask / name if mask.is_dir() else mask
        try:
            image = read_image(path)
        except ImageError as error:
            raise ImageError(name, f"its mask {path} {error.reason}") from error
        weights = resize(to_grey(image), size).astype(np.float32) / highest_level(image)
        if not weights.any():
            raise ImageError(name, f"its mask {path} is black: nothing is to stay")
        return weights


ANYTHING = LabelRegion()
"""The points that an image has, or else the whole of it."""


def are_points(values: Any) -> bool:
    """Whether a label is (2,) or (K, 2) numbers, rather than anything else under that name."""
    return (
        isinstance(values, np.ndarray) and values.dtype.kind in "fiu" and values.shape[-1:] == (2,) and values.size > 0
    )


def source_labels(source: Path) -> LabelTable | None:
    """The label table of a folder of images; None without one, or where it cannot be read, which is logged."""
    path = source / LABELS_FILE
    try:
        return LabelTable(path) if path.is_file() else None
    except DataError as error:
        log.warning("%s; drift is that of whole images", error)
        return None
