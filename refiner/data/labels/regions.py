"""The region of an image that its label describes, and where drift is measured: labelled points, or a mask."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.errors import DataError, ImageError, WrongInputError
from refiner.core.files import content_digest
from refiner.data.labels.records import Labels
from refiner.data.labels.tables import LABELS_FILE, LabelTable
from refiner.images.arrays import highest_level, resize, to_grey
from refiner.images.io import read_image

log = logging.getLogger(__name__)

PUPIL = "pupil"

POINTS = (PUPIL, "joints")
"""Labels of one or several points, (2,) or (K, 2) in pixels; the first that an image has is used."""

MASK = "mask"
"""Name of a mask in the result of :meth:`LabelRegion.watched`: (H, W), float32, weights in [0, 1]."""


@dataclass(frozen=True)
class LabelRegion:
    """The region in which drift is measured.

    Attributes:
        points: name of a label of one or several points; None takes the first of :data:`POINTS` that an image has.
        mask: an image whose bright pixels are the region in every image, or a folder with one mask for each image,
            of the same name; None uses points.
    """

    points: str | None = None
    mask: Path | None = None

    @property
    def names(self) -> Sequence[str]:
        """Names of the labels to use, in order of preference."""
        return POINTS if self.points is None else (self.points,)

    @property
    def job(self) -> Mapping[str, str]:
        """The choices that a measured drift depends on besides the images, for resuming; empty for the defaults."""
        chosen = {} if self.points is None else {"points": self.points}
        return chosen if self.mask is None else {**chosen, "mask": f"{self.mask} {content_digest(self.mask)}"}

    def watched(self, name: str, labels: Labels, size: tuple[int, int]) -> Labels:
        """Return the points or the mask that must not move in an image.

        Args:
            name: file name of the image, which is also that of its mask.
            labels: labels of the image.
            size: (height, width) to which a mask is resized.

        Returns:
            One entry: a label's name and its points (2,) or (K, 2) in pixels, or :data:`MASK` and weights (H, W). It
            is empty if the image has no such label; the whole image is then measured.

        Raises:
            ImageError: the mask of the image is missing, unreadable or black.
        """
        # A mask replaces points.
        if self.mask is not None:
            return {MASK: self._weights(self.mask, name, size)}
        return self._points(labels)

    def digest(self, name: str, labels: Labels) -> str:
        """Return a digest of what :meth:`watched` is made of; empty if the whole image is measured.

        A drift that was measured on other points or another mask is out of date.
        """
        if self.mask is not None:
            return content_digest(_mask_path(self.mask, name))
        found = "".join(f"{label} {np.asarray(points).tolist()}" for label, points in self._points(labels).items())
        return hashlib.sha256(found.encode()).hexdigest()[:16] if found else ""

    def _points(self, labels: Labels) -> Labels:
        found = next((label for label in self.names if are_points(labels.get(label))), None)
        return {} if found is None else {found: labels[found]}

    def check(self, source: Path, labels: Sequence[str]) -> None:
        """Check that the images have the label ``points``.

        Args:
            source: the data set, for the message.
            labels: names of its labels.

        Raises:
            DataError: ``points`` is set and is not among the labels.
        """
        if self.points is not None and self.points not in labels:
            known = ", ".join(labels) or "none"
            raise WrongInputError(f"{source} has no label {self.points!r} to read points from; its labels: {known}")

    def _weights(self, mask: Path, name: str, size: tuple[int, int]) -> Any:
        path = _mask_path(mask, name)
        try:
            image = read_image(path)
        except ImageError as error:
            raise ImageError(name, f"its mask {path} {error.reason}") from error
        # The brighter a pixel of the mask, the more it counts.
        weights = resize(to_grey(image), size).astype(np.float32) / highest_level(image)
        if not weights.any():
            raise ImageError(name, f"its mask {path} is black; expected bright pixels in the region to measure")
        return weights


def _mask_path(mask: Path, name: str) -> Path:
    return mask / name if mask.is_dir() else mask


ANYTHING = LabelRegion()
"""The default region: the points that an image has, otherwise the whole image."""


def are_points(values: Any) -> bool:
    """Return whether a label value is an array of points, (2,) or (K, 2) numbers."""
    return (
        isinstance(values, np.ndarray) and values.dtype.kind in "fiu" and values.shape[-1:] == (2,) and values.size > 0
    )


def source_labels(source: Path) -> LabelTable | None:
    """Open the label table of a folder of images.

    Returns:
        The table, or None if there is none or it cannot be read. A table that cannot be read is logged.
    """
    path = source / LABELS_FILE
    try:
        return LabelTable(path) if path.is_file() else None
    except DataError as error:
        log.warning("%s; drift is measured on whole images", error)
        return None
