"""Hugging Face ImageFolders: read as the Hub's library reads them, and written so that it opens them."""

import json
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refiner.core.errors import DataError, ImageError, UsageError
from refiner.data.annotations.imagefolder import reader as imagefolder
from refiner.data.annotations.imagefolder import writer as imagefolder_writer
from refiner.data.annotations.positions.moves import move_annotations
from refiner.data.annotations.source import LabelledImage
from refiner.data.labels.coordinates import Change, Declared
from refiner.data.labels.objects import AnnotationInfo, Category, ImageAnnotations, ObjectLabel
from refiner.data.labels.records import from_cells, to_cells
from refiner.images.io import write_image

ROWS: list[dict[str, Any]] = [
    {
        "file_name": "a.png",
        "age": 5,
        "code": "5",
        "score": 0.1234567890123456,
        "ok": True,
        "caption": "a [red] cat",
        "corner": [1, 2],
        "pair": [0.5, 1.5],
        "ragged": [[1, 2], [3]],
        "tags": ["x", "y"],
        "nested": {"b": [1, {"c": None}], "a": "1"},
        "mixed": "3",
        "big": 9007199254740993,
    },
    {
        "file_name": "b.png",
        "age": -7,
        "code": "007",
        "score": 1e-9,
        "ok": False,
        "caption": "[1, 2]",
        "corner": [3, 4],
        "pair": [2.0, 3.25],
        "ragged": [],
        "tags": [],
        "nested": {"b": [], "a": '"'},
        "mixed": 3,
        "big": 1,
    },
    {
        "file_name": "c.png",
        "age": None,
        "code": "",
        "score": 3.0,
        "ok": None,
        "caption": '"quoted", with a comma',
        "corner": None,
        "pair": None,
        "ragged": None,
        "tags": None,
        "nested": None,
        "mixed": [None],
        "big": None,
    },
]


def make(root: Path, names: list[str]) -> Path:
    """Images of 12 x 20 pixels."""
    for number, name in enumerate(names):
        write_image(root / name, np.full((12, 20, 3), number * 40, np.uint8))
    return root


def json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def source_of(root: Path) -> imagefolder.ImageFolderSource:
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    (source,) = imagefolder.find(root, files, [name for name in files if name.endswith((".png", ".jpg"))])
    return source


def rewritten(source: imagefolder.ImageFolderSource, out: Path, names: list[str]) -> list[str]:
    """Write what a source gives, after the labels and the facts have been text, as in a store."""
    out.mkdir(parents=True, exist_ok=True)
    images = [
        LabelledImage(name, (12, 20), from_cells(to_cells(source[name]), name) if name in source else {})
        for name in names
    ]
    assert source.info is not None
    return imagefolder_writer.write(out, images, AnnotationInfo.from_json(source.info.to_json(), "info"))


def identical(first: Any, second: Any) -> bool:
    """Equal in value and in type, at every level."""
    return json.dumps(first) == json.dumps(second)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``datasets.load_dataset("imagefolder", ...)`` without a network, with a cache of its own."""
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    return lambda root: datasets.load_dataset("imagefolder", data_dir=str(root), cache_dir=str(tmp_path / "cache"))


def test_every_json_value_survives_with_its_type(tmp_path: Path) -> None:
    make(tmp_path / "in", ["a.png", "b.png", "c.png"])
    json_lines(tmp_path / "in/metadata.jsonl", ROWS)
    source = source_of(tmp_path / "in")
    assert source["a.png"]["corner"].tolist() == [1, 2]
    assert source["a.png"]["age"] == "5"
    assert source["a.png"]["caption"] == "a [red] cat"
    assert rewritten(source, tmp_path / "out", ["a.png", "b.png", "c.png"]) == ["metadata.jsonl"]
    assert identical(read_lines(tmp_path / "out/metadata.jsonl"), ROWS)


def test_missing_keys_stay_missing(tmp_path: Path) -> None:
    rows = [{"file_name": "a.png", "x": 1}, {"file_name": "b.png", "y": "t"}]
    make(tmp_path / "in", ["a.png", "b.png"])
    json_lines(tmp_path / "in/metadata.jsonl", rows)
    rewritten(source_of(tmp_path / "in"), tmp_path / "out", ["a.png", "b.png"])
    assert identical(read_lines(tmp_path / "out/metadata.jsonl"), rows)


def test_csv_stays_the_same_table(tmp_path: Path) -> None:
    make(tmp_path / "in", ["a.png", "b.png"])
    text = 'file_name,text,n,code,point\na.png,"two, words",1.50,007,"[1, 2]"\nb.png,[odd],2,,"[3.5, 4]"\n'
    (tmp_path / "in/metadata.csv").write_text(text.replace("\n", "\r\n"))
    source = source_of(tmp_path / "in")
    assert source["a.png"]["point"].tolist() == [1, 2]
    assert source["a.png"]["n"] == "1.50"
    assert "code" not in source["b.png"]
    rewritten(source, tmp_path / "out", ["a.png", "b.png"])
    # 3.5 and 4 in one list become 3.5 and 4.0, the same numbers.
    assert (tmp_path / "out/metadata.csv").read_text() == text.replace("[3.5, 4]", "[3.5, 4.0]")


OBJECTS = [
    {"bbox": [[1, 2, 3, 4], [5.5, 6, 7, 5]], "categories": [0, 2], "id": [11, 12], "keypoints": [None, [1, 2, 2]]},
    {"bbox": [], "categories": [], "id": [], "keypoints": []},
    {"bbox": [[0, 0, 20, 12], []], "categories": [1, 1], "id": [13, 14], "keypoints": [[], [3, 4, 0]]},
]


def test_objects_as_the_hub_documents_them(tmp_path: Path) -> None:
    names = ["a.png", "b.png", "c.png"]
    make(tmp_path / "in", names)
    rows = [{"file_name": n, "objects": o, "image_id": i} for i, (n, o) in enumerate(zip(names, OBJECTS, strict=True))]
    json_lines(tmp_path / "in/metadata.jsonl", rows)
    source = source_of(tmp_path / "in")
    found = source["a.png"]["objects"]
    assert [each.box for each in found.objects] == [(1, 2, 3, 4), (5.5, 6, 7, 5)]
    assert [each.category for each in found.objects] == ["0", "2"]
    assert [each.id for each in found.objects] == ["11", "12"]
    assert source["b.png"]["objects"].objects == ()
    assert source.info is not None
    assert [(each.id, each.name) for each in source.info.categories] == [(0, "0"), (1, "1"), (2, "2")]
    rewritten(source, tmp_path / "out", names)
    assert identical(read_lines(tmp_path / "out/metadata.jsonl"), rows)


def test_objects_as_a_list_of_dictionaries(tmp_path: Path) -> None:
    make(tmp_path / "in", ["a.png", "b.png"])
    rows = [
        {
            "file_name": "a.png",
            "objects": [
                {"bbox": [1, 2, 3, 4], "category": "cat", "hard": True},
                {
                    "category": "dog",
                    "bbox": [1.0, 2, 3, 4],
                    "keypoints": [4, 5, 2],
                    "segmentation": [[0, 0, 5, 0, 5, 5]],
                },
            ],
        },
        {"file_name": "b.png", "objects": None},
    ]
    json_lines(tmp_path / "in/metadata.jsonl", rows)
    source = source_of(tmp_path / "in")
    dog = source["a.png"]["objects"].objects[1]
    assert (dog.category, dog.keypoints, dog.polygons) == ("dog", (4, 5, 2), ((0, 0, 5, 0, 5, 5),))
    assert "objects" not in source["b.png"]
    rewritten(source, tmp_path / "out", ["a.png", "b.png"])
    back = read_lines(tmp_path / "out/metadata.jsonl")
    assert back == rows


def test_objects_that_move_and_fields_that_may(tmp_path: Path) -> None:
    change = Change((12, 20), (0, 0), (12, 20), (24, 60))
    make(tmp_path / "in", ["a.png"])
    value = {"bbox": [[1, 2, 3, 4]], "category": ["cat"], "score": [0.5], "area": [12]}
    json_lines(tmp_path / "in/metadata.jsonl", [{"file_name": "a.png", "objects": value}])
    moved = move_annotations(source_of(tmp_path / "in")["a.png"]["objects"], change, "a.png")
    assert moved.objects[0].box == (3, 4, 9, 8)
    assert moved.objects[0].extra == {"score": 0.5, "area": 72}
    json_lines(tmp_path / "in/metadata.jsonl", [{"file_name": "a.png", "objects": {**value, "centre": [[2, 4]]}}])
    found = source_of(tmp_path / "in")["a.png"]["objects"]
    with pytest.raises(UsageError, match=r"label centre is a field of annotations such as .2, 4."):
        move_annotations(found, change, "a.png")
    moved = move_annotations(found, change, "a.png", Declared(points=("centre",)))
    assert moved.objects[0].extra["centre"] == [2.5 * 3 - 0.5, 4.5 * 2 - 0.5]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"bbox": [[1, 2, 3]], "category": ["cat"]}, r"line 2: objects.bbox holds .1, 2, 3.; expected"),
        ({"bbox": [[1, 2, 3, 4]], "category": ["cat", "dog"]}, "objects.category has another number of values"),
        ({"bbox": [[5, 5, -1, 2]], "category": ["cat"]}, "objects.bbox holds"),
        ("text", "objects is neither a dictionary of lists nor a list of dictionaries"),
    ],
)
def test_a_row_with_damaged_objects_concerns_its_image_alone(tmp_path: Path, value: Any, reason: str) -> None:
    make(tmp_path, ["a.png", "b.png"])
    good = {"bbox": [[1, 2, 3, 4]], "category": ["cat"]}
    json_lines(
        tmp_path / "metadata.jsonl", [{"file_name": n, "objects": v} for n, v in [("a.png", good), ("b.png", value)]]
    )
    source = source_of(tmp_path)
    assert len(source["a.png"]["objects"].objects) == 1
    with pytest.raises(ImageError, match=reason):
        source["b.png"]


def test_boxes_in_shares_are_no_boxes_in_pixels(tmp_path: Path) -> None:
    make(tmp_path / "in", ["a.png"])
    rows = [{"file_name": "a.png", "objects": {"bbox": [[0.1, 0.2, 0.3, 0.4]], "category": [1]}}]
    json_lines(tmp_path / "in/metadata.jsonl", rows)
    source = source_of(tmp_path / "in")
    assert source.problems == [
        "metadata.jsonl: objects has boxes in shares of the image size, not in pixels, so it is kept as text"
    ]
    assert isinstance(source["a.png"]["objects_column"], str)
    rewritten(source, tmp_path / "out", ["a.png"])
    assert identical(read_lines(tmp_path / "out/metadata.jsonl"), rows)


@pytest.mark.parametrize(
    ("boxes", "is_read"),
    [
        ([[5, 4, 18, 7], [2, 3, 9, 8]], False),  # 5 + 18 is beyond the width of 20, while a right edge of 18 is not
        ([[5, 4, 9, 6], [2, 3, 9, 4]], True),  # fits as x, y, width, height
        ([[5, 4, 18, 7], [8, 3, 4, 5]], True),  # no second corner lies left of the first
        ([[5, 4, 30, 7]], True),  # beyond the image in both ways
    ],
)
def test_boxes_of_two_corners_are_no_sizes(tmp_path: Path, boxes: list[list[int]], is_read: bool) -> None:
    make(tmp_path, ["a.png"])  # 12x20
    objects = {"bbox": boxes, "category": [1] * len(boxes)}
    json_lines(tmp_path / "metadata.jsonl", [{"file_name": "a.png", "objects": objects}])
    source = source_of(tmp_path)
    assert any("two corners" in problem for problem in source.problems) is not is_read


def test_several_files_at_different_depths(tmp_path: Path) -> None:
    names = ["a.png", "deep/b.png", "deep/er/c.png"]
    make(tmp_path / "in", names)
    json_lines(tmp_path / "in/metadata.jsonl", [{"file_name": "a.png", "n": 1}, {"file_name": "gone.png", "n": 9}])
    json_lines(
        tmp_path / "in/deep/metadata.jsonl", [{"file_name": "./b.png", "n": 2}, {"file_name": "er\\c.png", "n": 3}]
    )
    source = source_of(tmp_path / "in")
    assert [source[name]["n"] for name in names] == ["1", "2", "3"]
    assert set(source) == {*names, "gone.png"}
    assert sorted(rewritten(source, tmp_path / "out", names)) == ["deep/metadata.jsonl", "metadata.jsonl"]
    assert read_lines(tmp_path / "out/deep/metadata.jsonl") == [
        {"file_name": "b.png", "n": 2},
        {"file_name": "er/c.png", "n": 3},
    ]


def test_faulty_rows_are_named(tmp_path: Path) -> None:
    make(tmp_path, ["a.png", "b.png", "c.png"])
    lines = [
        b'{"file_name": "a.png", "x": 1}',
        b"{not json}",
        b"[1]",
        b'{"x": 1}',
        b'{"file_name": "../b.png", "x": 1}',
        b'{"file_name": "/b.png"}',
        b'{"file_name": "b.png", "x": 1}',
        b'{"file_name": "b.png", "x": 2}',
        b'{"file_name": "c.png", "x": NaN}',
        b'{"file_name": "c.png", "x": "\xff"}',
    ]
    (tmp_path / "metadata.jsonl").write_bytes(b"\n".join(lines))
    source = source_of(tmp_path)
    starts = ["line 2 is not JSON", "line 3 is not a JSON object", "line 4 has no file_name", "line 5 has no file_name"]
    starts += ["line 6 has no file_name", "line 8 is a second row of b.png, beside line 7", "line 9 holds NaN"]
    starts += ["line 10 is not UTF-8"]
    assert len(source.problems) == len(starts)
    for problem, start in zip(source.problems, starts, strict=True):
        assert problem.startswith(f"metadata.jsonl: {start}")
    with pytest.raises(ImageError, match="second row"):
        source["b.png"]
    assert source["a.png"] == {"x": "1"}


def test_other_files_of_these_names_are_left_alone(tmp_path: Path) -> None:
    make(tmp_path, ["a.png"])
    (tmp_path / "metadata.csv").write_text("camera,lens\nx,y\n")
    (tmp_path / "metadata.jsonl").write_text('{"tool": "blender"}\n')
    assert imagefolder.find(tmp_path, ["a.png", "metadata.csv", "metadata.jsonl"], ["a.png"]) == []


def test_a_source_travels_to_other_processes(tmp_path: Path) -> None:
    make(tmp_path, ["a.png", "b.png"])
    json_lines(tmp_path / "metadata.jsonl", [{"file_name": n, "x": 1, "gaze": [0.1, 0.2]} for n in ("a.png", "b.png")])
    part = pickle.loads(pickle.dumps(source_of(tmp_path).only(["b.png"], ["gaze"])))
    assert list(part) == ["b.png"]
    assert list(part["b.png"]) == ["gaze"]
    assert part["b.png"]["gaze"].tolist() == [0.1, 0.2]


def test_gaze_in_degrees_is_refused_as_in_a_label_table(tmp_path: Path) -> None:
    make(tmp_path, ["a.png"])
    json_lines(tmp_path / "metadata.jsonl", [{"file_name": "a.png", "gaze_pitch_rad": 10, "gaze_yaw_rad": 0.1}])
    with pytest.raises(DataError, match="not in radians"):
        source_of(tmp_path)["a.png"]


def test_label_images_and_further_images_of_a_row(tmp_path: Path) -> None:
    names = ["a.jpg", "other/a.jpg", "masks/a.png"]
    make(tmp_path / "in", names)
    row = {"file_name": "a.jpg", "mask_file_name": "masks/a.png", "right_file_name": "other/a.jpg", "x": 1}
    json_lines(tmp_path / "in/metadata.jsonl", [row])
    source = source_of(tmp_path / "in")
    assert source.label_images == {"masks/a.png": "a.jpg"}
    assert source["other/a.jpg"] == {}
    out = tmp_path / "out"
    out.mkdir()
    images = [LabelledImage(f"{name[:-4]}.png", (12, 20), source[name]) for name in names[:2]]
    imagefolder_writer.write(out, images, source.info)
    assert read_lines(out / "metadata.jsonl") == [
        {"file_name": "a.png", "mask_file_name": "masks/a.png", "right_file_name": "other/a.png", "x": 1}
    ]


# --- judged by the Hub's own library -------------------------------------------------------------------------------


def rows_of(dataset: Any) -> list[dict[str, Any]]:
    """The rows of a split without its pictures, and the colour of each picture."""
    return [
        {**{k: v for k, v in row.items() if k != "image"}, "level": np.asarray(row["image"])[0, 0, 0]}
        for row in dataset
    ]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_the_library_reads_the_same_before_and_after(tmp_path: Path, load: Any, suffix: str) -> None:
    names = ["train/a.png", "train/in/b.png", "test/c.png", "test/d.png"]
    make(tmp_path / "in", names)
    rows = [
        {
            "file_name": "a.png",
            "age": 5,
            "code": "x5",
            "score": 0.1,
            "pair": [1, 2],
            "nested": {"k": ["v"]},
            "ok": True,
        },
        {"file_name": "in/b.png", "age": 6, "code": "", "score": 2.0, "pair": [3, 4], "nested": {"k": []}, "ok": False},
        {"file_name": "c.png", "age": 7, "code": "c", "score": 3.5, "pair": [5, 6], "nested": {"k": ["w"]}, "ok": True},
        {"file_name": "d.png", "age": 8, "code": "d", "score": 1e9, "pair": [7, 8], "nested": {"k": ["x"]}, "ok": True},
    ]
    for folder, part in (("train", rows[:2]), ("test", rows[2:])):
        path = tmp_path / "in" / folder / f"metadata{suffix}"
        if suffix == ".jsonl":
            json_lines(path, part)
        elif suffix == ".csv":
            pandas = pytest.importorskip("pandas")
            pandas.DataFrame(part).to_csv(path, index=False)
        else:
            arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
            table = arrow.Table.from_pylist(part)
            ages = arrow.array([row["age"] for row in part], arrow.int16())
            days = arrow.array([f"2024-01-0{number + 1}" for number in range(len(part))]).cast(arrow.date32())
            table = table.set_column(table.column_names.index("age"), "age", ages).append_column("day", days)
            parquet.write_table(table, path)
    before = load(tmp_path / "in")
    rewritten(source_of(tmp_path / "in"), tmp_path / "out", names)
    make(tmp_path / "out", names)
    after = load(tmp_path / "out")
    assert set(before) == set(after) == {"train", "test"}
    for split in before:
        assert before[split].features == after[split].features
        assert rows_of(before[split]) == rows_of(after[split])


def test_metadata_at_the_top_move_to_the_splits_where_the_library_looks(tmp_path: Path, load: Any) -> None:
    names = ["train/a.png", "val/b.png"]
    make(tmp_path / "in", names)
    json_lines(tmp_path / "in/metadata.jsonl", [{"file_name": n, "x": i} for i, n in enumerate(names)])
    assert "x" not in load(tmp_path / "in")["train"].features  # the trap: metadata above train/ are ignored
    source = source_of(tmp_path / "in")
    assert sorted(rewritten(source, tmp_path / "out", names)) == ["train/metadata.jsonl", "val/metadata.jsonl"]
    make(tmp_path / "out", names)
    found = load(tmp_path / "out")
    assert {split: found[split]["x"][:] for split in found} == {"train": [0], "validation": [1]}


def test_names_that_look_like_splits_get_a_folder(tmp_path: Path, load: Any) -> None:
    names = [imagefolder_writer.image_name(name) for name in ("test-01.png", "test-02.png")]
    assert names == ["test/test-01.png", "test/test-02.png"]
    for name in ("contest.png", "train/test-01.png", "a/eval/3.png", "latest.png", "trainer.png"):
        assert imagefolder_writer.image_name(name) == name
    make(tmp_path, names)
    imagefolder_writer.write(tmp_path, [LabelledImage(n, (12, 20), {"x": "4"}) for n in names], None)
    assert load(tmp_path)["test"]["x"][:] == [4, 4]


def test_labels_of_other_formats_open_in_the_library(tmp_path: Path, load: Any) -> None:
    labels: list[dict[str, Any]] = [
        {
            "gaze": np.array([0.1, -0.2]),
            "pupil": np.array([3.0, 4.5]),
            "subject": "07",
            "mirrored": 1,
            "joints": np.array([[1.0, 2.0], [3.0, 4.0]]),
            "note": "x",
            "objects": ImageAnnotations(
                (
                    ObjectLabel("1", "cat", (1, 2, 3, 4), extra={"area": 12}),
                    ObjectLabel("2", "dog", (0.5, 1, 2, 2), keypoints=(1, 2, 2), polygons=((0, 0, 5, 0, 5, 5),)),
                )
            ),
        },
        {"gaze": np.array([0.3, 0.4]), "subject": "08", "mirrored": 0, "objects": ImageAnnotations()},
        {"subject": "09"},
    ]
    names = ["a.png", "b/c.png", "d.png"]
    make(tmp_path, names)
    info = AnnotationInfo("coco", (Category(1, "cat"), Category(2, "dog")))
    images = [LabelledImage(name, (12, 20), row) for name, row in zip(names, labels, strict=True)]
    assert imagefolder_writer.write(tmp_path, images, info) == ["metadata.jsonl"]
    first, second, third = load(tmp_path)["train"]
    assert first["gaze_pitch_rad"] == 0.1
    assert first["gaze_yaw_rad"] == -0.2
    assert first["pupil_x"] == 3
    assert [row["subject"] for row in (first, second, third)] == ["07", "08", "09"]
    assert (first["mirrored"], first["note"], first["joints"]) == (1, "x", [[1, 2], [3, 4]])
    assert first["objects"]["bbox"] == [[1, 2, 3, 4], [0.5, 1, 2, 2]]
    assert first["objects"]["category"] == ["cat", "dog"]
    assert first["objects"]["area"] == [12, None]
    assert first["objects"]["keypoints"] == [[], [1, 2, 2]]
    assert first["objects"]["segmentation"] == [[], [[0, 0, 5, 0, 5, 5]]]
    assert second["objects"]["bbox"] == []
    assert third["objects"] is None
    assert third["gaze_pitch_rad"] is None
    # And our own reader finds the same.
    source = source_of(tmp_path)
    assert source["a.png"]["gaze"].tolist() == [0.1, -0.2]
    assert source["a.png"]["subject"] == "07"
    assert [each.box for each in source["a.png"]["objects"].objects] == [(1, 2, 3, 4), (0.5, 1, 2, 2)]


def test_class_folders_without_metadata_stay_classes(tmp_path: Path, load: Any) -> None:
    names = ["cat/a.png", "dog/b.png"]
    make(tmp_path, names)
    assert imagefolder_writer.write(tmp_path, [LabelledImage(n, (12, 20), {}) for n in names], None) == []
    assert load(tmp_path)["train"].features["label"].names == ["cat", "dog"]


def test_parquet_without_pyarrow_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    make(tmp_path, ["a.png"])
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'simgan-refiner\[parquet\]' adds it"):
        source_of(tmp_path)


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    make(tmp_path, ["a.png"])
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(DataError, match=r"metadata.parquet cannot be read as a Parquet file"):
        source_of(tmp_path)


# --- any JSON ------------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=6) | st.sampled_from(
    ["[1]", "[", '"', '"a"', "5", "", "null", "true", " [1]", "{}", "1e5", "nan"]
)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
PAIRS = st.lists(st.integers(-9, 9), min_size=2, max_size=2)
COLUMNS = st.sampled_from([TEXTS, NUMBERS, st.booleans(), PAIRS, VALUES, LEAVES])
NAMES = st.sampled_from(["a", "c d", "x/y", "file", "subject", "label", "gaze_x", ""])


@st.composite
def tables(draw: st.DrawFn) -> list[dict[str, Any]]:
    columns = draw(st.dictionaries(NAMES, COLUMNS, min_size=1, max_size=4))
    return [
        {"file_name": f"{number}.png", **{name: draw(st.none() | values) for name, values in columns.items()}}
        for number in range(draw(st.integers(1, 4)))
    ]


def alike(value: Any, *, in_list: bool = False) -> Any:
    """Numbers in lists may become 0.0 from 0, where other numbers of the column have fractions."""
    if isinstance(value, list):
        return [alike(each, in_list=True) for each in value]
    if isinstance(value, dict):
        return {key: alike(each) for key, each in value.items()}
    is_number = in_list and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**15
    return float(value) if is_number else value


@given(tables())
@settings(max_examples=100, deadline=None)
def test_any_json_survives(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        json_lines(root / "metadata.jsonl", rows)
        names = [row["file_name"] for row in rows]
        (source,) = imagefolder.find(root, [*names, "metadata.jsonl"], names)
        rewritten(source, root / "out", names)
        lines = (root / "out/metadata.jsonl").read_bytes().split(b"\n")
        back = [json.loads(line) for line in lines if line]
        assert identical(alike(back), alike(rows))
