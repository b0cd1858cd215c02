"""Objects of COCO as lines of YOLO: what reaches beyond the image, masks, and what YOLO does not hold."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refiner.data.annotations.positions.run_lengths import encode
from refiner.data.annotations.source import LabelledImage
from refiner.data.annotations.yolo import writer
from refiner.data.labels.objects import AnnotationInfo, Category, ImageAnnotations, ObjectLabel

HEIGHT, WIDTH = 30, 50

INFO = AnnotationInfo("coco", (Category(1, "cat"), Category(2, "dog")))

BOXES_CUT = "boxes that reach beyond their image are cut at its border"
OUTLINES_CUT = "outlines that reach beyond their image are cut at its border"
OUTSIDE = "objects outside of their image are left out"


def lines(
    root: Path, *objects: ObjectLabel, entries: dict[str, Any] | None = None
) -> tuple[list[list[float]], list[str]]:
    """Return the numbers in the text file of an image, and what was said."""
    said: list[str] = []
    image = LabelledImage("images/a.png", (HEIGHT, WIDTH), {"objects": ImageAnnotations(objects, entries or {})})
    writer.write(root, [image], INFO, lambda what, name: said.append(f"{what}{name.removeprefix('images/a.png')}"))
    text = (root / "labels/a.txt").read_text()
    numbers = [[float(part) for part in line.split()] for line in text.splitlines()]
    assert all(0 <= number <= 1 for line in numbers for number in line[1:5])
    return numbers, said


def edges(line: list[float]) -> list[float]:
    """Return left, top, right and bottom of a box in pixels."""
    x, y, width, height = line[1:5]
    return [(x - width / 2) * WIDTH, (y - height / 2) * HEIGHT, (x + width / 2) * WIDTH, (y + height / 2) * HEIGHT]


@pytest.mark.parametrize(
    ("box", "expected", "said"),
    [
        ((-6, 4, 20, 8), (-6, 4, 14, 12), []),  # its centre is inside, so that YOLO holds it
        ((-16, 4, 20, 8), (0, 4, 4, 12), [BOXES_CUT]),
        ((40, 25, 20, 12), (40, 25, 50, 30), [BOXES_CUT]),
        ((-1, 3, 60, 10), (0, 3, 50, 13), [BOXES_CUT]),  # wider than the image
        ((50, 3, 4, 4), None, [OUTSIDE]),
        ((-9, -9, 4, 4), None, [OUTSIDE]),
    ],
)
def test_boxes_beyond_the_image(tmp_path: Path, box: Any, expected: Any, said: list[str]) -> None:
    found, heard = lines(tmp_path, ObjectLabel("1", "cat", box), ObjectLabel("2", "dog", (1, 2, 3, 4)))
    assert heard == said
    assert edges(found[-1]) == pytest.approx([1, 2, 4, 6])
    assert found[-1][0] == 1
    if expected is None:
        assert len(found) == 1
    else:
        assert edges(found[0]) == pytest.approx(expected)


def test_outlines_beyond_the_image_end_at_its_border(tmp_path: Path) -> None:
    triangle = ObjectLabel("1", "cat", None, polygons=((40, 10, 60, 10, 40, 30),))
    gone = ObjectLabel("2", "cat", None, polygons=((60, 1, 70, 1, 70, 9),))
    box = ObjectLabel("3", "dog", (-4, 20, 14, 20))
    (first, second), said = lines(tmp_path, triangle, gone, box)
    assert said == [OUTLINES_CUT, OUTSIDE, BOXES_CUT]
    points = np.array(first[1:]).reshape(-1, 2) * (WIDTH, HEIGHT)
    assert sorted(map(tuple, points.round(6).tolist())) == [(40, 10), (40, 30), (50, 10), (50, 20)]
    assert np.array(second[1:]).reshape(-1, 2) * (WIDTH, HEIGHT) == pytest.approx(
        np.array([[0, 20], [10, 20], [10, 30], [0, 30]])
    )


def test_keypoints_beyond_the_image_lose_their_position(tmp_path: Path) -> None:
    each = ObjectLabel("1", "cat", (40, 5, 10, 10), keypoints=(49.4, -0.5, 2, 49.6, 7, 2, 0, 0, 0, 3, 4, 1))
    (found,), said = lines(tmp_path, each)
    assert said == ["keypoints outside of their image are left out"]
    assert found[5:] == pytest.approx([49.9 / WIDTH, 0, 2, 0, 0, 0, 0, 0, 0, 3.5 / WIDTH, 4.5 / HEIGHT, 1])


def test_masks_become_outlines_of_their_pixels(tmp_path: Path) -> None:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[4:9, 7:20] = 1
    whole = ObjectLabel("1", "cat", (7, 4, 13, 5), mask=encode(pixels))
    pixels[6, 10:12] = 0
    pixels[20:22, 30:33] = 1
    parts = ObjectLabel("2", "dog", (7, 4, 26, 18), mask=encode(pixels))
    (first, second), said = lines(tmp_path, whole, parts)
    assert said == ["outlines of several parts, or with holes, are joined to one by lines without width"]
    points = np.array(first[1:]).reshape(-1, 2) * (WIDTH, HEIGHT)
    assert sorted(map(tuple, points.round(6).tolist())) == [(7, 4), (7, 9), (20, 4), (20, 9)]
    x, y = np.array(second[1:]).reshape(-1, 2).T * [[WIDTH], [HEIGHT]]
    assert abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 == pytest.approx(pixels.sum())
    assert (x.min(), y.min(), x.max(), y.max()) == pytest.approx((7, 4, 33, 22))


def test_what_yolo_cannot_hold_is_said_and_left_out(tmp_path: Path) -> None:
    hidden = ObjectLabel("1", "cat")
    crowd = ObjectLabel("2", "cat", (1, 2, 30, 20), extra={"iscrowd": 1})
    noted = ObjectLabel("3", "dog", (1, 2, 4, 6), extra={"iscrowd": 0, "area": 24, "pose": [1, 0], "bbox": []})
    keypoints = ObjectLabel("4", "dog", (1, 2, 4, 6), extra={"iscrowd": 0, "area": 24, "segmentation": []})
    found, said = lines(tmp_path, hidden, crowd, noted, keypoints, entries={"a.json": {"id": 3, "cam_K": [1] * 9}})
    assert [(line[0], edges(line)) for line in found] == [(1, pytest.approx([1, 2, 5, 8]))] * 2
    assert said == [
        "further fields of objects are left out, since YOLO holds only classes and places",
        "facts about the image, such as its camera, are left out, since YOLO holds only objects",
        "objects without any place, such as hidden ones, are left out",
        "crowd regions are left out, since YOLO holds single objects",
    ]
    _, said = lines(tmp_path / "plain", keypoints, entries={"a.json": {"id": 3, "file_name": "a.png", "license": 1}})
    assert said == []
