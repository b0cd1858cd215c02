"""Camera matrices, second boxes and counts of pixels in annotations of scenes, and how they follow their image."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from refiner.data.labels.coordinates import Change

_DIGITS = 9


def move_intrinsics(values: Any, change: Change) -> list[float]:
    """Return an intrinsic matrix, (3, 3), row by row, after a crop and a resize.

    The principal point is a position of pixels, as in BOP and OpenCV: the centre of the top-left pixel is at (0, 0).

    Raises:
        ValueError: it is no list of nine numbers.
    """
    matrix = _numbers(values, 9, "cam_K")
    (scale_x, scale_y), (top, left) = change.scale.tolist(), change.corner
    fx, skew, cx, _, fy, cy = matrix[:6]
    return [
        *(_rounded(fx * scale_x), _rounded(skew * scale_x), _rounded((cx - left + 0.5) * scale_x - 0.5)),
        *(matrix[3], _rounded(fy * scale_y), _rounded((cy - top + 0.5) * scale_y - 0.5)),
        *matrix[6:],
    ]


def move_bop_box(values: Any, change: Change) -> list[float]:
    """Return a box of BOP after a crop and a resize; it is not cut, as it may exceed the image.

    Its width and height are the differences of its first and last pixel; all -1 mean that there is none.

    Raises:
        ValueError: it is no list of four numbers.
    """
    box = _numbers(values, 4, "a box of BOP")
    if min(box[2:]) < 0:
        return list(box)
    (scale_x, scale_y), (top, left) = change.scale.tolist(), change.corner
    return [
        *(_rounded((box[0] - left) * scale_x), _rounded((box[1] - top) * scale_y)),
        *(_rounded((box[2] + 1) * scale_x - 1), _rounded((box[3] + 1) * scale_y - 1)),
    ]


def forget(value: Any, change: Change) -> None:
    """Return None for a value that is not known any more, such as a number of visible pixels."""


def move_pixels_of_silhouette(value: Any, change: Change) -> Any:
    """Return BOP's number of pixels of a whole silhouette: a crop leaves it, after a resize it is not known."""
    return value if change.crop == change.result else None


def move_visible_share(value: Any, change: Change) -> Any:
    """Return the share of an object that is visible: a resize leaves it, after a crop it is not known."""
    return None if change.crops else value


_KNOWN_UNITY = {
    *("BoundingBox2DAnnotation", "BoundingBox3DAnnotation", "KeypointAnnotation", "InstanceSegmentationAnnotation"),
    *("SemanticSegmentationAnnotation", "DepthAnnotation", "NormalAnnotation", "PixelPositionAnnotation"),
}


def move_unity_capture(values: Any, change: Change) -> dict[str, Any]:
    """Return what a SOLO data set says about a picture after a crop and a resize.

    The size and the projection matrix follow. Numbers of visible pixels are not known any more.

    Raises:
        ValueError: there is an annotation of an unknown type, which may hold positions in pixels.
    """
    if not isinstance(values, dict):
        raise ValueError(f"unity_capture is {values!r:.40}; expected an object")
    capture = dict(values)
    annotations = []
    for annotation in capture.get("annotations") or []:
        if (kind := str(annotation.get("@type", "")).rpartition(".")[2]) not in _KNOWN_UNITY:
            raise ValueError(
                f"its annotation {annotation.get('id')} of type {kind or '(none)'} may hold positions in pixels; "
                "remove it from the data set, or keep the size of the images"
            )
        annotations.append(_resized(annotation, change))
    capture["annotations"] = annotations
    capture["metrics"] = [_without_pixel_counts(metric) for metric in capture.get("metrics") or []]
    if "matrix" in capture and change.crops:
        capture["matrix"] = _crop_projection(_numbers(capture["matrix"], 9, "matrix"), change)
    return _resized(capture, change)


def _resized(fields: Mapping[str, Any], change: Change) -> dict[str, Any]:
    size = {"dimension": [change.result[1], change.result[0]]} if "dimension" in fields else {}
    return {**fields, **size}


def _without_pixel_counts(metric: Mapping[str, Any]) -> dict[str, Any]:
    values = metric.get("values")
    if not isinstance(values, list):
        return dict(metric)
    known = [
        {**value, "visiblePixels": None} if isinstance(value, dict) and "visiblePixels" in value else value
        for value in values
    ]
    return {**metric, "values": known}


def _crop_projection(matrix: Sequence[float], change: Change) -> list[float]:
    """Return Unity's projection matrix, (3, 3), after a crop; a resize leaves it.

    A point (x, y, z) of the camera, z < 0 in front of it, is at (m00 x + m02 z) / -z across, and at (m11 y + m12 z)
    / -z up, where -1 and 1 are the edges of the image.
    """
    (height, width), (high, wide), (top, left) = change.size, change.crop, change.corner
    moved = [_rounded(value * width / wide) for value in matrix[:3]]
    moved += [_rounded(value * height / high) for value in matrix[3:6]]
    moved[2] = _rounded(matrix[2] * width / wide - (width - 2 * left - wide) / wide)
    moved[5] = _rounded(matrix[5] * height / high + (height - 2 * top - high) / high)
    return [*moved, *matrix[6:]]


def _numbers(values: Any, count: int, what: str) -> list[float]:
    if (
        not isinstance(values, list | tuple)
        or len(values) != count
        or not all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    ):
        raise ValueError(f"{what} is {values!r:.60}; expected {count} numbers")
    return list(values)


def _rounded(value: float) -> float:
    return round(value, _DIGITS)
