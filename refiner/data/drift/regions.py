"""The region of an image that its label describes, and where drift is measured: labelled points, or a mask."""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.errors import ImageError, WrongInputError
from refiner.core.files import content_digest
from refiner.data.annotations.source import LabelSource
from refiner.data.labels.coordinates import ANGLES, UNITS, split_words
from refiner.data.labels.objects import OBJECTS, ImageAnnotations, ObjectLabel
from refiner.data.labels.records import Labels
from refiner.images.arrays import highest_level, resize, to_grey
from refiner.images.io import read_image

PUPIL = "pupil"

POINTS = (PUPIL, "joints")
"""Labels of one or several points, (2,) or (K, 2) in pixels; the first that an image has is used."""

UNKNOWN = "unknown"
"""Name in the result of :meth:`LabelRegion.watched` for an image whose label has no usable point."""

MASK = "mask"
"""Name of a mask in the result of :meth:`LabelRegion.watched`: (H, W), float32, weights in [0, 1]."""


@dataclass(frozen=True)
class LabelRegion:
    """The region in which drift is measured.

    Attributes:
        points: name of a label of one or several points; None takes the first of :data:`POINTS` that an image has, and
            its annotated objects; :data:`OBJECTS <refiner.data.labels.objects.OBJECTS>` takes the objects alone.
        mask: an image whose bright pixels are the region in every image, or a folder with one mask for each image,
            of the same name; None uses points.
        expected: True if the data set has such a label, so that the drift of an image without a point is unknown.
            :meth:`check` finds out.
    """

    points: str | None = None
    mask: Path | None = None
    expected: bool = False

    @property
    def names(self) -> Sequence[str]:
        """Names of the labels to use, in order of preference; ``nose`` may also be the columns nose_x and nose_y."""
        return (*POINTS, OBJECTS) if self.points is None else (self.points, *_columns(self.points))

    @property
    def job(self) -> Mapping[str, str]:
        """The choices that a measured drift depends on besides the images, for resuming; empty for the defaults."""
        chosen = {} if self.points is None else {"points": self.points}
        return chosen if self.mask is None else {**chosen, "mask": f"{self.mask} {content_digest(self.mask)}"}

    def watched(self, name: str, labels: Labels, size: tuple[int, int]) -> Labels:
        """Return the points, the objects or the mask that must not move in an image.

        Args:
            name: file name of the image, which is also that of its mask.
            labels: labels of the image.
            size: (height, width) to which a mask is resized.

        Returns:
            A label's name and its points (2,) or (K, 2) in pixels, of which some may be NaN, and after it ``objects``
            and a tuple of :class:`refiner.data.labels.objects.ObjectLabel`, if the image has either or both; or
            :data:`MASK` and weights (H, W); or :data:`UNKNOWN` and None. It is empty if the data set has no such
            label; the whole image is then measured.

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
        found = "".join(f"{label} {_written(value)}" for label, value in self._points(labels).items())
        return hashlib.sha256(found.encode()).hexdigest()[:16] if found else ""

    def _points(self, labels: Labels) -> Labels:
        found: Labels = {}
        for label in POINTS if self.points is None else (self.points,):
            points = point_pairs(labels.get(label, _joined(labels, label)))
            if not found and points is not None and np.isfinite(points).all(axis=-1).any():
                found = {label: points}
        annotations = labels.get(OBJECTS) if self.points in (None, OBJECTS) else None
        if isinstance(annotations, ImageAnnotations):
            found[OBJECTS] = annotations.objects
        return found or ({UNKNOWN: None} if self.expected else {})

    def check(
        self, source: Path, labels: Sequence[str], values: Callable[[str], Iterable[Any]] = lambda name: ()
    ) -> "LabelRegion":
        """Check that the data set has the label ``points``, and that it holds points.

        Args:
            source: the data set, for the message.
            labels: names of its labels.
            values: function from the name of a label to its values in the data set, which are read until one fits.

        Returns:
            The region in this data set, see :attr:`expected`.

        Raises:
            WrongInputError: ``points`` is set, and is not among the labels, or holds text or other numbers.
        """
        if self.points is None or set(_columns(self.points)) <= set(labels):
            return replace(self, expected=not set(self.names).isdisjoint(labels))
        if self.points not in labels:
            known = ", ".join(labels) or "none"
            raise WrongInputError(f"{source} has no label {self.points!r} to read points from; its labels: {known}")
        if self.points == OBJECTS:
            return replace(self, expected=True)
        if self.points in ANGLES or split_words(self.points)[-1] in UNITS:
            reason = "is not in pixels; --points needs x and y in pixels"
            raise WrongInputError(f"label {self.points!r} of {source} {reason}")
        # One row may be faulty; a label without a single point is the wrong one.
        example = None
        for value in values(self.points):
            if point_pairs(value) is not None:
                return replace(self, expected=True)
            if example is None and not (isinstance(value, str) and not value):
                example = value
        if example is None:
            return replace(self, expected=True)
        what = "text" if isinstance(example, str) and not _is_number(example) else "numbers"
        raise WrongInputError(
            f"label {self.points!r} of {source} holds {what} such as {str(example)[:40]!r}; --points needs x and y in "
            f"pixels, as [x, y], as a list of these, or as two columns {' and '.join(_columns(self.points))}"
        )

    def check_masks(self, source: Path, names: Sequence[str]) -> None:
        """Check that a folder of masks has one for at least one image, before any work is done.

        Args:
            source: the data set, for the message.
            names: ids of its images.

        Raises:
            WrongInputError: no image has a mask.
        """
        if self.mask is None or not self.mask.is_dir() or any((self.mask / name).is_file() for name in names):
            return
        raise WrongInputError(
            f"{self.mask} has no mask for any of the {len(names)} images of {source}; expected files of the same "
            f"names, such as {self.mask / names[0]}"
        )

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
"""The default region: the points and the objects that an image has, otherwise the whole image."""


def point_pairs(values: Any) -> np.ndarray[Any, Any] | None:
    """Return x and y of a label's points, (2,) or (K, 2); None if the label holds none.

    Args:
        values: an array (2,), (3,), (K, 2) or (K, 3) holds points; a third number is depth or visibility.
    """
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or not values.size:
        return None
    return values[..., :2] if values.ndim and values.shape[-1] in (2, 3) else None


def _written(value: Any) -> str:
    """Return what drift depends on as text: points, or where the objects are."""
    if isinstance(value, tuple):
        return str([_place(each) for each in value])
    return str(np.asarray(value).tolist())


def _place(label: ObjectLabel) -> tuple[Any, ...]:
    return label.id, label.category, label.box, label.polygons, label.mask, label.keypoints


def _columns(points: str) -> tuple[str, str]:
    return f"{points}_x", f"{points}_y"


def _joined(labels: Labels, points: str) -> Any:
    """Return the point in two columns, NaN where one is missing; None if there are no such columns."""
    cells = [labels.get(column) for column in _columns(points)]
    if all(cell is None for cell in cells):
        return None
    return np.array([float(cell) if cell is not None and _is_number(cell) else np.nan for cell in cells])


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def checked_region(region: LabelRegion, source: Path, table: LabelSource | None) -> LabelRegion:
    """Return the region for a folder of images with its labels, if it has any; see :meth:`LabelRegion.check`."""
    if table is None:
        return region.check(source, ())

    def values(name: str) -> Iterator[Any]:
        for sample in table:
            with contextlib.suppress(ImageError):  # a faulty row has no point
                if name in (labels := table[sample]):
                    yield labels[name]

    return region.check(source, table.names, values)
