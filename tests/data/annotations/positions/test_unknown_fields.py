"""Fields that COCO does not know: those with positions follow the image, and ambiguous ones are asked for."""

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from refiner.core.errors import ImageError, UsageError
from refiner.data.annotations.positions.moves import move_annotations
from refiner.data.labels.coordinates import NOTHING_DECLARED, Change, Declared
from refiner.data.labels.objects import ImageAnnotations, ObjectLabel

RESIZE = Change((40, 60), (0, 0), (40, 60), (20, 15))
"""Factors 1/4 for x and 1/2 for y."""

CROP = Change((40, 60), (10, 20), (20, 30), (40, 90))
"""Columns 20 to 50, rows 10 to 30; factors 3 for x and 2 for y."""


def moved(fields: dict[str, Any], change: Change = RESIZE, declared: Declared = NOTHING_DECLARED) -> dict[str, Any]:
    """The fields of an object, and of the image, after a change; both have to agree."""
    before = ImageAnnotations((ObjectLabel("1", extra=fields),), {"x.json": fields})
    after = move_annotations(before, change, "a.png", declared)
    assert after.entries["x.json"] == after.objects[0].extra
    return dict(after.objects[0].extra)


def test_boxes_and_keypoints_of_whole_bodies() -> None:
    fields = {
        "face_box": [10, 6, 20, 8],
        "lefthand_box": [0.0, 0.0, 0.0, 0.0],
        "lefthand_valid": False,
        "face_kpts": [10, 3, 0.75, 0.0, 0.0, 0.0],
        "foot_kpts": [0.0] * 18,
    }
    assert moved(fields) == {
        **fields,
        "face_box": [2.5, 3, 5, 4],
        "face_kpts": [10.5 / 4 - 0.5, 3.5 / 2 - 0.5, 0.75, 0, 0, 0],
    }
    cut = moved(fields, CROP)
    assert cut["face_box"] == [0, 0, 30, 8]
    assert cut["face_kpts"] == [0] * 6


def test_masks_and_outlines_show_what_they_are() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[4:21, 9:40] = 1
    text = coco_mask.encode(np.asfortranarray(mask))
    fields = {
        "visible_mask": {"size": [40, 60], "counts": text["counts"].decode()},
        "other": {"size": [256, 256], "counts": [65536]},  # not of the image
        "i_segm": [[0, 0, 40, 0, 40, 20]],
    }
    after = moved(fields)
    np.testing.assert_array_equal(coco_mask.decode(after["visible_mask"]), mask[1::2, 2::4])
    assert after["other"] == fields["other"]
    assert after["i_segm"] == [[0, 0, 10, 0, 10, 10]]
    assert moved({"i_segm": [[0, 0, 9, 0, 9, 9]]}, CROP) == {"i_segm": []}


@pytest.mark.parametrize("key", ["intrinsics", "camera_matrix", "K"])
def test_camera_matrices_follow(key: str) -> None:
    matrix = [[500.0, 0.0, 29.5], [0.0, 400.0, 19.5], [0.0, 0.0, 1.0]]
    expected = [[125.0, 0.0, 7.0], [0.0, 200.0, 9.5], [0.0, 0.0, 1.0]]
    assert moved({key: matrix}) == {key: expected}
    assert moved({key: np.ravel(matrix).tolist()}) == {key: np.ravel(expected).tolist()}


def test_a_camera_given_by_its_numbers_follows() -> None:
    camera = {"fx": 500.0, "fy": 400.0, "cx": 29.5, "cy": 19.5}
    expected = {"fx": 125.0, "fy": 200.0, "cx": 7.0, "cy": 9.5}
    assert moved({**camera, "lens": "a"}) == {**expected, "lens": "a"}
    size = {"width": 60, "height": 40}
    assert moved({"camera": {**camera, **size}}) == {"camera": {**expected, "width": 15, "height": 20}}
    cropped = {"fx": 1500.0, "fy": 800.0, "cx": (29.5 - 20 + 0.5) * 3 - 0.5, "cy": (19.5 - 10 + 0.5) * 2 - 0.5}
    assert moved(camera, CROP) == cropped


def test_points_in_fields_of_one_number_follow() -> None:
    """Points are positions of pixels, as in labels.csv; a box has its size beside its corner."""
    assert moved({"tip_x": 9.5, "tip_y": 3.5, "id_x": 3}) == {"tip_x": 2.0, "tip_y": 1.5, "id_x": 3}
    box = {"x": 9.5, "y": 3.5, "w": 8, "h": 6}
    assert moved(box) == {"x": 2.0, "y": 1.5, "w": 2.0, "h": 3.0}
    assert moved({"tip_x": 9.5, "tip_y": 3.5}, declared=Declared(keep=("tip",))) == {"tip_x": 9.5, "tip_y": 3.5}
    for other in ({"x": 1.0, "y": 2.0, "z": 3.0}, {"x_m": 4.0, "y_m": 2.0}, {"x": 7.0}):
        assert moved(other) == other
    with pytest.raises(UsageError, match="label eye is in the columns eye_x, eye_y"):
        moved({"eye_x": 0.25, "eye_y": 0.5})  # perhaps shares of the image


@pytest.mark.parametrize("extra", [{"rotation": 30.0}, {"attributes": {"rotation": 30.0, "occluded": False}}])
def test_a_turned_box_does_not_follow_a_stretch(extra: dict[str, Any]) -> None:
    """CVAT writes a turned box with its angle."""
    before = ImageAnnotations((ObjectLabel("1", box=(4.0, 6.0, 8.0, 2.0), extra=extra),))
    with pytest.raises(ImageError, match="its box is turned by 30, and --size stretches the image"):
        move_annotations(before, RESIZE, "a.png")
    after = move_annotations(before, Change((40, 60), (0, 0), (40, 60), (20, 30)), "a.png")
    assert after.objects == (ObjectLabel("1", box=(2.0, 3.0, 4.0, 1.0), extra=extra),)


@pytest.mark.parametrize(
    "fields",
    [
        {"center": [5, 6]},
        {"headBox": [1, 2, 3, 4]},
        {"rbbox": [5, 6, 7, 8, 0.5]},
        {"corners": [[1, 2], [3, 4]]},
        {"keypoints_2": {"nose": [1, 2], "eye": None}},
        {"contour": [1, 2, 3, 4, 5, 6]},
        {"ignore_regions_x": [[1, 2], [3]]},
        {"roi": [0, 4, 30, 20]},
        {"upper_lip": [[5, 6], [7, 9]]},  # the shape tells
    ],
)
def test_other_positions_have_to_be_declared(fields: dict[str, Any]) -> None:
    name = next(iter(fields))
    with pytest.raises(UsageError, match=rf"label {name} is a field of annotations such as .*--keep {name}"):
        moved(fields)
    assert moved(fields, declared=Declared(keep=(name,))) == fields


def test_declared_fields_move() -> None:
    assert moved({"center": [10, 3]}, declared=Declared(points=("center",))) == {"center": [2.125, 1.25]}
    assert moved({"contour": [10, 3, 14, 5, 0, 0]}, declared=Declared(points=("contour",))) == {
        "contour": [2.125, 1.25, 3.125, 2.25, -0.375, -0.25]
    }
    xywh = Declared(boxes=(("rect", "xywh"),))
    assert moved({"rect": [10, 3, 8, 6]}, declared=xywh) == {"rect": [2.125, 1.25, 2, 3]}
    with pytest.raises(UsageError, match="four numbers for each box"):
        moved({"rect": [10, 3, 8]}, declared=xywh)


@pytest.mark.parametrize(
    "fields",
    [
        {"keypoints_3d": [0.1, 0.2, 0.9, 1.0]},
        {"num_boxes": [3, 4]},
        {"track_id": 5, "score": 0.5, "occluded": True, "box_type": "visible", "point": None, "points": []},
        {"attributes": {"rotation": 90.0}, "pose": [[1.0, 0.0], [0.0, 1.0]], "cam_R_w2c": [1.0] * 9},
        {"neg_category_ids": [5, 6, 7], "center": 5},
        {"size": [3, 4, 5], "translation": [1, 2, 3]},
    ],
)
def test_other_fields_stay(fields: dict[str, Any]) -> None:
    assert moved(fields, CROP) == fields


def test_damaged_fields_are_named() -> None:
    with pytest.raises(ImageError, match="object 1 cannot be moved"):
        moved({"face_kpts": [1, 2]})
