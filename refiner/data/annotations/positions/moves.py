"""Boxes, outlines, masks and keypoints that follow a crop and a resize of their image."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from refiner.core.errors import ImageError
from refiner.data.annotations.positions.polygons import polygon_area
from refiner.data.annotations.positions.run_lengths import decode, pixel_count
from refiner.data.annotations.positions.shapes import DIGITS, move_box, move_keypoints, move_mask, move_outline, pairs
from refiner.data.annotations.positions.unknown_fields import move_fields
from refiner.data.labels.coordinates import NOTHING_DECLARED, Change, Declared
from refiner.data.labels.objects import Box, ImageAnnotations, ObjectLabel


def move_annotations(
    annotations: ImageAnnotations, change: Change, sample: str, declared: Declared = NOTHING_DECLARED
) -> ImageAnnotations:
    """Return the annotations of an image after a crop and a resize.

    - Boxes and outlines scale from the edge of the image. A crop cuts them at its border.
    - Keypoints move as positions of pixels. Those that a crop cuts off become 0, 0 with visibility 0.
    - Masks are cropped and resized by nearest neighbour; they keep their form, numbers or text.
    - ``area`` and ``num_keypoints`` follow, and so do ``width`` and ``height`` of the image.
    - Further fields follow :func:`refiner.data.annotations.positions.unknown_fields.move_fields`.

    An object of which a crop leaves nothing is dropped; :func:`count_losses` counts these. An object whose outlines
    or mask are cut off goes with them, whatever is left of its box. Without a crop, nothing is dropped or cut.

    Args:
        annotations: the annotations; not modified.
        change: the crop and the resize.
        sample: id of the image, for messages.
        declared: what the user says about further fields.

    Raises:
        ImageError: an object is damaged, or its mask has another size than the image.
        UsageError: it is not certain whether a further field moves.
    """
    if not change.changes:
        return annotations
    objects = []
    for each in annotations.objects:
        try:
            moved = _move_object(each, change, declared)
        except ValueError as error:
            raise ImageError(sample, f"its object {each.id or '(no id)'} cannot be moved: {error}") from error
        if moved is not None:
            objects.append(moved)
    try:
        entries = {file: _move_entry(entry, change, declared) for file, entry in annotations.entries.items()}
    except ValueError as error:
        raise ImageError(sample, f"its annotations cannot be moved: {error}") from error
    return ImageAnnotations(tuple(objects), entries)


class Losses(NamedTuple):
    """Labels that a crop cut off.

    Attributes:
        objects: number of objects of which nothing is left.
        keypoints: number of labelled keypoints that are outside, of the objects that are left.
        masks: number of masks in which no pixel is left, because the image became smaller.
    """

    objects: int
    keypoints: int
    masks: int


def count_losses(before: ImageAnnotations, after: ImageAnnotations) -> Losses:
    """Return how many labels :func:`move_annotations` lost, from what it took and what it returned."""
    left = Counter((each.file, each.id) for each in after.objects)  # ids may be given twice
    survivors = []
    for each in before.objects:
        if left[each.file, each.id]:
            left[each.file, each.id] -= 1
            survivors.append(each)
    return Losses(
        len(before.objects) - len(after.objects),
        sum(map(_labelled, survivors)) - sum(map(_labelled, after.objects)),
        sum(map(_has_pixels, survivors)) - sum(map(_has_pixels, after.objects)),
    )


def _labelled(each: ObjectLabel) -> int:
    return sum(visibility > 0 for visibility in each.keypoints[2::3])


def _has_pixels(each: ObjectLabel) -> bool:
    return each.mask is not None and pixel_count(each.mask) > 0


def _move_entry(entry: Any, change: Change, declared: Declared) -> Any:
    """Return what a file says about an image; its width and height are those of the changed image.

    A list has an entry for each time that the file lists the image.
    """
    if isinstance(entry, list):
        return [_move_entry(each, change, declared) for each in entry]
    if not isinstance(entry, Mapping):
        return entry
    moved = move_fields(entry, change, declared)
    if "width" in entry and "height" in entry:
        moved["height"], moved["width"] = change.result
    return moved


def _move_object(each: ObjectLabel, change: Change, declared: Declared) -> ObjectLabel | None:
    """Return an object after a crop and a resize; None if a crop leaves nothing of it."""
    _check_follows(each, change)
    box = None if each.box is None else move_box(each.box, change)
    polygons = tuple(moved for outline in each.polygons if (moved := move_outline(outline, change)))
    mask = None if each.mask is None else move_mask(each.mask, change)
    keypoints = move_keypoints(each.keypoints, change)
    # A mask without pixels may be outside of the crop, or too small for the new size.
    kept = mask
    if change.crops and mask is not None and each.mask is not None and not pixel_count(mask):
        kept = move_mask(each.mask, change._replace(result=change.crop))
    if change.crops and _is_cut_off(each, box, polygons, kept, keypoints):
        return None
    extra = move_fields(each.extra, change, declared)
    if _is_number(each.extra.get("area")):
        extra["area"] = _scale_area(each.extra["area"], each, box, polygons, mask, change)
    if "num_keypoints" in extra and keypoints:
        extra["num_keypoints"] = sum(visibility > 0 for visibility in keypoints[2::3])
    # Some programs repeat the size of the image in each object.
    if (each.extra.get("height"), each.extra.get("width")) == change.size:
        extra["height"], extra["width"] = change.result
    if each.box is not None and box is None:  # a part of its shape is inside, but its box is not
        box = _bounds(polygons, mask)
    return replace(each, box=box, polygons=polygons, mask=mask, keypoints=keypoints, extra=extra)


def _check_follows(each: ObjectLabel, change: Change) -> None:
    """Check that nothing of an object stays behind.

    Raises:
        ValueError: its area is a text, or its box is turned and the image stretched, so that it is no box any more.
    """
    if isinstance(area := each.extra.get("area"), str):
        raise ValueError(f"its area is the text {area[:20]!r}; expected a number")
    across, down = change.scale.tolist()
    attributes = each.extra.get("attributes")
    turned = (attributes if isinstance(attributes, Mapping) else each.extra).get("rotation")  # as CVAT writes it
    if each.box is not None and _is_number(turned) and turned and not math.isclose(across, down, rel_tol=1e-6):
        raise ValueError(
            f"its box is turned by {turned:g}, and --size stretches the image; cut it to that shape first with --crop"
        )


def _is_cut_off(
    each: ObjectLabel,
    box: Box | None,
    polygons: Sequence[Sequence[float]],
    mask: Mapping[str, Any] | None,
    keypoints: Sequence[float],
) -> bool:
    """Return whether a crop leaves nothing of an object: of its shape, else of its box, else of its keypoints."""
    if each.polygons:
        return not polygons
    if each.mask is not None and mask is not None and pixel_count(each.mask):
        return not pixel_count(mask)
    if each.box is not None:
        return box is None
    return any(each.keypoints[2::3]) and not any(keypoints[2::3])


def _bounds(polygons: Sequence[Sequence[float]], mask: Mapping[str, Any] | None) -> Box | None:
    """Return the smallest box around outlines or a mask; None if there are none."""
    if polygons:
        points = np.concatenate([pairs(outline, 2, "outline") for outline in polygons])
        low, high = points.min(axis=0), points.max(axis=0)
    elif mask is not None and pixel_count(mask):
        rows, columns = np.nonzero(decode(mask))
        low, high = np.array([columns.min(), rows.min()]), np.array([columns.max() + 1, rows.max() + 1])
    else:
        return None
    width, height = (high - low).tolist()
    return (float(low[0]), float(low[1]), round(width, DIGITS), round(height, DIGITS))


def _scale_area(
    area: float,
    each: ObjectLabel,
    box: Box | None,
    polygons: Sequence[Sequence[float]],
    mask: Mapping[str, Any] | None,
    change: Change,
) -> float:
    """Return an area after a crop and a resize: it changes by the factor by which the shape's own area does.

    Formats differ in what they call the area of an object, that of its outlines, its pixels or its box, and this
    leaves each as it is.
    """
    before = after = 0.0
    if each.mask is not None and mask is not None:
        before, after = pixel_count(each.mask), pixel_count(mask)
    elif each.polygons:
        before, after = (
            sum(polygon_area(pairs(outline, 2, "outline")) for outline in outlines)
            for outlines in (each.polygons, polygons)
        )
    elif each.box is not None and box is not None:
        before, after = each.box[2] * each.box[3], box[2] * box[3]
    if before == area:
        return after if isinstance(after, int) else round(after, DIGITS)
    scaled = area * (after / before) if before else area * float(np.prod(change.scale))
    return round(scaled, DIGITS)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
