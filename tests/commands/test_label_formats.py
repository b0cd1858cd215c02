"""YOLO and Hugging Face ImageFolders through the commands: convert, refine and inspect."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from refiner.commands import main
from refiner.images.io import read_image, write_image
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork

HEIGHT, WIDTH = 24, 40


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def convert(*arguments: object, status: int = 0) -> Result:
    result = run("convert", *arguments, "--workers", 1)
    assert result.exit_code == status, result.output
    return result


def pictures(root: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        ramp = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) + 20 * number
        write_image(root / name, np.stack([ramp, ramp * 2, ramp * 3], axis=2).astype(np.uint8))


def texts_of(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in sorted(root.rglob("*.txt"))}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    """Three images with boxes, without objects, and with one; a fourth is for validation."""
    root = tmp_path / "yolo"
    pictures(root, ["images/train/a.png", "images/train/b.png", "images/train/c.png", "images/val/d.png"])
    lines = {
        "train/a": "1 0.50 0.4 0.2 0.123456789\n0 0.25 0.75 0.5 0.5\n",
        "train/b": "",
        "train/c": "0 0.5 0.5 1 1\n",
    }
    for name, text in {**lines, "val/d": "1 0.1 0.2 0.2 0.4\n"}.items():
        (root / f"labels/{name}.txt").parent.mkdir(parents=True, exist_ok=True)
        (root / f"labels/{name}.txt").write_text(text)
    data = {"train": "images/train", "val": "images/val", "names": ["cat", "dog"], "author": "x"}
    (root / "data.yaml").write_text(yaml.safe_dump(data))
    return root


@pytest.fixture
def imagefolder(tmp_path: Path) -> Path:
    root = tmp_path / "imagefolder"
    pictures(root, ["train/a.png", "train/b.png", "test/c.png"])
    objects = {"bbox": [[1, 2, 10, 8], [4.5, 6, 7, 9]], "category": ["cat", "dog"], "area": [80, 63.0]}
    empty = {"bbox": [], "category": [], "area": []}
    rows = [
        {"file_name": "a.png", "objects": objects, "age": 5, "code": "5", "nose": [[1, 2], [3, 4]], "tags": ["x", "y"]},
        {"file_name": "b.png", "objects": empty, "age": None, "code": "[x]", "nose": [[0, 0], [9, 9]], "tags": []},
        {"file_name": "c.png", "objects": objects, "age": 0, "code": "", "nose": [[7, 2], [3, 1]], "tags": ["z"]},
    ]
    for part, kept in (("train", rows[:2]), ("test", rows[2:])):
        (root / part / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    return root


@pytest.fixture
def refiner_file(tmp_path: Path) -> Path:
    network = RefinerNetwork(RefinerArchitecture(features=4, blocks=1, output="residual", channels=3))
    save_refiner(tmp_path / "r", network, training={})
    return tmp_path / "r"


def test_yolo_through_a_folder_and_a_store_is_the_same_text(tmp_path: Path, yolo: Path) -> None:
    convert(yolo, tmp_path / "folder")
    convert(yolo, tmp_path / "s.h5")
    convert(tmp_path / "s.h5", tmp_path / "back")
    convert(yolo, tmp_path / "table", "--to", "folder")
    convert(tmp_path / "table", tmp_path / "from_table", "--to", "yolo")
    for out in ("folder", "back", "from_table"):
        assert texts_of(tmp_path / out) == texts_of(yolo)
        data = yaml.safe_load((tmp_path / out / "data.yaml").read_text())
        assert data["names"] == {0: "cat", 1: "dog"}
        assert (data["train"], data["val"], data["author"]) == ("images/train", "images/val", "x")
        assert np.array_equal(read_image(tmp_path / out / "images/val/d.png"), read_image(yolo / "images/val/d.png"))


def test_yolo_keeps_its_shares_under_a_resize_and_computes_them_under_a_crop(tmp_path: Path, yolo: Path) -> None:
    convert(yolo, tmp_path / "small", "--size", "11x17")
    assert texts_of(tmp_path / "small") == texts_of(yolo)
    assert read_image(tmp_path / "small/images/train/a.png").shape[:2] == (11, 17)
    # The crop keeps rows 4 to 20 and columns 5 to 35.
    convert(yolo, tmp_path / "cropped", "--crop", "16x30", "--size", "32x90")
    (line,) = texts_of(tmp_path / "cropped")["labels/train/c.txt"].splitlines()
    assert line == "0 0.5 0.5 1 1"
    first, second = texts_of(tmp_path / "cropped")["labels/train/a.txt"].splitlines()
    for text, (x, y, w, h) in ((first, (0.5, 0.4, 0.2, 0.123456789)), (second, (0.25, 0.75, 0.5, 0.5))):
        left, right = max((x - w / 2) * WIDTH, 5) - 5, min((x + w / 2) * WIDTH, 35) - 5
        top, bottom = max((y - h / 2) * HEIGHT, 4) - 4, min((y + h / 2) * HEIGHT, 20) - 4
        expected = [(left + right) / 60, (top + bottom) / 32, (right - left) / 30, (bottom - top) / 16]
        assert [float(number) for number in text.split()[1:]] == pytest.approx(expected, abs=1e-7)


def test_yolo_to_an_image_folder_and_back(tmp_path: Path, yolo: Path) -> None:
    convert(yolo, tmp_path / "hub", "--to", "imagefolder")
    rows = lines_of(tmp_path / "hub/images/train/metadata.jsonl")
    assert [row["file_name"] for row in rows] == ["a.png", "b.png", "c.png"]
    assert rows[0]["objects"]["category"] == ["dog", "cat"]
    assert rows[0]["objects"]["bbox"][1] == pytest.approx([0, 12, 20, 12])
    assert rows[1]["objects"]["bbox"] == []
    convert(tmp_path / "hub", tmp_path / "again", "--to", "yolo")
    before, after = texts_of(yolo), texts_of(tmp_path / "again")
    assert before.keys() == after.keys()
    names = yaml.safe_load((tmp_path / "again/data.yaml").read_text())["names"]
    for name, text in before.items():
        rows_before = [line.split() for line in text.splitlines()]
        rows_after = [line.split() for line in after[name].splitlines()]
        assert [["cat", "dog"][int(row[0])] for row in rows_before] == [names[int(row[0])] for row in rows_after]
        for first, second in zip(rows_before, rows_after, strict=True):
            assert [float(each) for each in first[1:]] == pytest.approx([float(each) for each in second[1:]], rel=1e-8)


def test_an_image_folder_through_a_store_is_equal(tmp_path: Path, imagefolder: Path) -> None:
    convert(imagefolder, tmp_path / "s.h5")
    convert(tmp_path / "s.h5", tmp_path / "back")
    convert(imagefolder, tmp_path / "folder")
    convert(imagefolder, tmp_path / "table", "--to", "folder")
    convert(tmp_path / "table", tmp_path / "from_table", "--to", "imagefolder")
    for out in ("back", "folder", "from_table"):
        for part in ("train", "test"):
            before, after = ((root / part / "metadata.jsonl").read_text() for root in (imagefolder, tmp_path / out))
            assert before == after


def test_points_and_boxes_of_an_image_folder_follow_a_resize(tmp_path: Path, imagefolder: Path) -> None:
    said = convert(imagefolder, tmp_path / "asked", "--size", "48x120", status=2)
    assert "tags" in said.output
    convert(imagefolder, tmp_path / "out", "--size", "48x120", "--keep", "tags", "--keep", "code")
    first, second = lines_of(tmp_path / "out/train/metadata.jsonl")
    assert first["objects"]["bbox"] == [[3, 4, 30, 16], [13.5, 12, 21, 18]]
    assert first["objects"]["area"] == [480, 378]
    assert first["nose"] == [[(x + 0.5) * 3 - 0.5, (y + 0.5) * 2 - 0.5] for x, y in ([1, 2], [3, 4])]
    assert (first["age"], first["code"], first["tags"]) == (5, "5", ["x", "y"])
    assert (second["age"], second["code"], second["tags"]) == (None, "[x]", [])


def test_an_image_folder_opens_in_the_library_after_a_conversion(
    tmp_path: Path, imagefolder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    convert(imagefolder, tmp_path / "out")
    both = [
        datasets.load_dataset("imagefolder", data_dir=str(root), cache_dir=str(tmp_path / "cache"))
        for root in (imagefolder, tmp_path / "out")
    ]
    assert both[0].keys() == both[1].keys() == {"train", "test"}
    for part in ("train", "test"):
        assert both[0][part].features == both[1][part].features
        for before, after in zip(both[0][part], both[1][part], strict=True):
            assert np.array_equal(np.asarray(before.pop("image")), np.asarray(after.pop("image")))
            assert before == after


def test_a_split_is_one_that_the_library_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    names = [f"{number}.png" for number in range(10)]
    pictures(tmp_path / "in", names)
    (tmp_path / "in/labels.csv").write_text("file,x\n" + "".join(f"{name},{name[0]}\n" for name in names))
    convert(tmp_path / "in", tmp_path / "out", "--to", "imagefolder", "--split", "train=0.7,test=0.3", "--by", "id")
    found = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {part: len(found[part]) for part in found} == {"train": 7, "test": 3}
    assert sorted([*found["train"]["x"], *found["test"]["x"]]) == list(range(10))


@pytest.mark.parametrize("kind", ["yolo", "imagefolder"])
def test_refine_copies_annotations_byte_for_byte(
    tmp_path: Path, refiner_file: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    source: Path = request.getfixturevalue(kind)
    (source / "notes.md").write_text("mine")
    result = run("refine", source, tmp_path / "out", "--refiner", refiner_file, "--device", "cpu")
    assert result.exit_code == 0, result.output
    others = [path for path in source.rglob("*") if path.is_file() and path.suffix != ".png"]
    assert len(others) > 2
    for path in others:
        assert (tmp_path / "out" / path.relative_to(source)).read_bytes() == path.read_bytes()


def test_a_faulty_label_file_rejects_its_image_and_names_both(tmp_path: Path, yolo: Path) -> None:
    (yolo / "labels/train/c.txt").write_text("0 0.5 0.5 0.1\n")
    convert(yolo, tmp_path / "out", status=4)
    rejected = (tmp_path / "out/rejected.csv").read_text()
    assert "images/train/c.png" in rejected
    assert "labels/train/c.txt: line 1 has 3 values after its class" in rejected
    assert set(texts_of(tmp_path / "out")) == {f"labels/{name}.txt" for name in ("train/a", "train/b", "val/d")}


def test_outlines_of_several_parts_are_joined_for_yolo_and_said(tmp_path: Path) -> None:
    pictures(tmp_path / "in", ["a.png"])
    square = [2, 2, 8, 2, 8, 8, 2, 8]
    both = {
        "id": 1,
        "image_id": 1,
        "category_id": 7,
        "bbox": [2, 2, 18, 6],
        "segmentation": [square, [12, 2, 20, 2, 20, 8]],
    }
    one = {"id": 2, "image_id": 1, "category_id": 7, "bbox": [2, 2, 6, 6], "segmentation": [square], "area": 36}
    image = {"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}
    coco = {"images": [image], "annotations": [both, one], "categories": [{"id": 7, "name": "cat"}]}
    (tmp_path / "in/annotations.json").write_text(json.dumps(coco))
    said = convert(tmp_path / "in", tmp_path / "out", "--to", "yolo", status=4)
    assert "1 image: outlines of several parts, or with holes, are joined to one" in said.output
    first, second = (tmp_path / "out/labels/a.txt").read_text().splitlines()
    x, y = np.array([float(text) for text in first.split()[1:]]).reshape(-1, 2).T * [[WIDTH], [HEIGHT]]
    assert abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 == pytest.approx(6 * 6 + 8 * 6 / 2)
    assert (x.min(), x.max(), y.min(), y.max()) == pytest.approx((2, 20, 2, 8))
    shares = [value / (WIDTH, HEIGHT)[number % 2] for number, value in enumerate(square)]
    assert [float(text) for text in second.split()[1:]] == pytest.approx(shares, rel=1e-9)


@pytest.mark.parametrize("kind", ["yolo", "imagefolder"])
def test_inspect_names_the_format(kind: str, request: pytest.FixtureRequest) -> None:
    source: Path = request.getfixturevalue(kind)
    result = run("inspect", source.rename(source.with_name("in")), "--json")
    assert result.exit_code == 0, result.output
    assert f'"label_formats": ["{kind}' in result.stdout
