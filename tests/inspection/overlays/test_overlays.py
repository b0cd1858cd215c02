"""Labels are drawn where they are: boxes, masks, outlines, keypoints and label images, at any enlargement."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from refiner.data.formats.registry import open_dataset
from refiner.data.labels.objects import AnnotationInfo, Category, ImageAnnotations, ObjectLabel
from refiner.data.labels.records import Record
from refiner.data.labels.tables import write_labels
from refiner.images.io import write_image
from refiner.inspection.overlays.contact_sheet import CELL, draw_sheet
from refiner.inspection.overlays.datasets import DatasetOverlays
from refiner.inspection.overlays.label_shapes import label_image_shapes, label_shapes, object_shapes
from refiner.inspection.overlays.paint import draw_shapes
from refiner.inspection.overlays.shapes import CLASS_COLOURS, LabelStyle, Shape

SIZE = (24, 40)


def runs_of(mask: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Run lengths down the columns, zeros first, by plain counting."""
    counts, last, run = [], 0, 0
    for value in mask.T.reshape(-1).tolist():
        if value == last:
            run += 1
        else:
            counts.append(run)
            last, run = value, 1
    return {"size": list(mask.shape), "counts": [*counts, run]}


def area(points: np.ndarray[Any, Any]) -> float:
    x, y = points.T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


def ring() -> np.ndarray[Any, Any]:
    mask = np.zeros(SIZE, int)
    mask[4:14, 10:30] = 1
    mask[8:10, 16:20] = 0
    return mask


def test_a_box_runs_along_the_edges_of_its_pixels() -> None:
    """A box in COCO's coordinates, where the image's corner is 0, in positions of pixels, where it is -0.5."""
    (box,) = object_shapes(ObjectLabel("1", "a", box=(10, 4, 20, 10)), SIZE, LabelStyle())
    assert box.kind == "outline"
    assert box.parts[0].tolist() == [[9.5, 3.5], [29.5, 3.5], [29.5, 13.5], [9.5, 13.5]]
    canvas = np.zeros((SIZE[0] * 6, SIZE[1] * 6, 3), np.uint8)
    draw_shapes(canvas, [box], SIZE)
    rows, columns = np.nonzero(canvas.max(axis=2) > 60)  # the line lies between two pixels and is shared by them
    assert (rows.min(), rows.max()) == (pytest.approx(4 * 6 - 0.5, abs=1), pytest.approx(14 * 6 - 0.5, abs=1))
    assert (columns.min(), columns.max()) == (pytest.approx(10 * 6 - 0.5, abs=1), pytest.approx(30 * 6 - 0.5, abs=1))


def test_a_mask_is_tinted_in_its_pixels_and_not_in_its_hole() -> None:
    mask = ring()
    (shape,) = object_shapes(ObjectLabel("1", "a", mask=runs_of(mask)), SIZE, LabelStyle(("a",)))
    assert (shape.kind, shape.colour) == ("area", CLASS_COLOURS[0])
    outer, hole = sorted(shape.parts, key=area, reverse=True)
    assert np.abs(outer.min(axis=0) - (9.5, 3.5)).max() < 0.2
    assert np.abs(outer.max(axis=0) - (29.5, 13.5)).max() < 0.2
    assert area(outer) == pytest.approx(200, rel=0.06)
    assert area(hole) == pytest.approx(8, rel=0.35)
    # The tint, away from outlines.
    canvas = np.full((SIZE[0] * 9, SIZE[1] * 9, 3), 200, np.uint8)
    draw_shapes(canvas, [shape], SIZE)
    inner = cv2.erode(np.asarray(mask, np.uint8), np.ones((3, 3), np.uint8)) > 0
    outside = cv2.dilate(np.asarray(mask, np.uint8), np.ones((3, 3), np.uint8)) == 0
    centres = canvas[4::9, 4::9]
    expected = np.rint(0.75 * 200 + 0.25 * np.array(CLASS_COLOURS[0]))
    assert np.abs(centres[inner] - expected).max() <= 1
    assert (centres[outside] == 200).all()


def test_a_mask_of_another_size_covers_the_same_share_of_the_image() -> None:
    small = np.zeros((12, 10), int)
    small[2:7, 5:8] = 1
    (shape,) = object_shapes(ObjectLabel("1", mask=runs_of(small)), SIZE, LabelStyle())
    assert np.abs(shape.parts[0].min(axis=0) - (5 * 4 - 0.5, 2 * 2 - 0.5)).max() < 0.7
    assert np.abs(shape.parts[0].max(axis=0) - (8 * 4 - 0.5, 7 * 2 - 0.5)).max() < 0.7


def test_keypoints_have_their_bones_and_hidden_ones_are_circles() -> None:
    info = AnnotationInfo("coco", (Category(3, "arm", extra={"skeleton": [[1, 2], [2, 3], [1, 4], "x", [9, 1]]}),))
    points = (2.0, 3.0, 2, 10.0, 5.0, 1, 20.0, 7.0, 2, 0, 0, 0)
    shapes = object_shapes(ObjectLabel("1", "arm", keypoints=points), SIZE, LabelStyle.of(info))
    by_kind = {shape.kind: [part.tolist() for part in shape.parts] for shape in shapes}
    assert by_kind == {
        "line": [[[2, 3], [10, 5]], [[10, 5], [20, 7]]],
        "dots": [[[2, 3], [20, 7]]],
        "circles": [[[10, 5]]],
    }


def test_polygons_move_by_half_a_pixel() -> None:
    outline = (1.0, 2.0, 11.0, 2.0, 6.0, 12.0)
    (shape,) = object_shapes(ObjectLabel("1", polygons=(outline, (1, 2))), SIZE, LabelStyle())
    assert [part.tolist() for part in shape.parts] == [[[0.5, 1.5], [10.5, 1.5], [5.5, 11.5]]]


@pytest.mark.parametrize(
    "label",
    [
        ObjectLabel("1", mask={"size": [3, 3], "counts": "damaged~"}),
        ObjectLabel("1", mask={"size": SIZE, "counts": [24 * 40]}),
        ObjectLabel("1", box=(float("nan"), 0, 1, 1)),
        ObjectLabel("1", keypoints=(1.0, 2.0)),
        ObjectLabel("\udc80", "\udc80"),
    ],
)
def test_what_cannot_be_drawn_is_left_out(label: ObjectLabel) -> None:
    assert object_shapes(label, SIZE, LabelStyle(("a",))) == []


def test_objects_far_outside_do_no_harm() -> None:
    label = ObjectLabel("1", box=(-1e12, 3, 1e13, 4), polygons=((1e30, 0, 1, 1, 2, 5),), keypoints=(1e9, -1e9, 2))
    canvas = np.zeros((48, 80, 3), np.uint8)
    draw_shapes(canvas, label_shapes({"objects": ImageAnnotations((label,))}, SIZE), SIZE)


def test_classes_have_colours_of_their_own() -> None:
    style = LabelStyle(("a", "b", "c"))
    assert [style.colour(name) for name in "abc"] == list(CLASS_COLOURS[:3])
    assert style.colour("unknown") in CLASS_COLOURS


def test_a_label_image_has_an_area_for_each_value() -> None:
    values = np.zeros((12, 20), np.uint8)
    values[2:6, 4:10] = 1
    values[8:10, 12:18] = 2
    first, second = label_image_shapes(values, SIZE, LabelStyle(("sky", "road", "tree")))
    assert [first.name, second.name] == ["road", "tree"]
    assert area(first.parts[0]) == pytest.approx(4 * 6 * 4, rel=0.2)
    coloured = np.zeros((12, 20, 4), np.uint8)
    coloured[..., 3] = 255
    coloured[2:6, 4:10, :3] = (9, 0, 7)
    assert [shape.name for shape in label_image_shapes(coloured, SIZE)] == ["9 0 7"]


def test_points_of_any_name_are_dots() -> None:
    labels = {"corners": np.array([[3.0, 4.0], [20.5, 9.0]]), "joints": np.array([[1.0, 2.0, 300.0], [np.nan] * 3])}
    shapes = label_shapes({**labels, "weights": np.ones(3), "size_mm": np.ones((2, 2))}, SIZE)
    assert [(shape.kind, shape.name, shape.parts[0].tolist()) for shape in shapes] == [
        ("dots", "corners", [[3, 4], [20.5, 9]]),
        ("dots", "joints", [[1, 2]]),
    ]


def test_the_contact_sheet_shows_objects_and_label_images(tmp_path: Path) -> None:
    """Of a folder with a label table and a mask beside each image, in the colours of the shapes."""
    mask = np.zeros(SIZE, np.uint8)
    mask[2:8, 2:12] = 255
    objects = ImageAnnotations((ObjectLabel("1", "cup", box=(20, 10, 10, 8)),))
    for number in range(3):
        write_image(tmp_path / f"{number}.png", np.full((*SIZE, 3), 90 + number, np.uint8))
        write_image(tmp_path / f"{number}_mask.png", mask)
    write_labels(tmp_path / "labels.csv", {f"{number}.png": {"objects": objects} for number in range(3)})
    dataset = open_dataset(tmp_path)
    shapes = DatasetOverlays(dataset).shapes(dataset.read("1.png"))
    assert [(shape.kind, shape.name) for shape in shapes] == [("area", "255"), ("outline", "cup")]
    sheet = draw_sheet(dataset)
    scale = CELL // SIZE[1]
    tinted = sheet[5 * scale, 7 * scale].astype(float)
    assert np.abs(tinted - (0.75 * 90 + 0.25 * np.array(shapes[0].colour))).max() <= 1
    edge = sheet[14 * scale, 20 * scale - 1 : 20 * scale + 1].astype(int).max(axis=0) - 90
    assert np.abs(edge).max() > 40


def test_a_record_without_labels_has_no_shapes() -> None:
    record = Record("a.png", np.zeros(SIZE, np.uint8))
    assert label_shapes(record.labels, SIZE) == []
    canvas = np.zeros((*SIZE, 3), np.uint8)
    draw_shapes(canvas, [Shape("area", (), (1, 2, 3))], SIZE)
    assert not canvas.any()
