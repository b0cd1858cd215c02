"""Labels in pixels of the image: which ones they are, and how they follow a crop and a resize.

A point is (x, y), with the centre of the top-left pixel at (0, 0). A box is ``xywh``, its top-left corner with width
and height, or ``xyxy``, two opposite corners; corners are points. Some names and shapes show what a label is. Any
other array is ambiguous and has to be declared, because a point that stays behind its image is a wrong label.

Columns of single numbers are the business of :mod:`refiner.data.labels.coordinate_columns`.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from refiner.core.errors import UsageError

Array = np.ndarray[Any, Any]

Kind = Literal["points", "xywh", "xyxy", "mask", "kept"]
"""Kind of a label: points, a box, values for each pixel, or nothing that a change of the image moves."""

BOX_FORMATS = ("xywh", "xyxy")

UNITS = {"mm", "cm", "m", "rad", "deg", "radians", "degrees", "ms", "s"}
"""Last words of names whose values are not in pixels."""

RELATIVE = {"norm", "normalized", "normalised", "rel", "relative", "frac", "fraction", "percent", "pct"}
"""Last words of names whose values are shares of the image size: they survive a resize, but not a crop."""

VECTORS = {"quaternion", "quat", "euler", "rotation", "direction", "vector", "vec", "normal", "rgb", "color", "colour"}
"""Words in the names of vectors and matrices that are no positions in the image."""

ANGLES = ("gaze", "head_pose")
"""Labels of (pitch, yaw) in radians."""

PIXEL_LABELS = ("pupil", "joints")
"""Labels that always hold points in pixels."""


@dataclass(frozen=True)
class Declared:
    """Kinds that the user declares for labels whose names and shapes do not show them.

    Attributes:
        points: names of labels with one or several points.
        boxes: pairs (name, format) of labels with one or several boxes; formats are :data:`BOX_FORMATS`.
        keep: names of labels that are no positions in the image.
    """

    points: tuple[str, ...] = ()
    boxes: tuple[tuple[str, str], ...] = ()
    keep: tuple[str, ...] = ()

    @property
    def moving(self) -> set[str]:
        """Names of points and boxes."""
        return {*self.points, *dict(self.boxes)}

    def check(self, known: Sequence[str], source: object) -> None:
        """Check that every declared label exists.

        Raises:
            UsageError: a label is not among the ``known`` ones of ``source``, or is declared twice.
        """
        declared = [*self.points, *(name for name, _ in self.boxes), *self.keep]
        if twice := {name for name in declared if declared.count(name) > 1}:
            raise UsageError(f"label {min(twice)} is declared twice; name it in one of --points, --boxes and --keep")
        reachable = {name for label in known for name in (label, *stems(label))}
        if missing := set(declared) - reachable:
            found = ", ".join(known) or "none"
            raise UsageError(f"{source} has no label {min(missing)!r}; its labels: {found}")


NOTHING_DECLARED = Declared()


class Change(NamedTuple):
    """A crop of an image, then a resize of the cropped part.

    Attributes:
        size: (height, width) of the image before.
        corner: (top, left) pixel of the crop.
        crop: (height, width) of the crop.
        result: (height, width) after the resize.
    """

    size: tuple[int, int]
    corner: tuple[int, int]
    crop: tuple[int, int]
    result: tuple[int, int]

    @property
    def scale(self) -> Array:
        """Factors of x and y."""
        return np.array([self.result[1] / self.crop[1], self.result[0] / self.crop[0]])

    @property
    def crops(self) -> bool:
        """True if the crop cuts something off."""
        return self.crop != self.size

    @property
    def changes(self) -> bool:
        """True if any pixel has another position afterwards."""
        return self.crops or self.crop != self.result

    def move(self, points: Array) -> Array:
        """Move points (..., 2). Sizes scale from the image's edge, which is at -0.5."""
        shifted = points - np.array([self.corner[1], self.corner[0]], float)
        return np.asarray((shifted + 0.5) * self.scale - 0.5)

    def sample(self, values: Array) -> Array:
        """Crop and resize values for each pixel, (H, W) or (H, W, C), without mixing them: the nearest is taken."""
        (top, left), (height, width) = self.corner, self.crop
        rows, columns = (
            ((np.arange(after) + 0.5) * before / after).astype(int)
            for before, after in zip(self.crop, self.result, strict=True)
        )
        return np.asarray(values[top : top + height, left : left + width][rows[:, None], columns])


def follow(name: str, value: Array, kind: Kind, change: Change) -> Array:
    """Return an array label after its image was changed.

    Args:
        name: name of the label, for the message.
        value: points (2,), (3,), (K, 2), (K, 3) ..., of which x and y move; boxes (4,) or (K, 4); or values for each
            pixel, (H, W) or (H, W, C).
        kind: what the label is, from :func:`array_kind`.
        change: the crop and the resize.

    Raises:
        ValueError: values for each pixel have another size than the image.
    """
    if kind == "kept":
        return value
    if kind == "mask":
        if value.shape[:2] != change.size:
            sizes = "x".join(map(str, value.shape[:2])), "{}x{}".format(*change.size)
            raise ValueError(f"its label {name} is {sizes[0]}, but the image is {sizes[1]}; a mask needs the same size")
        return change.sample(value)
    # Only x and y of a point move; depth or visibility stays. Millionths of a pixel are enough.
    moved = np.array(value, float)
    moved[..., :2] = np.round(change.move(moved[..., :2]), 6)
    if kind == "xywh":
        moved[..., 2:] = np.round(moved[..., 2:] * change.scale, 6)
    elif kind == "xyxy":
        moved[..., 2:] = np.round(change.move(moved[..., 2:]), 6)
    return moved


def array_kind(
    name: str, value: Array, size: tuple[int, ...], *, crops: bool = False, declared: Declared = NOTHING_DECLARED
) -> Kind:
    """Find out what an array label is.

    Args:
        name: name of the label.
        value: its array.
        size: (height, width) of its image.
        crops: True if the image is cropped, which shares of its size do not survive.
        declared: what the user says.

    Raises:
        UsageError: the label is ambiguous, or has a shape that its declaration does not fit.
    """
    words = split_words(name)
    length = value.shape[-1] if value.ndim else 0
    # The user knows best.
    if name in declared.keep:
        return "kept"
    if name in declared.points:
        if length not in (2, 3, 4):
            raise UsageError(f"label {name} is {_shape(value)}; --points needs [x, y], [x, y, z] or a list of these")
        return "points"
    if (box := dict(declared.boxes).get(name)) is not None:
        if length != 4 or box not in BOX_FORMATS:
            raise UsageError(f"label {name} is {_shape(value)}; --boxes needs four numbers for each box")
        return "xywh" if box == "xywh" else "xyxy"
    # Some names and shapes leave no doubt.
    flat = value.ndim == 2 and length in (2, 3, 4)
    if name == "mask" or (value.ndim >= 2 and value.shape[:2] == tuple(size) and not flat):
        return "mask"
    if name in PIXEL_LABELS and length in (2, 3):
        return "points"
    if name in ANGLES or value.size <= 1 or words[-1] in UNITS or VECTORS & set(words):
        return "kept"
    if words[-1] in RELATIVE:
        if not crops:
            return "kept"
    elif value.ndim >= 2 and length == 2 and not look_relative(value) and value.shape[:2] != tuple(size):
        return "points"
    raise UsageError(ambiguity(name, _shape(value)))


def ambiguity(name: str, what: str) -> str:
    """Return the message that asks the user to declare a label."""
    return (
        f"label {name} is {what}, and the images change their size, so it must be known whether it moves; declare it "
        f"with --points {name} (x and y in pixels), with --boxes {name}:xywh or --boxes {name}:xyxy, or with --keep "
        f"{name} if it is no position in the image"
    )


def look_relative(values: Array) -> bool:
    """Return whether coordinates look like shares of the image size: all in [0, 1], and not all whole."""
    known = values[np.isfinite(values)]
    return bool(known.size and (known >= 0).all() and (known <= 1).all() and (known % 1).any())


def _shape(value: Array) -> str:
    if value.ndim == 1:
        return f"a list of {len(value)} numbers"
    return f"an array of {' x '.join(map(str, value.shape))} numbers"


@functools.lru_cache(maxsize=4096)
def split_words(name: str) -> tuple[str, ...]:
    """Return the words of a label's name in lower case: ``noseTip_x`` gives nose, tip, x."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return tuple(word for word in re.split(r"[^a-z0-9]+", spaced) if word) or ("",)


AXIS = re.compile(r"(c?)([xyz])(\d*|min|max|c)")
"""Words of a name that name an axis: x, x1, xmin, cx and so on."""


def stems(column: str) -> list[str]:
    """Return the names that a column of one coordinate can be declared by: ``nose_x`` belongs to ``nose``."""
    words = split_words(column)
    kept = [word for word in words if not AXIS.fullmatch(word)]
    parts = ("w", "h", "width", "height", "min", "max", "left", "right", "top", "bottom")
    shorter = [word for word in kept if word not in parts]
    return list(dict.fromkeys("_".join(part) for part in (kept, shorter) if part and tuple(part) != words))
