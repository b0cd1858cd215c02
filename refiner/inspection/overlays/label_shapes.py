"""Labels as shapes over their image: boxes, outlines, masks, keypoints with their skeleton, points, and gaze.

Every picture of labels is made of these shapes, which :mod:`refiner.inspection.overlays.paint` paints. All positions
are those of pixels: the centre of the top-left pixel is at (0, 0).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from refiner.core.errors import UsageError
from refiner.data.annotations.positions.run_lengths import decode
from refiner.data.labels.coordinates import array_kind
from refiner.data.labels.objects import OBJECTS, ImageAnnotations, ObjectLabel
from refiner.data.labels.records import Labels
from refiner.images.io import Image
from refiner.inspection.labels import as_numbers, is_in_pixels
from refiner.inspection.overlays.shapes import CLASS_COLOURS, Colour, LabelStyle, Points, Shape

GAZE_LENGTH = 1.1
"""Length of the arrow for a gaze across the image, as a share of the image's width. Other arrows are foreshortened."""

MAX_VALUES = 64
"""Largest number of values of a label image that are outlined, the most frequent ones."""

_COLOURS: Mapping[str, Colour] = {
    "gaze": (255, 60, 60),
    "pupil": (255, 230, 0),
    "iris_outline": (0, 230, 90),
    "lid_outline": (0, 190, 255),
    "caruncle": (255, 120, 255),
}
_OTHER_COLOUR = (255, 160, 40)

_ENLARGED = 3  # pixels of a mask are enlarged by this before they are outlined, so that outlines run along their edges


def label_shapes(labels: Labels, size: tuple[int, int], style: LabelStyle | None = None) -> list[Shape]:
    """Return all labels of an image that have a place in it, the lowest shape first.

    Labels that cannot be drawn are left out; other commands report what is wrong with them.

    Args:
        labels: labels of the image.
        size: (height, width) of the image.
        style: colours and skeletons.
    """
    shapes = []
    # Masks come first, then objects, then points, so that small shapes stay in sight.
    mask = labels.get("mask")
    if isinstance(mask, np.ndarray) and mask.shape[:2] == size:
        shapes += label_image_shapes(mask, size)
    annotations = labels.get(OBJECTS)
    if isinstance(annotations, ImageAnnotations):
        for each in annotations.objects:
            shapes += object_shapes(each, size, style or LabelStyle())
    shapes += [
        Shape("dots", (points,), _COLOURS.get(name, _OTHER_COLOUR), name) for name, points in _points(labels, size)
    ]
    return [*shapes, *_gaze(labels, size)]


def classes_of(labels: Labels) -> set[str]:
    """Return the classes of the objects of an image."""
    annotations = labels.get(OBJECTS)
    return {each.category for each in annotations.objects} if isinstance(annotations, ImageAnnotations) else set()


def object_shapes(each: ObjectLabel, size: tuple[int, int], style: LabelStyle) -> list[Shape]:
    """Return the shapes of one object: its mask or outlines, its box, and its keypoints with their skeleton.

    Args:
        each: the object.
        size: (height, width) of its image.
        style: colours and skeletons.
    """
    colour = style.colour(each.category)
    name = each.category or each.id
    shapes = []
    # The mask or the outlines; corners of pixels are at whole numbers in them.
    areas = tuple(_pairs(outline) - 0.5 for outline in each.polygons if len(outline) >= 6)
    if each.mask is not None:
        areas = _outlines_of(each, size)
    if areas:
        shapes.append(Shape("area", areas, colour, name))
    if each.box is not None:
        x, y, width, height = map(float, each.box)
        corners = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)]) - 0.5
        shapes.append(Shape("outline", (corners,), colour, name))
    # The keypoints that are labelled: hidden ones are circles.
    if len(each.keypoints) >= 3:
        marks = np.array(each.keypoints[: len(each.keypoints) // 3 * 3], float).reshape(-1, 3)
        known = marks[:, 2] > 0
        bones = [marks[[*bone], :2] for bone in style.skeletons.get(each.category, ()) if _are_known(bone, known)]
        for kind, parts in (
            ("line", tuple(bones)),
            ("dots", (marks[marks[:, 2] >= 2, :2],)),
            ("circles", (marks[known & (marks[:, 2] < 2), :2],)),
        ):
            if any(part.size for part in parts):
                shapes.append(Shape(kind, parts, colour, name))  # type: ignore[arg-type]
    return [shape for shape in shapes if all(np.isfinite(part).all() for part in shape.parts)]


def label_image_shapes(values: Image, size: tuple[int, int], style: LabelStyle | None = None) -> list[Shape]:
    """Return an area for each value or colour of a label image; the background, 0 or black, has none.

    Args:
        values: (H, W) or (H, W, C), of any size.
        size: (height, width) of the image that it belongs to.
        style: its classes are those of the values 0, 1, ...; None if they are not known.
    """
    flat = values.reshape(values.shape[0], values.shape[1], -1)
    flat = flat[..., :3] if flat.shape[2] == 4 else flat
    found, places, counts = np.unique(flat.reshape(-1, flat.shape[2]), axis=0, return_inverse=True, return_counts=True)
    places = places.reshape(values.shape[:2])
    shapes = []
    for number in sorted(np.argsort(-counts, kind="stable")[:MAX_VALUES].tolist()):
        if not found[number].any():
            continue
        value = int(found[number][0])
        named = style is not None and values.ndim == 2 and value < len(style.classes)
        name = style.classes[value] if style is not None and named else " ".join(map(str, found[number].tolist()))
        outlines = _outlines(np.asarray(places == number, np.uint8), size)
        shapes.append(Shape("area", outlines, CLASS_COLOURS[(number - 1) % len(CLASS_COLOURS)], name))
    return shapes


def gaze_in_image(pitch: float, yaw: float) -> tuple[float, float]:
    """Return a gaze in the image plane, (x right, y down), of unit length in space: positive yaw is left, pitch up."""
    return -math.cos(pitch) * math.sin(yaw), -math.sin(pitch)


def _points(labels: Labels, size: tuple[int, int]) -> Iterator[tuple[str, Points]]:
    """Yield the labels that certainly are points in pixels, without missing ones."""
    for name, value in labels.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.shape[:2] == size:
            continue
        try:
            are_points = is_in_pixels(name) or array_kind(name, value, size) == "points"
        except UsageError:
            continue
        if are_points and value.size and value.shape[-1] in (2, 3):
            points = np.asarray(value, float).reshape(-1, value.shape[-1])[:, :2]
            yield name, points[np.isfinite(points).all(axis=1)]


def _gaze(labels: Labels, size: tuple[int, int]) -> list[Shape]:
    """Return the arrow along the gaze: from the pupil, else the middle of the iris, else that of the image."""
    gaze = as_numbers(labels.get("gaze"))
    if gaze is None or gaze.shape != (2,):
        return []
    height, width = size
    start = np.array([(width - 1) / 2, (height - 1) / 2])
    for name in ("iris_outline", "pupil"):
        points = as_numbers(labels.get(name))
        if points is not None and points.size and points.shape[-1:] == (2,):
            start = points.reshape(-1, 2).mean(axis=0)
    end = start + np.array(gaze_in_image(float(gaze[0]), float(gaze[1]))) * GAZE_LENGTH * width
    return [Shape("arrow", (np.stack([start, end]),), _COLOURS["gaze"], "gaze")]


def _pairs(numbers: Sequence[float]) -> Points:
    return np.array(numbers[: len(numbers) // 2 * 2], float).reshape(-1, 2)


def _are_known(bone: tuple[int, int], known: Any) -> bool:
    return all(0 <= end < len(known) and known[end] for end in bone)


def _outlines_of(each: ObjectLabel, size: tuple[int, int]) -> tuple[Points, ...]:
    """Return the outlines of an object's mask; none if the mask is damaged."""
    try:
        return () if each.mask is None else _outlines(decode(each.mask), size)
    except ValueError:
        return ()


def _outlines(mask: Any, size: tuple[int, int]) -> tuple[Points, ...]:
    """Return the outlines of a mask (H, W) along the edges of its pixels, in pixels of an image of (height, width)."""
    if not mask.any():
        return ()
    # Only the part that is not empty is enlarged.
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    enlarged = np.ascontiguousarray(part.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1), np.uint8)
    found, _ = cv2.findContours(enlarged, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(0, 0))
    outlines = []
    for contour in found:
        points = (contour[:, 0].astype(float) + 0.5) / _ENLARGED + (columns[0], rows[0])
        outlines.append(points * (size[1] / mask.shape[1], size[0] / mask.shape[0]) - 0.5)
    return tuple(outlines)
