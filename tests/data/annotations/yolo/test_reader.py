"""YOLO data sets, judged by a parser that is written here after Ultralytics' documented rules."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image as Pillow

from refiner.core.errors import DataError, ImageError
from refiner.data.annotations.edits import ObjectEditor, write_edited
from refiner.data.annotations.positions.moves import move_annotations
from refiner.data.annotations.source import LabelledImage
from refiner.data.annotations.yolo import reader as yolo
from refiner.data.annotations.yolo import writer as yolo_writer
from refiner.data.annotations.yolo.layout import label_path
from refiner.data.labels.coordinates import Change
from refiner.data.labels.objects import AnnotationInfo, Category, ImageAnnotations, ObjectLabel
from refiner.data.labels.records import from_cells, to_cells
from refiner.images.io import write_image

HEIGHT, WIDTH = 30, 50

DATA = {
    "path": "../datasets/x",
    "train": "images/train",
    "val": "images/val",
    "names": {0: "cat", 1: "no"},
    "more": [1],
}


def make(root: Path, texts: dict[str, str | None], data: Any = None, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """Images with the text of their label files; None for no file."""
    for name, text in texts.items():
        write_image(root / name, np.zeros((*size, 3), np.uint8))
        if text is not None:
            path = root / label_path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
    if data is not None:
        (root / "data.yaml").write_text(data if isinstance(data, str) else yaml.safe_dump(data, sort_keys=False))
    return root


def sources_of(root: Path) -> list[yolo.YoloSource]:
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return yolo.find(root, files, [name for name in files if name.endswith((".png", ".jpg"))])


def source_of(root: Path) -> yolo.YoloSource:
    (source,) = sources_of(root)
    return source


def objects_of(source: yolo.YoloSource, name: str) -> tuple[ObjectLabel, ...]:
    found = source[name]["objects"]
    assert isinstance(found, ImageAnnotations)
    return found.objects


def rewritten(source: yolo.YoloSource, out: Path, change: Change | None = None) -> list[str]:
    """Write what a source gives, after labels and facts have been text, as in a store."""
    out.mkdir(parents=True)
    images = []
    for name in source:
        labels = from_cells(to_cells(source[name]), name)
        if change is not None:
            labels["objects"] = move_annotations(labels["objects"], change, name)
        images.append(LabelledImage(name, change.result if change else (HEIGHT, WIDTH), labels))
    assert source.info is not None
    return yolo_writer.write(out, images, AnnotationInfo.from_json(source.info.to_json(), "info"))


# --- an independent parser, after docs.ultralytics.com/datasets ----------------------------------------------------


def ultralytics(root: Path, data_file: str = "data.yaml") -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Images by part, with their objects: class name, box (centre and size), segment or keypoints, all in [0, 1]."""
    data = yaml.safe_load((root / data_file).read_text())
    assert {"train", "val", "names"} <= data.keys()
    names = dict(enumerate(data["names"])) if isinstance(data["names"], list) else data["names"]
    assert list(names) == list(range(data.get("nc", len(names))))
    base = root / data.get("path", ".")
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for part in ("train", "val", "test"):
        if part not in data:
            continue
        folders = data[part] if isinstance(data[part], list) else [data[part]]
        images = [path for folder in folders for path in sorted((base / folder).rglob("*.*")) if path.suffix == ".png"]
        assert images, f"{part} holds no images"
        found[part] = {}
        for image in images:
            # img2label_paths: the last /images/ becomes /labels/, and the suffix becomes .txt.
            head, slash, tail = str(image).rpartition("/images/")
            label = Path(f"{head}/labels/{tail}" if slash else str(image)).with_suffix(".txt")
            rows = [line.split() for line in label.read_text().splitlines() if line.strip()] if label.is_file() else []
            is_segments = any(len(row) > 6 for row in rows) and "kpt_shape" not in data
            found[part][image.relative_to(root).as_posix()] = [_object(row, data, names, is_segments) for row in rows]
    return found


def _object(row: list[str], data: Any, names: Any, is_segments: bool) -> dict[str, Any]:
    number, values = int(row[0]), [float(text) for text in row[1:]]
    if is_segments:
        assert len(values) >= 6
        assert len(values) % 2 == 0
        assert all(0 <= value <= 1 for value in values)
        return {"class": names[number], "segment": values}
    if "kpt_shape" in data:
        count, each = data["kpt_shape"]
        assert len(values) == 4 + count * each
        points = np.reshape(values[4:], (count, each))
        assert (points[:, :2] <= 1).all()
        return {"class": names[number], "box": values[:4], "keypoints": points.tolist()}
    assert len(values) == 4
    assert all(0 <= value <= 1 for value in values)
    return {"class": names[number], "box": values}


# --- reading -------------------------------------------------------------------------------------------------------


def test_boxes_become_pixels_of_their_image(tmp_path: Path) -> None:
    text = "1 0.5 0.4 0.2 0.1\r\n\r\n  0 0.25 0.75 0.5 0.5 \r\n"
    make(tmp_path, {"images/train/a.png": text, "images/val/b.png": ""}, DATA)
    source = source_of(tmp_path)
    first, second = objects_of(source, "images/train/a.png")
    assert first.box == pytest.approx((0.4 * WIDTH, 0.35 * HEIGHT, 0.2 * WIDTH, 0.1 * HEIGHT), rel=1e-12)
    assert second.box == pytest.approx((0, 0.5 * HEIGHT, 0.5 * WIDTH, 0.5 * HEIGHT), abs=1e-12)
    assert (first.category, second.category) == ("no", "cat")  # and not False, as YAML would have it
    assert objects_of(source, "images/val/b.png") == ()
    assert source.files == {"data.yaml", "labels/train/a.txt", "labels/val/b.txt"}
    assert source.info is not None
    assert [(each.id, each.name) for each in source.info.categories] == [(0, "cat"), (1, "no")]


def test_outlines_boxes_at_an_angle_and_confidence(tmp_path: Path) -> None:
    lines = ["0 0.1 0.2 0.3 0.2 0.3 0.6", "1 0.1 0.1 0.4 0.1 0.4 0.5 0.1 0.5 0.75", "0 0.5 0.5 0.1 0.2 0.875"]
    make(tmp_path, {"images/train/a.png": "\n".join(lines), "images/val/b.png": None}, DATA)
    outline, angled, box = objects_of(source_of(tmp_path), "images/train/a.png")
    assert outline.polygons[0] == pytest.approx((5, 6, 15, 6, 15, 18))
    assert outline.box is None
    assert angled.polygons[0] == pytest.approx((5, 3, 20, 3, 20, 15, 5, 15))
    assert angled.extra["score"] == 0.75
    assert box.box == pytest.approx((22.5, 12, 5, 6))
    assert box.extra["score"] == 0.875
    assert "images/val/b.png" not in source_of(tmp_path)


@pytest.mark.parametrize("values", [2, 3])
def test_keypoints_are_positions_of_pixels(tmp_path: Path, values: int) -> None:
    visible = " 2" if values == 3 else ""
    unlabelled = "0 0 0" if values == 3 else "0 0"
    line = f"0 0.5 0.5 0.2 0.4 0.25 0.1{visible} {unlabelled}"
    data = {**DATA, "kpt_shape": [2, values], "kpt_names": {0: ["nose", "tail"]}}
    make(tmp_path, {"images/train/a.png": line, "images/val/b.png": ""}, data)
    source = source_of(tmp_path)
    (found,) = objects_of(source, "images/train/a.png")
    assert found.box == pytest.approx((20, 9, 10, 12))
    assert found.keypoints == pytest.approx((0.25 * WIDTH - 0.5, 0.1 * HEIGHT - 0.5, 2, 0, 0, 0))
    assert source.info is not None
    assert source.info.categories[0].keypoints == ("nose", "tail")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.5 0.5 0.2", "line 2 has 3 values after its class; expected 4 for a box, or at least 6"),
        ("0", "line 2 has 0 values"),
        ("0 0.5 0.5 1.2 0.1", "line 2 has a coordinate of 1.2; expected a share of the image size"),
        ("0 0.5 -0.5 0.2 0.1", "line 2 has a coordinate of -0.5"),
        ("0 0.5 nan 0.2 0.1", "line 2 holds 'nan', which is not a number"),
        ("7 0.5 0.5 0.2 0.1", "line 2 names the class 7, but data.yaml has 2 classes"),
        ("-1 0.5 0.5 0.2 0.1", "line 2 begins with -1; expected the number of a class"),
        ("0.5 0.5 0.5 0.2 0.1", "line 2 begins with 0.5"),
        ("0 0,5 0,5 0,2 0,1", "line 2 holds '0,5', which is not a number; numbers have decimal points"),
        ("cat 0.5 0.5 0.2 0.1", "line 2 holds 'cat'"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 7", "line 2 has its confidence of 7"),
    ],
)
def test_a_faulty_file_concerns_its_image_alone(tmp_path: Path, line: str, reason: str) -> None:
    good = "0 0.5 0.5 0.2 0.1"
    make(tmp_path, {"images/train/a.png": f"{good}\n{line}\n", "images/val/b.png": good}, DATA)
    source = source_of(tmp_path)
    assert len(objects_of(source, "images/val/b.png")) == 1
    with pytest.raises(ImageError) as raised:
        source["images/train/a.png"]
    assert raised.value.reason.startswith(f"labels/train/a.txt: {reason}")


def test_lines_that_do_not_fit_kpt_shape_are_faulty(tmp_path: Path) -> None:
    make(tmp_path, {"images/train/a.png": "0 0.5 0.5 0.2 0.1"}, {**DATA, "kpt_shape": [17, 3]})
    with pytest.raises(ImageError, match="has 4 values after its class; expected 55, for a box and 17 keypoints"):
        source_of(tmp_path)["images/train/a.png"]


def test_classes_in_a_list_beside_the_texts_or_above(tmp_path: Path) -> None:
    line = "1 0.5 0.5 0.2 0.1"
    make(tmp_path / "a", {"images/a.png": line})
    (tmp_path / "a/labels/classes.txt").write_text("cat\r\ndog\r\n")
    assert objects_of(source_of(tmp_path / "a"), "images/a.png")[0].category == "dog"
    make(tmp_path / "b", {"obj_train_data/a.png": line, "obj_train_data/b.png": ""})
    (tmp_path / "b/obj.names").write_text("cat\ndog\n")
    (tmp_path / "b/obj.data").write_text("classes = 2\nnames = data/obj.names\n")
    source = source_of(tmp_path / "b")
    assert source.files == {"obj.names", "obj_train_data/a.txt", "obj_train_data/b.txt"}
    assert objects_of(source, "obj_train_data/a.png")[0].category == "dog"


def test_classes_without_any_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, {"a.png": "2 0.5 0.5 0.2 0.1", "b.png": "0 0.5 0.5 0.2 0.1"})
    source = source_of(tmp_path)
    assert objects_of(source, "a.png")[0].category == "2"
    assert source.info is not None
    assert [each.name for each in source.info.categories] == ["0", "1", "2"]
    assert "no data.yaml, classes.txt or obj.names" in caplog.text


@pytest.mark.parametrize("text", ["a cat on a mat", "12", "0 0.5 0.5", "1 2 3 4 5", "", "x=1, y=2"])
def test_notes_beside_images_are_no_labels(tmp_path: Path, text: str) -> None:
    make(tmp_path, {"a.png": text, "b.png": text})
    assert sources_of(tmp_path) == []


def test_notes_beside_images_of_a_data_set_are_no_labels(tmp_path: Path) -> None:
    make(tmp_path, {"images/train/a.png": "0 0.5 0.5 0.2 0.1", "images/val/b.png": None}, DATA)
    (tmp_path / "images/val/b.txt").write_text("a cat on a mat")
    source = source_of(tmp_path)
    assert list(source) == ["images/train/a.png"]
    assert "images/val/b.txt" not in source.files


def test_keypoints_without_a_data_file_are_asked_for(tmp_path: Path) -> None:
    make(tmp_path, {"a.png": "0 0.5 0.5 0.2 0.1"} | {f"{n}.png": "0 0.5 0.5 0.2 0.1" for n in range(10)})
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.1 0.1 0.2 1")
    with pytest.raises(ImageError, match=r"an odd number; write a data.yaml, with kpt_shape if these are keypoints"):
        source_of(tmp_path)["a.png"]


def test_texts_without_image_are_named(tmp_path: Path) -> None:
    make(tmp_path, {"images/train/a.png": "0 0.5 0.5 0.2 0.1"}, DATA)
    (tmp_path / "labels/train/gone.txt").write_text("1 0.5 0.5 0.2 0.1")
    assert list(source_of(tmp_path)) == ["images/train/a.png", "labels/train/gone.txt"]


def test_parts_with_other_classes_are_sources_of_their_own(tmp_path: Path) -> None:
    for part, names in (("one", ["cat"]), ("two", ["dog"])):
        make(tmp_path / part, {"train/images/a.png": "0 0.5 0.5 0.2 0.1"}, {"train": "../train/images", "names": names})
    first, second = sources_of(tmp_path)
    assert objects_of(first, "one/train/images/a.png")[0].category == "cat"
    assert objects_of(second, "two/train/images/a.png")[0].category == "dog"


def test_a_source_travels_to_other_processes(tmp_path: Path) -> None:
    make(tmp_path, {"images/train/a.png": "0 0.5 0.5 0.2 0.1", "images/val/b.png": ""}, DATA)
    part = pickle.loads(pickle.dumps(source_of(tmp_path).only(["images/train/a.png"], ["objects"])))
    assert list(part) == ["images/train/a.png"]
    assert objects_of(part, "images/train/a.png")[0].box == pytest.approx((20, 13.5, 10, 3))


def test_a_jpeg_is_measured_upright(tmp_path: Path) -> None:
    make(tmp_path, {"images/train/b.png": ""}, DATA)
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Pillow.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "images/train/a.jpg", exif=exif)
    (tmp_path / "labels/train/a.txt").write_text("0 0.5 0.5 1 1")
    assert objects_of(source_of(tmp_path), "images/train/a.jpg")[0].box == (0, 0, HEIGHT, WIDTH)


# --- writing -------------------------------------------------------------------------------------------------------

LINES = {
    "boxes": "0 0.123456789 0.50 .25 1e-1\n1 0.5 0.5 1 1\n",
    "confidences": "0 0.123456 0.5 0.25 0.1 0.87654321\n",
    "outlines": "0 0.1 0.2 0.3 0.2 0.333333 0.6\n1 0.1 0.1 0.4 0.1 0.4 0.5 0.1 0.5\n",
    "mixed": "0 0.1 0.2 0.3 0.2 0.333333 0.6\n1 0.5 0.5 0.25 0.25\n",
}


@pytest.mark.parametrize("kind", LINES)
def test_a_data_set_is_written_again_with_the_same_text(tmp_path: Path, kind: str) -> None:
    make(tmp_path / "in", {"images/train/a.png": LINES[kind], "images/val/b.png": ""}, DATA)
    written = rewritten(source_of(tmp_path / "in"), tmp_path / "out")
    assert sorted(written) == ["data.yaml", "labels/train/a.txt", "labels/val/b.txt"]
    for name in ("labels/train/a.txt", "labels/val/b.txt"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "in" / name).read_bytes()
    data = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert data == {"train": "images/train", "val": "images/val", "nc": 2, "names": {0: "cat", 1: "no"}, "more": [1]}


def test_a_resize_keeps_the_text_and_a_crop_computes_it(tmp_path: Path) -> None:
    text = "0 0.55 0.5 0.25 0.3\n1 0.1 0.1 0.1 0.1\n"
    make(tmp_path / "in", {"images/train/a.png": text, "images/val/b.png": ""}, DATA)
    resized = Change((HEIGHT, WIDTH), (0, 0), (HEIGHT, WIDTH), (47, 61))
    rewritten(source_of(tmp_path / "in"), tmp_path / "resized", resized)
    assert (tmp_path / "resized/labels/train/a.txt").read_text() == text
    # The crop keeps rows 5 to 25 and columns 10 to 40, and so the first object alone.
    cropped = Change((HEIGHT, WIDTH), (5, 10), (20, 30), (40, 90))
    rewritten(source_of(tmp_path / "in"), tmp_path / "cropped", cropped)
    (line,) = (tmp_path / "cropped/labels/train/a.txt").read_text().splitlines()
    left, right = ((0.55 + sign * 0.125) * WIDTH - 10 for sign in (-1, 1))
    top, bottom = ((0.5 + sign * 0.15) * HEIGHT - 5 for sign in (-1, 1))
    expected = [(left + right) / 2 / 30, (top + bottom) / 2 / 20, (right - left) / 30, (bottom - top) / 20]
    assert [float(text) for text in line.split()[1:]] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("values", [2, 3])
def test_keypoints_are_written_again_with_the_same_text(tmp_path: Path, values: int) -> None:
    middle = "0.25 0.1 2 0 0 0 0.3 0.3 1" if values == 3 else "0.25 0.1 0 0 0.3 0.3"
    text = f"0 0.5 0.5 0.2 0.4 {middle}\n"
    data = {**DATA, "kpt_shape": [3, values], "flip_idx": [0, 2, 1]}
    make(tmp_path / "in", {"images/train/a.png": text, "images/val/b.png": ""}, data)
    change = Change((HEIGHT, WIDTH), (0, 0), (HEIGHT, WIDTH), (90, 100))
    rewritten(source_of(tmp_path / "in"), tmp_path / "out", change)
    assert (tmp_path / "out/labels/train/a.txt").read_text() == text
    written = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert (written["kpt_shape"], written["flip_idx"]) == ([3, values], [0, 2, 1])
    # A crop of which the box is left, but not the last keypoint.
    crop = Change((HEIGHT, WIDTH), (0, 0), (HEIGHT, 15), (HEIGHT, 15))
    rewritten(source_of(tmp_path / "in"), tmp_path / "cropped", crop)
    assert (tmp_path / "cropped/labels/train/a.txt").read_text() == ""  # the box begins at 20
    crop = Change((HEIGHT, WIDTH), (0, 13), (HEIGHT, 37), (HEIGHT, 37))
    rewritten(source_of(tmp_path / "in"), tmp_path / "right", crop)
    numbers = [float(text) for text in (tmp_path / "right/labels/train/a.txt").read_text().split()]
    assert numbers[1:5] == pytest.approx([(25 - 13) / 37, 0.5, 10 / 37, 0.4], rel=1e-6)
    assert numbers[5 : 5 + values] == [0] * values  # at column 12, which is cut off
    assert numbers[-values:][:2] == pytest.approx([(15 - 13) / 37, 0.3], rel=1e-6)


def coco_like(*objects: ObjectLabel, name: str = "images/a.png", known: bool = True) -> LabelledImage:
    return LabelledImage(name, (HEIGHT, WIDTH), {"objects": ImageAnnotations(objects)} if known else {})


INFO = AnnotationInfo("coco", (Category(3, "dog"), Category(1, "cat"), Category(90, "unseen")))


def pictures(root: Path, images: list[LabelledImage]) -> None:
    for image in images:
        write_image(root / image.name, np.zeros((HEIGHT, WIDTH), np.uint8))


def test_boxes_of_coco_as_ultralytics_reads_them(tmp_path: Path) -> None:
    images = [
        coco_like(ObjectLabel("1", "cat", (5, 6, 10, 15)), ObjectLabel("2", "dog", (0, 0, 50, 30))),
        coco_like(name="images/b.png"),
        coco_like(name="images/c.png", known=False),
    ]
    pictures(tmp_path, images)
    written = yolo_writer.write(tmp_path, images, INFO)
    assert sorted(written) == ["data.yaml", "labels/a.txt", "labels/b.txt"]
    assert (tmp_path / "labels/b.txt").read_text() == ""
    found = ultralytics(tmp_path)["train"]
    assert [each["class"] for each in found["images/a.png"]] == ["cat", "dog"]
    assert found["images/a.png"][0]["box"] == pytest.approx([10 / 50, 13.5 / 30, 10 / 50, 15 / 30], rel=1e-9)
    assert found["images/a.png"][1]["box"] == [0.5, 0.5, 1, 1]
    data = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert data["names"] == {0: "dog", 1: "cat", 2: "unseen"}


def test_outlines_of_coco_and_what_yolo_cannot_hold(tmp_path: Path) -> None:
    triangle = (5.0, 6.0, 20.0, 6.0, 5.0, 25.0)
    square = (0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0, 0.0)
    parts = ObjectLabel("2", "dog", (0, 0, 20, 25), polygons=(triangle, square))
    mask = ObjectLabel("3", "cat", (10, 3, 5, 6), mask={"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]})
    images = [coco_like(ObjectLabel("1", "cat", (5, 6, 15, 19), polygons=(triangle,)), parts, mask)]
    images.append(coco_like(ObjectLabel("4", "dog", (10, 3, 5, 6)), name="images/b.png"))
    pictures(tmp_path, images)
    said: list[tuple[str, str]] = []
    yolo_writer.write(tmp_path, images, INFO, lambda reason, name: said.append((reason, name)))
    assert said == [
        ("outlines of several parts, or with holes, are joined to one by lines without width", "images/a.png")
    ]
    found = ultralytics(tmp_path)["train"]
    outline, joined, everything = (each["segment"] for each in found["images/a.png"])
    assert outline == pytest.approx([5 / 50, 6 / 30, 20 / 50, 6 / 30, 5 / 50, 25 / 30])
    # From the triangle's first corner to the square's last one, around it, and back.
    path = [5, 6, 3, 3, 0, 3, 0, 0, 3, 0, 3, 3, 5, 6, 20, 6, 5, 25]
    assert joined == pytest.approx([value / (50, 30)[number % 2] for number, value in enumerate(path)])
    assert sorted(zip(everything[::2], everything[1::2], strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert found["images/b.png"][0]["segment"] == pytest.approx([0.2, 0.1, 0.3, 0.1, 0.3, 0.3, 0.2, 0.3])


def test_keypoints_of_coco_and_back(tmp_path: Path) -> None:
    info = AnnotationInfo("coco", (Category(1, "person", ("nose", "eye", "ear")), Category(2, "cat")))
    person = ObjectLabel("1", "person", (5, 6, 10, 15), keypoints=(7, 8, 2, 0, 0, 0, 10, 12, 1))
    images = [coco_like(person, ObjectLabel("2", "cat", (1, 2, 3, 4)))]
    pictures(tmp_path, images)
    yolo_writer.write(tmp_path, images, info)
    first, second = ultralytics(tmp_path)["train"]["images/a.png"]
    assert first["keypoints"] == [
        pytest.approx([7.5 / 50, 8.5 / 30, 2]),
        [0, 0, 0],
        pytest.approx([10.5 / 50, 12.5 / 30, 1]),
    ]
    assert second["keypoints"] == [[0, 0, 0]] * 3
    back, _ = objects_of(source_of(tmp_path), "images/a.png")
    assert back.keypoints == pytest.approx(person.keypoints, abs=1e-6)
    assert back.box == pytest.approx(person.box, abs=1e-6)


def test_parts_by_the_names_of_folders(tmp_path: Path) -> None:
    names = [yolo_writer.image_name(f"{part}/x.png") for part in ("train", "val", "test")]
    assert names == ["images/train/x.png", "images/val/x.png", "images/test/x.png"]
    assert yolo_writer.image_name("valid/images/x.png") == "valid/images/x.png"
    images = [coco_like(ObjectLabel("1", "cat", (5, 6, 10, 15)), name=name) for name in names]
    pictures(tmp_path, images)
    yolo_writer.write(tmp_path, images, INFO)
    found = ultralytics(tmp_path)
    assert {part: [*images] for part, images in found.items()} == {
        part: [f"images/{part}/x.png"] for part in ("train", "val", "test")
    }


def test_lists_of_classes_are_written_again(tmp_path: Path) -> None:
    make(tmp_path / "in", {"images/a.png": "1 0.5 0.5 0.2 0.1\n"})
    (tmp_path / "in/labels/classes.txt").write_text("cat\ndog\n")
    written = rewritten(source_of(tmp_path / "in"), tmp_path / "out")
    assert sorted(written) == ["data.yaml", "labels/a.txt", "labels/classes.txt"]
    assert (tmp_path / "out/labels/classes.txt").read_text() == "cat\ndog\n"
    assert (tmp_path / "out/labels/a.txt").read_text() == "1 0.5 0.5 0.2 0.1\n"


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images/a.png: object 1 has no class"):
        yolo_writer.write(tmp_path, [coco_like(ObjectLabel("1", "", (1, 2, 3, 4)))], INFO)
    images = [coco_like(name="images/a.png"), coco_like(name="images/a.jpg")]
    with pytest.raises(DataError, match=r"would share the label file labels/a.txt"):
        yolo_writer.write(tmp_path, images, INFO)


def test_objects_are_cut_out_and_every_other_byte_stays(tmp_path: Path) -> None:
    text = "0 0.5 0.5 0.2 0.1\r\n\r\n1 0.5 0.5 .2 0.1  \n0 0.1 0.1 0.1 0.1"
    make(tmp_path, {"images/train/a.png": text, "images/val/b.png": text}, DATA)
    source = source_of(tmp_path)
    assert isinstance(source, ObjectEditor)
    assert source.why_fixed() == ""
    edits = [edit for name, edit in source.without({"images/train/a.png": [0, 2]}) if name == "labels/train/a.txt"]
    write_edited(tmp_path / "labels/train/a.txt", tmp_path / "out.txt", edits)
    assert (tmp_path / "out.txt").read_bytes() == b"\r\n1 0.5 0.5 .2 0.1  \n"


def test_lists_of_images_follow_the_names_of_their_images(tmp_path: Path) -> None:
    line = "0 0.5 0.5 0.2 0.1\n"
    data = {"path": "../coco", "train": "train2017.txt", "val": "val2017.txt", "names": {0: "cat"}}
    names = ["images/train2017/a.png", "images/train2017/b.png", "images/val2017/c.png"]
    make(tmp_path / "in", {names[0]: line, names[1]: None, names[2]: ""}, data)
    (tmp_path / "in/train2017.txt").write_text(f"./{names[0]}\n./{names[1]}\n")
    (tmp_path / "in/val2017.txt").write_text(f"/data/coco/{names[2]}\n")
    source = source_of(tmp_path / "in")
    assert {"train2017.txt", "val2017.txt"} <= source.files
    assert source.info is not None
    (tmp_path / "out").mkdir()
    images = [LabelledImage(name, (HEIGHT, WIDTH), source[name] if name in set(source) else {}) for name in names]
    yolo_writer.write(tmp_path / "out", images, source.info)
    for name in ("train2017.txt", "val2017.txt"):
        assert (tmp_path / "out" / name).read_text() == (tmp_path / "in" / name).read_text()
    written = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert (written["train"], written["val"]) == ("train2017.txt", "val2017.txt")


def test_darknet_lists_follow_images_into_their_folder(tmp_path: Path) -> None:
    make(tmp_path / "in", {"obj_train_data/a.png": "0 0.5 0.5 0.2 0.1\n", "obj_train_data/b.png": None})
    (tmp_path / "in/obj.names").write_text("cat\n")
    (tmp_path / "in/obj.data").write_text("classes = 1\ntrain = data/train.txt\nnames = data/obj.names\n")
    (tmp_path / "in/train.txt").write_text("data/obj_train_data/a.png\ndata/obj_train_data/b.png\n")
    source = source_of(tmp_path / "in")
    (tmp_path / "out").mkdir()
    names = ["obj_train_data/a.png", "obj_train_data/b.png"]
    images = [
        LabelledImage(yolo_writer.image_name(name), (HEIGHT, WIDTH), source[name] if name in set(source) else {})
        for name in names
    ]
    yolo_writer.write(tmp_path / "out", images, source.info)
    expected = "data/images/obj_train_data/a.png\ndata/images/obj_train_data/b.png\n"
    assert (tmp_path / "out/train.txt").read_text() == expected


def test_parts_of_coco_by_the_year_of_their_folders(tmp_path: Path) -> None:
    names = [f"images/{part}2017/x.png" for part in ("train", "val")]
    images = [coco_like(ObjectLabel("1", "cat", (5, 6, 10, 15)), name=name) for name in names]
    pictures(tmp_path, images)
    yolo_writer.write(tmp_path, images, INFO)
    assert {part: [*found] for part, found in ultralytics(tmp_path).items()} == {"train": names[:1], "val": names[1:]}
