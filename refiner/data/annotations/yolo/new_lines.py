"""Lines of YOLO for objects of other formats, and for those that moved: boxes, outlines, or boxes with keypoints.

Ultralytics refuses a text file with a number outside of 0 to 1. A box may reach beyond its image as long as its centre,
width and height are in this range. What does not fit is cut at the border of the image, or left out, and said.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refiner.core.errors import DataError
from refiner.data.annotations.positions.bounds import bounds_of
from refiner.data.annotations.positions.mask_outlines import join_outlines, same_turn, trace_mask
from refiner.data.annotations.positions.polygons import Points, clip_polygon
from refiner.data.annotations.positions.run_lengths import decode, pixel_count
from refiner.data.annotations.yolo.lines import KeypointShape, format_box, format_keypoints, format_outline
from refiner.data.labels.objects import Box, ImageAnnotations, ObjectLabel

Say = Callable[[str], None]
"""Callback for what happens to a label that YOLO does not hold as it is."""

Size = tuple[int, int]
"""Height and width of an image."""

_SLACK = 1e-9
"""Share of the image by which rounding may lead out of it."""

_COUNTED_AGAIN = frozenset(["area", "iscrowd", "num_keypoints", "id", "image_id", "category_id", "height", "width"])
"""Fields of an object that follow from its place, or number it."""

_BOOKKEEPING = frozenset(
    ["id", "file_name", "height", "width", "license", "date_captured", "coco_url", "flickr_url", "im_id"]
)
"""Fields of an image that say nothing about what it shows."""


def line_values(
    each: ObjectLabel, size: Size, keypoints: KeypointShape | None, outlines: bool, say: Say
) -> list[str] | None:
    """Return the values of a line after its class; None if the object cannot be written.

    Args:
        each: the object.
        size: (height, width) of its image.
        keypoints: number of keypoints, and of values for each; None if the objects have none.
        outlines: True if objects are written as outlines.
        say: called with what happens to labels that do not fit.

    Raises:
        DataError: it has more keypoints than the data set.
        ValueError: its mask is damaged.
    """
    if each.extra.get("iscrowd") == 1:
        say("crowd regions are left out, since YOLO holds single objects")
        return None
    if keypoints is None and (outlines or each.polygons):
        return _outline(each, size, say)
    box = _fitting_box(each, size, say)
    if box is None or keypoints is None:
        return None if box is None else format_box(box, size)
    if len(each.keypoints) // 3 > keypoints.points:
        raise DataError(
            f"object {each.id} has {len(each.keypoints) // 3} keypoints, and the data set has {keypoints.points}; YOLO "
            "needs the same number for every object"
        )
    if each.polygons or each.mask is not None:
        say("outlines or masks are left out, since YOLO holds no outlines beside keypoints")
    return [*format_box(box, size), *format_keypoints(_fitting_keypoints(each.keypoints, size, say), keypoints, size)]


def say_further_fields(annotations: ImageAnnotations, kept: frozenset[str], say: Say) -> None:
    """Say which facts about an image and its objects are left out, since YOLO holds classes and places alone.

    Args:
        annotations: what is known about the image.
        kept: names of fields of objects that are written.
        say: called for facts about objects, and for those about the image.
    """
    if any(_tells(each.extra, _COUNTED_AGAIN | kept) for each in annotations.objects):
        say("further fields of objects are left out, since YOLO holds only classes and places")
    entries = [entry for each in annotations.entries.values() for entry in (each if isinstance(each, list) else [each])]
    if any(isinstance(entry, Mapping) and _tells(entry, _BOOKKEEPING) for entry in entries):
        say("facts about the image, such as its camera, are left out, since YOLO holds only objects")


def _tells(fields: Mapping[str, Any], known: frozenset[str]) -> bool:
    return any(key not in known and value not in (None, "", [], {}, [[]]) for key, value in fields.items())


def _fitting_box(each: ObjectLabel, size: Size, say: Say) -> Box | None:
    """Return the box of an object as far as YOLO can hold it; None if there is nothing of it in the image."""
    box = each.box if each.box is not None else bounds_of(each)
    if box is None:
        say("objects without any place, such as hidden ones, are left out")
        return None
    height, width = size
    x, y, across, down = box
    shares = ((x + across / 2) / width, (y + down / 2) / height, across / width, down / height)
    if all(-_SLACK <= share <= 1 + _SLACK for share in shares):
        return box
    return _cut_box(box, size, say)


def _cut_box(box: Box, size: Size, say: Say) -> Box | None:
    """Return the part of a box in its image, which is said; None if it lies outside."""
    height, width = size
    x, y, across, down = box
    left, right = max(x, 0), min(x + across, width)
    top, bottom = max(y, 0), min(y + down, height)
    if right <= left or bottom <= top:
        say("objects outside of their image are left out")
        return None
    say("boxes that reach beyond their image are cut at its border")
    return (left, top, right - left, bottom - top)


def _fitting_keypoints(keypoints: tuple[float, ...], size: Size, say: Say) -> list[float]:
    """Return keypoints, of which those outside of the image are not labelled any more."""
    height, width = size
    kept: list[float] = []
    for x, y, visibility in zip(*[iter(keypoints)] * 3, strict=True):
        # The positions of pixels begin half a pixel from the edge.
        is_inside = -0.5 - _SLACK * width <= x <= width - 0.5 + _SLACK * width
        is_inside &= -0.5 - _SLACK * height <= y <= height - 0.5 + _SLACK * height
        if not is_inside:
            say("keypoints outside of their image are left out")
        kept += [x, y, visibility] if is_inside else [0, 0, 0]
    return kept


def _outline(each: ObjectLabel, size: Size, say: Say) -> list[str] | None:
    """Return the values of the outline of an object: of its only part, of all parts joined, or of its box."""
    parts = [np.array(outline, np.float64).reshape(-1, 2) for outline in each.polygons if len(outline) >= 6]
    if len(parts) > 1:
        parts = [same_turn(part) for part in parts]
    elif each.mask is not None and pixel_count(each.mask):
        parts = trace_mask(decode(each.mask))
    if not parts:
        return _corners(each, size, say)
    cut = [_cut_outline(part, size) for part in parts]
    inside = [part for part in cut if len(part)]
    if not inside:
        say("objects outside of their image are left out")
        return None
    if any(after is not before for before, after in zip(parts, cut, strict=True)):
        say("outlines that reach beyond their image are cut at its border")
    if len(inside) > 1:
        say("outlines of several parts, or with holes, are joined to one by lines without width")
    return format_outline(join_outlines(inside).ravel().tolist(), size)


def _cut_outline(outline: Points, size: Size) -> Points:
    """Return the part of an outline in its image; the outline itself if that is all of it."""
    slack, limits = _SLACK * max(size), np.array(size[::-1], np.float64)
    is_inside = ((outline >= -slack) & (outline <= limits + slack)).all()
    return outline if is_inside else clip_polygon(outline, size)


def _corners(each: ObjectLabel, size: Size, say: Say) -> list[str] | None:
    """Return the corners of the box of an object that has no other shape."""
    if each.polygons or each.mask is not None:
        say("objects with empty masks or outlines of two points are written as the corners of their boxes")
    box = each.box if each.box is not None else bounds_of(each)
    if box is None:
        say("objects without any place, such as hidden ones, are left out")
        return None
    x, y, across, down = box
    height, width = size
    if min(x, y) < -_SLACK * max(size) or x + across > width * (1 + _SLACK) or y + down > height * (1 + _SLACK):
        cut = _cut_box(box, size, say)
        if cut is None:
            return None
        x, y, across, down = cut
    return format_outline((x, y, x + across, y, x + across, y + down, x, y + down), size)
