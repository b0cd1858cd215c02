"""Fields of an object or an image that its format does not know: which of them hold pixels, and how they move.

Some have names that are known from public data sets, and some show by their shape what they are. Any other that looks
like a position is ambiguous and has to be declared, because a position that stays behind its image is a wrong label.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from refiner.core.errors import UsageError
from refiner.data.annotations.positions.other_positions import MOVERS
from refiner.data.annotations.positions.run_lengths import mask_size
from refiner.data.annotations.positions.shapes import move_box, move_keypoints, move_mask, move_outline
from refiner.data.annotations.renderers.camera_positions import move_intrinsics
from refiner.data.labels.coordinate_columns import move_columns, whole_points
from refiner.data.labels.coordinates import Change, Declared, ambiguity, follow, split_words

_BOXES = """
    face_box lefthand_box righthand_box bbox_head head_bbox visible_bbox amodal_bbox bbox_visible bbox_amodal a_bbox
    i_bbox
"""

BOXES = frozenset(_BOXES.split())
"""Boxes as x, y, width and height: of COCO-WholeBody, PoseTrack, COCOA, KINS and others."""

KEYPOINTS = frozenset(["foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts"])
"""Keypoints as x, y and confidence in turn: of COCO-WholeBody."""

MATRICES = frozenset(["intrinsics", "intrinsic", "intrinsic_matrix", "camera_intrinsics", "camera_matrix", "K"])
"""Camera matrices, (3, 3)."""

_PINHOLE = frozenset(["fx", "fy", "cx", "cy"])
"""Names of the numbers of a pinhole camera."""

_OUTLINES = frozenset(["seg", "segm", "segmentation", "segmentations", "polygon", "polygons"])
_POSITIONS = """
    box boxes bbox bboxes rbox rbbox obb rect kpt kpts keypoint keypoints landmark landmarks joints point points pts
    corner corners contour contours polyline polylines region regions roi rois lane lanes horizon hull vertices quad
    center centre centers centroid pixel pixels px uv xy xyxy xywh
"""
_POSITION_WORDS = frozenset(_POSITIONS.split()) | _OUTLINES
_OTHER_SPACES = """
    3d 3 world camera cam normalized normalised norm rel relative mm cm m valid visible visibility visibilities num
    count counts score scores conf confidence id ids name names label labels style type
"""
_OTHER_WORDS = frozenset(_OTHER_SPACES.split())
"""Words in the names of positions in another space, of counts and so on."""


def move_fields(fields: Mapping[str, Any], change: Change, declared: Declared) -> dict[str, Any]:
    """Return further fields of an object or an image after a crop and a resize of the image.

    Args:
        fields: the fields, as JSON; not modified.
        change: the crop and the resize.
        declared: what the user says about them.

    Raises:
        ValueError: a field is damaged.
        UsageError: it is not certain whether a field moves.
    """
    moved = {name: _move_field(name, value, change, declared) for name, value in fields.items()}
    if fields.keys() >= _PINHOLE:
        moved |= _move_pinhole(fields, change)
    # Points may stand in two fields of a number each, such as center_x and center_y.
    numbers = {
        name: value
        for name, value in fields.items()
        if _are_numbers([value], 1) and not (name in _PINHOLE and fields.keys() >= _PINHOLE)
    }
    points = whole_points(tuple(numbers))
    return moved | move_columns({name: numbers[name] for name in points}, change, declared) if points else moved


def _move_field(name: str, value: Any, change: Change, declared: Declared) -> Any:
    """Return one field after a crop and a resize."""
    if isinstance(value, str | bool | int | float) or not value:
        return MOVERS[name](value, change) if name in MOVERS and value is not None else value
    # The user knows best, then the format.
    if name in declared.keep:
        return value
    if name in declared.moving:
        return _move_declared(name, value, change, declared)
    if name in MOVERS:
        return MOVERS[name](value, change)
    if isinstance(value, Mapping) and value.keys() >= _PINHOLE:
        return {**value, **_move_pinhole(value, change)}
    # Some names are known, and some shapes leave no doubt.
    if name in BOXES and _are_numbers(value, 4):
        moved = move_box((value[0], value[1], value[2], value[3]), change) if any(value) else value
        return [0, 0, 0, 0] if moved is None else list(moved)
    if name in KEYPOINTS and isinstance(value, list):
        return list(move_keypoints(value, change))
    if name in MATRICES and np.shape(value) in ((3, 3), (9,)):
        matrix = move_intrinsics(np.ravel(value).tolist(), change)
        return matrix if np.ndim(value) == 1 else np.reshape(matrix, (3, 3)).tolist()
    if isinstance(value, Mapping) and "counts" in value and _has_size(value, change):
        return move_mask(value, change)
    words = set(split_words(name))
    if words & _OUTLINES and isinstance(value, list) and all(_is_outline(each) for each in value):
        return [list(outline) for each in value if (outline := move_outline(each, change))]
    # Other numbers in fields that are named like positions are ambiguous.
    is_position = words & _POSITION_WORDS and _holds_numbers(value)
    if (is_position or _is_list_of_pairs(value)) and not words & _OTHER_WORDS:
        raise UsageError(ambiguity(name, f"a field of annotations such as {_short(value)}"))
    return value


def _move_declared(name: str, value: Any, change: Change, declared: Declared) -> Any:
    kind = dict(declared.boxes).get(name, "points")
    array = np.array(value, np.float64)
    if kind == "points" and array.ndim == 1 and array.size > 4 and array.size % 2 == 0:  # x and y in turn
        return follow(name, array.reshape(-1, 2), "points", change).ravel().tolist()
    if array.ndim == 0 or array.shape[-1] not in ((4,) if kind != "points" else (2, 3, 4)):
        raise UsageError(
            f"the field {name} of annotations is {_short(value)}; --points needs [x, y] or a list of these, and "
            "--boxes needs four numbers for each box"
        )
    return follow(name, array, "points" if kind == "points" else "xywh" if kind == "xywh" else "xyxy", change).tolist()


def _move_pinhole(fields: Mapping[str, Any], change: Change) -> dict[str, float]:
    """Return the focal lengths and the principal point of a camera, given by their names."""
    fx, fy, cx, cy = (fields[name] for name in ("fx", "fy", "cx", "cy"))
    matrix = move_intrinsics([fx, 0, cx, 0, fy, cy, 0, 0, 1], change)
    moved = {"fx": matrix[0], "fy": matrix[4], "cx": matrix[2], "cy": matrix[5]}
    if (fields.get("height"), fields.get("width")) == change.size:
        moved |= {"height": change.result[0], "width": change.result[1]}
    return moved


def _is_list_of_pairs(value: Any) -> bool:
    """Return whether a list holds points of the image; a small rotation matrix, for instance, holds none."""
    if not isinstance(value, list) or len(value) < 2 or not all(_are_numbers(each, 2) for each in value):
        return False
    return any(abs(number) > 1 for pair in value for number in pair)


def _are_numbers(value: Any, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(each, int | float) and not isinstance(each, bool) for each in value)
    )


def _has_size(value: Mapping[str, Any], change: Change) -> bool:
    try:
        return mask_size(value) == change.size
    except ValueError:
        return False


def _is_outline(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= 6 and len(value) % 2 == 0 and _are_numbers(value, len(value))


def _holds_numbers(value: Any) -> bool:
    """Return whether a list or an object holds two numbers or more, at any depth."""
    return _count_numbers(value, 2) >= 2


def _count_numbers(value: Any, enough: int) -> int:
    if isinstance(value, bool | str) or value is None:
        return 0
    if isinstance(value, int | float):
        return 1
    parts: Sequence[Any] = list(value.values()) if isinstance(value, Mapping) else value
    count = 0
    for part in parts:
        count += _count_numbers(part, enough - count)
        if count >= enough:
            break
    return count


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
