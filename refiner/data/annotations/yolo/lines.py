"""Lines of YOLO's text files: a class and a box, an outline or keypoints, in shares of the image size.

- ``class x y width height``: a box by its centre.
- ``class x1 y1 x2 y2 x3 y3 ...``: an outline of at least three points. A box at any angle is an outline of four.
- ``class x y width height x1 y1 [v1] ...``: a box with keypoints, as ``kpt_shape`` in ``data.yaml`` says.

One more number at the end is the confidence of a prediction.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from refiner.data.labels.objects import Box

DIGITS = 9
"""Decimals of coordinates in pixels that are computed from shares."""

_SLACK = 1e-6  # beyond 0 and 1, from rounding in single precision

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)


class KeypointShape(NamedTuple):
    """Number of keypoints of an object, and of values for each: 2, x and y, or 3, also the visibility."""

    points: int
    values: int


@dataclass(frozen=True)
class Shape:
    """An object in a line, with coordinates in shares of the image size.

    Attributes:
        number: number of its class.
        box: centre, width and height; None for an outline.
        outline: x and y of its points in turn; empty for a box.
        keypoints: x, y and visibility of each keypoint in turn; empty if there are none.
        confidence: confidence of a prediction; None if there is none.
    """

    number: int
    box: tuple[float, ...] | None = None
    outline: tuple[float, ...] = ()
    keypoints: tuple[float, ...] = ()
    confidence: float | None = None


def parse_line(line: str, keypoints: KeypointShape | None = None, *, has_data_file: bool = True) -> Shape:
    """Return the object in a line.

    Args:
        line: the line.
        keypoints: number of keypoints and of values for each; None if the objects have none.
        has_data_file: a ``data.yaml`` shows that objects without ``kpt_shape`` have no keypoints. Without it, an
            outline with a confidence is refused, since it looks like a box with keypoints.

    Raises:
        ValueError: the line is none of a YOLO file.
    """
    texts = line.split()
    if bad := next((text for text in texts if not _NUMBER.fullmatch(text)), None):
        hint = "; numbers have decimal points, and blanks between them" if "," in bad else ""
        raise ValueError(f"holds {bad[:40]!r}, which is not a number{hint}")
    values = [float(text) for text in texts]
    if values[0] % 1 or values[0] < 0 or values[0] > 10**9:
        raise ValueError(f"begins with {texts[0]}; expected the number of a class")
    number, rest = int(values[0]), values[1:]
    if keypoints is not None:
        return _parse_pose(number, rest, keypoints)
    if len(rest) < 4:
        raise ValueError(f"has {len(rest)} values after its class; expected 4 for a box, or at least 6 for an outline")
    if len(rest) > 5 and len(rest) % 2 and not has_data_file:
        raise ValueError(
            f"has {len(rest)} values after its class, an odd number; write a data.yaml, with kpt_shape if these are "
            "keypoints"
        )
    confidence = _shares([rest.pop()], "its confidence")[0] if len(rest) % 2 else None
    found = _shares(rest, "a coordinate")
    if len(found) == 4:
        return Shape(number, box=found, confidence=confidence)
    return Shape(number, outline=found, confidence=confidence)


def _parse_pose(number: int, rest: list[float], keypoints: KeypointShape) -> Shape:
    expected = 4 + keypoints.points * keypoints.values
    if len(rest) not in (expected, expected + 1):
        raise ValueError(
            f"has {len(rest)} values after its class; expected {expected}, for a box and {keypoints.points} keypoints "
            f"of {keypoints.values} values, as kpt_shape says"
        )
    confidence = _shares([rest[expected]], "its confidence")[0] if len(rest) > expected else None
    box, points = _shares(rest[:4], "a coordinate"), rest[4:expected]
    triples: list[float] = []
    for start in range(0, len(points), keypoints.values):
        x, y = _shares(points[start : start + 2], "a keypoint")
        if keypoints.values == 3:
            visibility = points[start + 2]
            if not 0 <= visibility <= 2:
                raise ValueError(f"has a keypoint of visibility {visibility:g}; expected 0, 1 or 2")
            visibility = int(visibility) if visibility % 1 == 0 else visibility
        else:
            visibility = 2 if x or y else 0
        triples += [x, y, visibility]
    return Shape(number, box=box, keypoints=tuple(triples), confidence=confidence)


def _shares(values: Sequence[float], what: str) -> tuple[float, ...]:
    for value in values:
        if not -_SLACK <= value <= 1 + _SLACK:
            raise ValueError(f"has {what} of {value:g}; expected a share of the image size, from 0 to 1")
    return tuple(values)


class Pixels(NamedTuple):
    """The box, outline and keypoints of a line in pixels, as :class:`refiner.data.labels.objects.ObjectLabel` has."""

    box: Box | None
    outline: tuple[float, ...]
    keypoints: tuple[float, ...]


def to_pixels(shape: Shape, size: tuple[int, int]) -> Pixels:
    """Return the coordinates of an object in an image of a size, (height, width)."""
    height, width = size
    box = None
    if shape.box is not None:
        x, y, across, down = shape.box
        corner = ((x - across / 2) * width, (y - down / 2) * height)
        box = (*(round(part, DIGITS) for part in corner), round(across * width, DIGITS), round(down * height, DIGITS))
    scale = (width, height)
    outline = tuple(round(value * scale[number % 2], DIGITS) for number, value in enumerate(shape.outline))
    # Keypoints are positions of pixels, whose centres lie half a pixel from the edge.
    points: list[float] = []
    for x, y, visibility in zip(*[iter(shape.keypoints)] * 3, strict=True):
        if x == y == visibility == 0:
            points += [0, 0, 0]
        else:
            points += [round(x * width - 0.5, DIGITS), round(y * height - 0.5, DIGITS), visibility]
    return Pixels(box, outline, tuple(points))  # type: ignore[arg-type]


def are_close(first: Pixels, second: Pixels) -> bool:
    """Return whether coordinates agree to a hundred-thousandth of a pixel."""
    return all(
        len(before or ()) == len(after or ())
        and all(math.isclose(a, b, rel_tol=0, abs_tol=1e-5) for a, b in zip(before or (), after or (), strict=True))
        for before, after in zip(first, second, strict=True)
    )


def format_box(box: Box, size: tuple[int, int]) -> list[str]:
    """Return centre, width and height of a box in pixels as shares of the image size."""
    height, width = size
    x, y, across, down = box
    return [
        format_share((x + across / 2) / width),
        format_share((y + down / 2) / height),
        format_share(across / width),
        format_share(down / height),
    ]


def format_outline(outline: Sequence[float], size: tuple[int, int]) -> list[str]:
    """Return the points of an outline in pixels as shares of the image size."""
    scale = size[::-1]
    return [format_share(value / scale[number % 2]) for number, value in enumerate(outline)]


def format_keypoints(keypoints: Sequence[float], shape: KeypointShape, size: tuple[int, int]) -> list[str]:
    """Return keypoints in pixels as shares of the image size; those without a label are zeros."""
    height, width = size
    texts: list[str] = []
    for x, y, visibility in zip(*[iter(keypoints)] * 3, strict=True):
        if x == y == visibility == 0:
            texts += ["0"] * shape.values
        else:
            texts += [format_share((x + 0.5) / width), format_share((y + 0.5) / height)]
            texts += [f"{visibility:g}"] if shape.values == 3 else []
    return texts + ["0"] * (shape.points * shape.values - len(texts))


def format_share(value: float) -> str:
    """Return a share of the image size as text; what lies outside of the image is put on its border."""
    return f"{min(max(value, 0.0), 1.0):.10g}"
