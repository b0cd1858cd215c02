"""Annotations of COCO as objects, and objects as annotations of COCO."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from refiner.data.annotations.positions.bounds import bounds_of
from refiner.data.annotations.positions.polygons import polygon_area
from refiner.data.annotations.positions.run_lengths import mask_size, pixel_count, run_lengths
from refiner.data.labels.objects import Box, ObjectLabel

Annotation = dict[str, Any]
"""One annotation, as in the JSON of COCO."""


def to_key(value: Any) -> str | None:
    """Return an id of COCO as text, by which ids are compared; None if it is no id.

    Some programs write ``"7"`` or ``7.0`` in one place and ``7`` in another.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(int(value)) if float(value).is_integer() else str(value)


def to_object(
    annotation: Mapping[str, Any], file: str, categories: Mapping[str, str], image_id: Any, number: int
) -> ObjectLabel:
    """Return an annotation as an object. Fields that cannot be read as COCO says, but are empty, are kept as they are.

    Args:
        annotation: the annotation.
        file: name of its file.
        categories: the names of the classes by :func:`to_key` of their id.
        image_id: id of the image to which it belongs.
        number: position among the annotations of the image, from 1, by which an annotation without id is named.

    Raises:
        ValueError: a field is damaged; the message names it.
    """
    extra = {key: value for key, value in annotation.items() if key not in _FIELDS}
    identity = annotation.get("id")
    if type(identity) is not int and "id" in annotation:
        extra["id"] = identity
    if not _same(annotation.get("image_id"), image_id):
        extra["image_id"] = annotation.get("image_id")
    # Empty values say as much as missing ones, but are written again.
    for key in _SHAPES:
        if key in annotation and _is_empty(annotation[key]):
            extra[key] = annotation[key]
    polygons, mask = _segmentation(annotation.get("segmentation"))
    category = to_key(annotation.get("category_id"))
    return ObjectLabel(
        id=to_key(identity) or f"#{number}",
        category=_category_name(annotation) if category is None else categories.get(category, ""),
        box=_box(annotation.get("bbox")),
        polygons=polygons,
        mask=mask,
        keypoints=_keypoints(annotation.get("keypoints")),
        file=file,
        extra=extra,
    )


_SHAPES = ("bbox", "segmentation", "keypoints")
_FIELDS = frozenset(["id", "image_id", *_SHAPES])


def _category_name(annotation: Mapping[str, Any]) -> str:
    """Return the class that an annotation names itself, as some programs write instead of a number."""
    name = annotation.get("category_name", annotation.get("category"))
    return name if isinstance(name, str) else ""


def _is_empty(value: Any) -> bool:
    return value is None or value in ([], [[]], {})


def _same(first: Any, second: Any) -> bool:
    return type(first) is type(second) and bool(first == second)


def _box(value: Any) -> Box | None:
    if _is_empty(value):
        return None
    if not (isinstance(value, list) and len(value) == 4 and _are_finite(value) and min(value[2:]) >= 0):
        raise ValueError(
            f"its bbox is {_short(value)}; expected x, y, width and height as finite numbers, and no negative size"
        )
    x, y, width, height = value
    return (x, y, width, height)


def _segmentation(value: Any) -> tuple[tuple[tuple[float, ...], ...], Mapping[str, Any] | None]:
    """Return outlines and mask of an annotation, of which one is there at most."""
    if _is_empty(value):
        return (), None
    if isinstance(value, dict):
        height, width = mask_size(value)
        if (pixels := int(run_lengths(value).sum())) != height * width:
            raise ValueError(f"the run lengths of its mask add up to {pixels:,}, not to {height}x{width} pixels")
        return (), value
    if not isinstance(value, list) or not all(isinstance(outline, list) for outline in value):
        raise ValueError(f"its segmentation is {_short(value)}; expected run lengths or a list of outlines")
    for outline in value:
        if len(outline) % 2 or len(outline) < 4 or not _are_finite(outline):
            raise ValueError(f"its segmentation has the outline {_short(outline)}; expected x and y of its corners")
    return tuple(tuple(outline) for outline in value), None


def _keypoints(value: Any) -> tuple[float, ...]:
    if _is_empty(value):
        return ()
    if not isinstance(value, list) or len(value) % 3 or not _are_finite(value):
        raise ValueError(f"its keypoints are {_short(value)}; expected x, y and visibility of each")
    return tuple(value)


def _are_finite(values: Sequence[Any]) -> bool:
    try:
        return set(map(type, values)) <= {int, float} and all(map(math.isfinite, values))
    except OverflowError:  # an integer that no float holds
        return False


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def from_object(each: ObjectLabel, number: int, image_id: Any) -> Annotation:
    """Return an object that came from COCO as the annotation that it was.

    Args:
        each: the object.
        number: id for an annotation that has none.
        image_id: id of its image.
    """
    annotation: Annotation = {"id": int(each.id) if _is_whole(each.id) else number, "image_id": image_id}
    if each.polygons:
        annotation["segmentation"] = [list(outline) for outline in each.polygons]
    elif each.mask is not None:
        annotation["segmentation"] = each.mask
    if each.box is not None:
        annotation["bbox"] = list(each.box)
    if each.keypoints:
        annotation["keypoints"] = list(each.keypoints)
    return {**annotation, **each.extra}


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and text.isascii() and str(int(text)) == text


def new_annotation(each: ObjectLabel, number: int, image_id: int, category_id: int) -> Annotation:
    """Return an object of another format as an annotation with every field that programs expect of COCO.

    A box is drawn around the shape if it has none. The area is that of the shape, else of the box. Other fields of the
    object are added under their names.
    """
    box = each.box if each.box is not None else bounds_of(each)
    annotation: Annotation = {"id": number, "image_id": image_id, "category_id": category_id}
    annotation["segmentation"] = [list(outline) for outline in each.polygons] if each.mask is None else each.mask
    if box is not None:
        annotation["bbox"] = list(box)
    annotation["area"] = each.extra["area"] if _is_number(each.extra.get("area")) else _area(each, box)
    annotation["iscrowd"] = each.extra["iscrowd"] if _is_number(each.extra.get("iscrowd")) else 0
    if each.keypoints:
        annotation["keypoints"] = list(each.keypoints)
        annotation["num_keypoints"] = sum(visibility > 0 for visibility in each.keypoints[2::3])
    return {**annotation, **{key: value for key, value in _further(each).items() if key not in annotation}}


_NOT_KEPT = frozenset(["yolo_line", *_SHAPES])
"""Fields of other formats that say nothing else: YOLO's text of an object, and empty shapes."""


def _further(each: ObjectLabel) -> dict[str, Any]:
    """Return the fields of an object of another format that COCO does not know."""
    return {key: value for key, value in each.extra.items() if key not in _NOT_KEPT}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _area(each: ObjectLabel, box: Box | None) -> float:
    if each.mask is not None:
        return pixel_count(each.mask)
    if each.polygons:
        return sum(polygon_area(np.array(outline, np.float64).reshape(-1, 2)) for outline in each.polygons)
    return box[2] * box[3] if box is not None else 0
