"""Objects under a crop and a resize, against arithmetic and drawing of the tests' own."""

from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from refiner.core.errors import ImageError
from refiner.data.annotations.positions.moves import count_losses, move_annotations
from refiner.data.annotations.positions.polygons import clip_polygon, polygon_area
from refiner.data.labels.coordinates import Change
from refiner.data.labels.objects import ImageAnnotations, ObjectLabel

RESIZE = Change((40, 60), (0, 0), (40, 60), (20, 15))
"""Factors 1/4 for x and 1/2 for y."""

CROP = Change((40, 60), (10, 20), (20, 30), (40, 90))
"""Columns 20 to 50, rows 10 to 30; factors 3 for x and 2 for y."""


def move(each: ObjectLabel, change: Change) -> ObjectLabel | None:
    moved = move_annotations(ImageAnnotations((each,)), change, "a.png").objects
    return moved[0] if moved else None


def rle(mask: np.ndarray[Any, Any], *, compressed: bool) -> dict[str, Any]:
    """Run lengths by pycocotools, or counted here."""
    if compressed:
        made = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        return {"size": list(made["size"]), "counts": made["counts"].decode()}
    counts, value = [0], 0
    for pixel in mask.T.ravel():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


def pixels(mask: Any) -> np.ndarray[Any, Any]:
    """Mask from run lengths by pycocotools."""
    made = mask if isinstance(mask["counts"], str) else coco_mask.frPyObjects(mask, *mask["size"])
    return np.asarray(coco_mask.decode(made))


def test_boxes_and_outlines_scale_from_the_edge() -> None:
    each = ObjectLabel("1", box=(10, 6, 20, 8), polygons=((0, 0, 60, 0, 60, 40, 0, 40), (4, 2, 8, 2, 8, 7)))
    moved = move(each, RESIZE)
    assert moved is not None
    assert moved.box == (2.5, 3, 5, 4)
    assert moved.polygons == ((0, 0, 15, 0, 15, 20, 0, 20), (1, 1, 2, 1, 2, 3.5))


def test_nothing_is_cut_without_a_crop() -> None:
    # Renderers write boxes of whole objects, of which a part is outside of the image.
    each = ObjectLabel("1", box=(-8, -2, 100, 80), polygons=((-8, -2, 92, -2, 92, 78),), keypoints=(-9, 5, 1))
    moved = move(each, RESIZE)
    assert moved is not None
    assert moved.box == (-2, -1, 25, 40)
    assert moved.polygons == ((-2, -1, 23, -1, 23, 39),)
    assert moved.keypoints == ((-9 + 0.5) / 4 - 0.5, (5 + 0.5) / 2 - 0.5, 1)


def test_keypoints_are_positions_of_pixels() -> None:
    each = ObjectLabel("1", keypoints=(0, 0, 0, 10, 3, 2, 59, 39, 1, 7, 5, 0), extra={"num_keypoints": 2})
    moved = move(each, RESIZE)
    assert moved is not None
    expected = [0, 0, 0, 10.5 / 4 - 0.5, 3.5 / 2 - 0.5, 2, 59.5 / 4 - 0.5, 39.5 / 2 - 0.5, 1, 7.5 / 4 - 0.5, 2.25, 0]
    assert moved.keypoints == tuple(expected)
    assert moved.extra["num_keypoints"] == 2


def test_a_crop_unlabels_keypoints_outside_and_cuts_boxes() -> None:
    each = ObjectLabel(
        "1",
        box=(15, 5, 20, 10),
        keypoints=(20, 10, 2, 19, 12, 2, 49, 29, 1, 50, 29, 1, 30, 9, 2),
        extra={"num_keypoints": 5, "area": 200},
    )
    moved = move(each, CROP)
    assert moved is not None
    # Columns 20 to 35 and rows 10 to 15 are left.
    assert moved.box == (0, 0, 45, 10)
    assert moved.extra == {"num_keypoints": 2, "area": 450}
    assert moved.keypoints == (1, 0.5, 2, 0, 0, 0, (29 + 0.5) * 3 - 0.5, (19 + 0.5) * 2 - 0.5, 1, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("change", [RESIZE, CROP, Change((40, 60), (3, 7), (33, 41), (57, 23))])
def test_masks_are_exact_to_the_pixel(compressed: bool, change: Change) -> None:
    mask = (np.random.default_rng(7).random((40, 60)) < 0.4).astype(np.uint8)
    moved = move(ObjectLabel("1", mask=rle(mask, compressed=compressed), extra={"area": int(mask.sum())}), change)
    assert moved is not None
    assert moved.mask is not None
    # The pixel whose centre is nearest, one by one.
    (top, left), (height, width), (rows, columns) = change.corner, change.crop, change.result
    expected = np.zeros((rows, columns), np.uint8)
    for y in range(rows):
        for x in range(columns):
            expected[y, x] = mask[top + (2 * y + 1) * height // (2 * rows), left + (2 * x + 1) * width // (2 * columns)]
    assert moved.mask["size"] == [rows, columns]
    np.testing.assert_array_equal(pixels(moved.mask), expected)
    assert moved.mask == rle(expected, compressed=compressed)
    assert moved.extra["area"] == expected.sum()


def test_outlines_are_cut_at_the_crop() -> None:
    # A triangle and a shape like a U, whose two arms enter the crop.
    triangle = (30, 0, 50, 20, 10, 20)
    arms = (15, 12, 25, 12, 25, 14, 17, 14, 17, 20, 25, 20, 25, 22, 15, 22)
    each = ObjectLabel("1", box=(10, 0, 40, 22), polygons=(triangle, arms, (0, 0, 5, 0, 5, 5)), extra={"area": 999.0})
    moved = move(each, CROP)
    assert moved is not None
    assert len(moved.polygons) == 2  # the third is outside
    # Against a drawing in 1/16 pixels: the sum of the drawn pixels in the crop is the area.
    for before, after in zip((triangle, arms), moved.polygons, strict=True):
        canvas = np.zeros((40 * 16, 60 * 16), np.uint8)
        cv2.fillPoly(canvas, [np.array(before, np.int32).reshape(-1, 2) * 16], 1)
        drawn = canvas[10 * 16 : 30 * 16, 20 * 16 : 50 * 16].sum() / 256
        points = np.array(after).reshape(-1, 2)
        assert polygon_area(points) == pytest.approx(drawn * 3 * 2, rel=0.05)  # drawings include their border
        assert points.min() >= 0
        assert (points <= [90, 40]).all()
    # By hand: 10 x 2 and twice 5 x 2, of 400 + 58 + 12.5 before; the triangle keeps all below row 10, right of 20.
    triangle_left = (20 + 40) / 2 * 10 - 10 * 10 / 2
    whole, left = 400 + (10 * 10 - 8 * 6) + 12.5, triangle_left + 2 * (5 * 2)
    assert moved.extra["area"] == pytest.approx(999 * left * 6 / whole)


def test_area_of_outlines_is_exact() -> None:
    moved = move(ObjectLabel("1", polygons=((15, 5, 25, 5, 25, 15, 15, 15),), extra={"area": 100}), CROP)
    assert moved is not None
    assert moved.extra["area"] == 5 * 5 * 6
    assert sorted(np.reshape(moved.polygons[0], (-1, 2)).tolist()) == [[0, 0], [0, 10], [15, 0], [15, 10]]


def test_polygons_cut_at_random_fit_a_drawing() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        points = rng.integers(0, 64, (rng.integers(3, 9), 2))
        points = points[np.argsort(np.arctan2(*(points - points.mean(axis=0)).T))]  # no edges that cross
        canvas = np.zeros((64 * 8, 64 * 8), np.uint8)
        cv2.fillPoly(canvas, [points.astype(np.int32) * 8], 1)
        cut = clip_polygon(points.astype(float) - [12, 20], (25, 33))
        drawn = canvas[20 * 8 : 45 * 8, 12 * 8 : 45 * 8].sum() / 64
        area = polygon_area(cut) if len(cut) else 0.0
        assert area == pytest.approx(drawn, abs=16 + 0.05 * drawn)


def test_objects_outside_are_dropped_and_counted() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[0:5, 0:5] = 1
    objects = (
        ObjectLabel("box", box=(0, 0, 20, 40)),  # ends where the crop begins
        ObjectLabel("mask", box=(0, 0, 30, 30), mask=rle(mask, compressed=True)),
        ObjectLabel("outline", box=(0, 0, 30, 30), polygons=((0, 0, 19, 0, 0, 9),)),
        ObjectLabel("points", keypoints=(5, 5, 2, 0, 0, 0)),
        ObjectLabel("kept", box=(19, 9, 2, 2), keypoints=(20, 10, 2, 19, 9, 1)),
        ObjectLabel("no place", extra={"caption": "a cup"}),
        ObjectLabel("point-like", box=(20, 15, 0, 0)),
    )
    before = ImageAnnotations(objects, {"all.json": {"id": 3, "width": 60, "height": 40}})
    after = move_annotations(before, CROP, "a.png")
    assert [each.id for each in after.objects] == ["kept", "no place", "point-like"]
    assert count_losses(before, after) == (4, 1, 0)
    assert after.objects[0].box == (0, 0, 3, 2)
    assert after.entries == {"all.json": {"id": 3, "width": 90, "height": 40}}


def test_outlines_without_area_are_kept_inside_of_a_crop() -> None:
    line = (22, 12, 30, 12, 40, 12)
    each = ObjectLabel(
        "1", box=(22, 12, 18, 0), polygons=(line, (22, 12, 30, 14), (0, 0, 5, 5, 9, 9)), extra={"area": 0}
    )
    moved = move(each, CROP)
    assert moved is not None
    assert moved.polygons == ((6, 4, 30, 4, 60, 4), (6, 4, 30, 8))
    assert moved.box == (6, 4, 54, 0)
    assert moved.extra["area"] == 0


def test_a_shape_that_ends_beyond_its_rounded_box_gets_the_box_of_what_is_left() -> None:
    moved = move(ObjectLabel("1", box=(10, 12, 10, 8), polygons=((10, 12, 20.5, 12, 20.5, 20, 10, 20),)), CROP)
    assert moved is not None
    assert moved.box == (0, 4, 1.5, 16)


def test_a_mask_too_small_for_the_new_size_is_counted() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[1, 1] = 1
    before = ImageAnnotations((ObjectLabel("1", box=(1, 1, 1, 1), mask=rle(mask, compressed=False)),))
    after = move_annotations(before, Change((40, 60), (0, 0), (40, 60), (4, 6)), "a.png")
    assert after.objects[0].mask == {"size": [4, 6], "counts": [24]}
    assert after.objects[0].box == (0.1, 0.1, 0.1, 0.1)
    assert count_losses(before, after) == (0, 0, 1)


def test_a_mask_in_the_crop_that_is_too_small_for_the_new_size_is_kept_and_counted() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[13, 25:31] = 1  # inside of rows 10 to 30; every fourth row is kept, from 12
    change = CROP._replace(result=(5, 30))
    before = ImageAnnotations((ObjectLabel("1", box=(25, 13, 6, 1), mask=rle(mask, compressed=True)),))
    after = move_annotations(before, change, "a.png")
    assert [each.box for each in after.objects] == [(5, 0.75, 6, 0.25)]
    assert not pixels(after.objects[0].mask).any()
    assert count_losses(before, after) == (0, 0, 1)


def test_no_change_returns_the_same() -> None:
    before = ImageAnnotations((ObjectLabel("1", box=(1, 1, float("nan"), 1)),))
    assert move_annotations(before, Change((4, 6), (0, 0), (4, 6), (4, 6)), "a.png") is before


@pytest.mark.parametrize(
    ("each", "reason"),
    [
        (ObjectLabel("7", box=(1, 1, float("nan"), 1)), "object 7 cannot be moved: its box is"),
        (ObjectLabel("7", box=(1, 1)), "four finite numbers"),  # type: ignore[arg-type]
        (ObjectLabel("7", extra={"area": "120"}), "its area is the text '120'"),
        (ObjectLabel("7", polygons=((1, 2, 3),)), "its outline has 3 numbers"),
        (ObjectLabel("7", keypoints=(1, 2, 2, 3)), "its keypoints has 4 numbers"),
        (ObjectLabel("7", mask={"size": [60, 40], "counts": [2400]}), "its mask is 60x40, but the image is 40x60"),
        (ObjectLabel("7", mask={"size": [40, 60], "counts": [2399]}), "add up to 2,399, not to its 40x60 pixels"),
        (ObjectLabel("7", mask={"size": [40, 60], "counts": "~"}), "compressed counts of a mask are damaged"),
        (ObjectLabel("7", mask={"size": "x", "counts": []}), r"expected|has to be \[height, width\]"),
        (ObjectLabel("7", mask={"size": [40, 60]}), "neither a list of run lengths nor compressed text"),
    ],
)
def test_damaged_objects_are_named(each: ObjectLabel, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        move(each, RESIZE)
