"""COCO that is written: equal to what was read, and as pycocotools reads it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from refiner.core.errors import DataError
from refiner.data.annotations.coco import writer as coco_writer
from refiner.data.annotations.positions.moves import move_annotations
from refiner.data.annotations.source import LabelledImage
from refiner.data.labels.coordinates import Change
from refiner.data.labels.objects import OBJECTS, AnnotationInfo, Category, ImageAnnotations, ObjectLabel
from refiner.data.labels.records import from_cells, to_cells
from tests.data.annotations.coco_files import (
    SIZE,
    blenderproc,
    box,
    by_id,
    dataset,
    image,
    labelled,
    listing,
    mask_of,
    open_only,
    save_image,
    save_json,
)


def through_cells(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """The images with labels that were written as text and read again, as in a table or a store."""
    return [each._replace(labels=from_cells(to_cells(each.labels), each.name)) for each in images]


def rewrite(root: Path, output: Path) -> list[str]:
    """Read the COCO files of a folder and write them into another one."""
    source = open_only(root)
    info = AnnotationInfo.from_json(source.info.to_json(), "info")
    output.mkdir()
    written = coco_writer.write(output, through_cells(labelled(source)), info)
    assert sorted(written) == listing(output)  # nothing else is left behind
    return written


def loaded(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_folder_of_blenderproc_comes_back_equal(tmp_path: Path) -> None:
    content = blenderproc(tmp_path / "in")
    assert rewrite(tmp_path / "in", tmp_path / "out") == ["coco_annotations.json"]
    assert by_id(loaded(tmp_path / "out/coco_annotations.json")) == by_id(content)


def test_several_files_come_back_under_their_names(tmp_path: Path) -> None:
    contents = {}
    for split in ("train", "val"):
        for number in range(2):
            save_image(tmp_path / f"in/{split}2017/{number:012}.png")
        entries = [image(n, f"{n:012}.png", flickr_url="http://example.org/x") for n in range(2)]
        contents[f"annotations/instances_{split}2017.json"] = dataset(
            entries, [box(1, 0), box(2, 1, 18, segmentation=[[1.5, 2, 3, 4, 5, 6.125]])], info={"split": split}
        )
        points = {"keypoints": [1, 2, 2, 0, 0, 0], "num_keypoints": 1}
        person = [{"id": 1, "name": "person", "keypoints": ["nose", "eye"], "skeleton": [[1, 2]]}]
        contents[f"annotations/person_keypoints_{split}2017.json"] = {
            "categories": person,
            "images": entries[:1],
            "annotations": [box(1, 0, **points)],
        }
        captions = {"id": 800, "image_id": 1, "caption": "Ein Hund 🐶"}
        contents[f"annotations/captions_{split}2017.json"] = {"images": entries, "annotations": [captions], "info": {}}
    for name, content in contents.items():
        save_json(tmp_path / "in" / name, content)
    assert sorted(rewrite(tmp_path / "in", tmp_path / "out")) == sorted(contents)
    for name, content in contents.items():
        assert by_id(loaded(tmp_path / "out" / name)) == by_id(content)


def test_odd_fields_and_ids_come_back_equal(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_image(tmp_path / "in" / name)
    annotations = [
        box(2**60, "k", 18.0, bbox=[1, 2.50, 3e-7, 4.0], score=0.1 + 0.2),
        box("x7", "k", "1", segmentation=[[1, 2, 3, 4, 5, 6]], width=3, height=9),
        box(-4, 9, segmentation=[], keypoints=[]),
        {"id": 5, "image_id": "9", "category_id": 99, "bbox": None},
        {"id": 6, "image_id": 9, "category_name": "cup", "segmentation": [[]], "attributes": {"a": [None, True]}},
    ]
    content = dataset(
        [image("k", "a.png", depth=None), image(9, "b.png")], annotations, licenses=None, info={"ü": "木"}
    )
    save_json(tmp_path / "in/x.json", content)
    rewrite(tmp_path / "in", tmp_path / "out")
    assert by_id(loaded(tmp_path / "out/x.json")) == by_id(content)


def test_an_image_that_is_listed_twice_is_listed_twice_again(tmp_path: Path) -> None:
    save_image(tmp_path / "in/a.png")
    content = dataset([image(1, "a.png"), image(2, "a.png")], [box(1, 1), box(2, 2)])
    save_json(tmp_path / "in/x.json", content)
    rewrite(tmp_path / "in", tmp_path / "out")
    assert by_id(loaded(tmp_path / "out/x.json")) == by_id(content)


def test_annotations_without_id_get_free_ones(tmp_path: Path) -> None:
    save_image(tmp_path / "in/a.png")
    unnamed = [{key: value for key, value in box(n, 1).items() if key != "id"} for n in (1, 2)]
    save_json(tmp_path / "in/x.json", dataset([image(1, "a.png")], [unnamed[0], box(7, 1), unnamed[1]]))
    rewrite(tmp_path / "in", tmp_path / "out")
    found = loaded(tmp_path / "out/x.json")["annotations"]
    assert found == [{**unnamed[0], "id": 8}, box(7, 1), {**unnamed[1], "id": 9}]


def test_sizes_are_always_written(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_image(tmp_path / "in" / name)
    entries = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png", "height": "48", "width": "64"}]
    save_json(tmp_path / "in/x.json", dataset(entries, [box(1, 1)]))
    rewrite(tmp_path / "in", tmp_path / "out")
    first, second = loaded(tmp_path / "out/x.json")["images"]
    assert first == {"id": 1, "file_name": "a.png", "height": 48, "width": 64}
    assert second == entries[1]


@pytest.mark.parametrize(
    ("file", "before", "name", "expected"),
    [
        ("x.json", "images/a.bmp", "images/a.png", "images/a.png"),
        ("train/_annotations.coco.json", "a.png", "train/a.png", "a.png"),
        ("train/_annotations.coco.json", "a.bmp", "train/a.png", "a.png"),
        ("annotations/x.json", "a.png", "val2017/a.png", "a.png"),
        ("annotations/x.json", "a.png", "val2017/a.tif.png", "a.tif.png"),
        ("x.json", "renders/a.png", "a.png", "a.png"),
        ("x.json", "images\\a.png", "images/a.png", "images\\a.png"),
        ("x.json", "/home/me/a.png", "images/a.png", "/home/me/a.png"),
        ("labels/x.json", "b.png", "labels/new/a.png", "a.png"),
    ],
)
def test_names_of_images_follow_their_files(tmp_path: Path, file: str, before: str, name: str, expected: str) -> None:
    annotations = ImageAnnotations((), {file: {"id": 3, "file_name": before}})
    info = AnnotationInfo("coco", (), {"files": {file: {"categories": []}}})
    coco_writer.write(tmp_path, [LabelledImage(name, (4, 6), {OBJECTS: annotations})], info)
    assert loaded(tmp_path / file)["images"] == [{"id": 3, "file_name": expected, "height": 4, "width": 6}]


def test_memory_is_given_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_writer, "_BUFFERED", 100)
    content = blenderproc(tmp_path / "in")
    rewrite(tmp_path / "in", tmp_path / "out")
    assert by_id(loaded(tmp_path / "out/coco_annotations.json")) == by_id(content)


# --- Other formats ---------------------------------------------------------------------------------------------------


def test_objects_of_another_format_get_every_field_of_coco(tmp_path: Path) -> None:
    mask = {"size": [4, 6], "counts": [5, 2, 2, 3, 12]}  # columns of 4: rows 1 and 2 of column 1, and 1 to 3 of 2
    objects = (
        ObjectLabel("0", "cup", box=(1, 2, 3, 1.5), extra={"truncated": True}),
        ObjectLabel("1", "dog", polygons=((1, 0, 5, 0, 5, 3, 1, 3),)),
        ObjectLabel("2", "cup", mask=mask),
        ObjectLabel("3", "new", keypoints=(1, 2, 2, 0, 0, 0, 4, 3, 1)),
        ObjectLabel("4", box=(0, 0, 2, 2)),
        ObjectLabel("5", "hidden"),
    )
    images = [
        LabelledImage("train/a.png", (4, 6), {OBJECTS: ImageAnnotations(objects)}),
        LabelledImage("b.png", (5, 7), {}),
    ]
    categories = [Category(0, "dog"), Category(1, "cup", (), {"supercategory": "thing"})]
    lost: list[tuple[str, str]] = []
    info = AnnotationInfo("yolo", categories)
    assert coco_writer.write(tmp_path, images, info, lambda *each: lost.append(each)) == ["annotations.json"]
    assert lost == [("objects without any place, such as hidden ones, are left out: COCO needs boxes", "train/a.png")]
    content = loaded(tmp_path / "annotations.json")
    assert content["images"] == [
        {"id": 1, "file_name": "train/a.png", "height": 4, "width": 6},
        {"id": 2, "file_name": "b.png", "height": 5, "width": 7},
    ]
    assert content["categories"] == [
        {"id": 1, "name": "dog"},
        {"supercategory": "thing", "id": 2, "name": "cup"},
        {"id": 3, "name": "new"},
        {"id": 4, "name": "object"},
    ]
    expected = [
        {"category_id": 2, "bbox": [1, 2, 3, 1.5], "area": 4.5, "segmentation": [], "truncated": True},
        {"category_id": 1, "bbox": [1, 0, 4, 3], "area": 12, "segmentation": [[1, 0, 5, 0, 5, 3, 1, 3]]},
        {"category_id": 2, "bbox": [1, 1, 2, 3], "area": 5, "segmentation": mask},
        {
            **{"category_id": 3, "bbox": [1.5, 2.5, 3, 1], "area": 3, "segmentation": []},
            **{"keypoints": [1, 2, 2, 0, 0, 0, 4, 3, 1], "num_keypoints": 2},
        },
        {"category_id": 4, "bbox": [0, 0, 2, 2], "area": 4, "segmentation": []},
    ]
    numbered = [{"id": n, "image_id": 1, "iscrowd": 0, **each} for n, each in enumerate(expected, 1)]
    assert content["annotations"] == numbered


def test_facts_of_other_formats_are_kept(tmp_path: Path) -> None:
    extra = {"iscrowd": 1, "area": 3.5, "id": 7, "category_id": 9, "pose": [1, 2], "yolo_line": "0 1"}
    annotations = ImageAnnotations((ObjectLabel("7", "cup", box=(1, 2, 3, 1.5), extra=extra),))
    coco_writer.write(tmp_path, [LabelledImage("a.png", (4, 6), {OBJECTS: annotations})], None)
    (found,) = loaded(tmp_path / "annotations.json")["annotations"]
    assert found == {
        **{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 1.5], "area": 3.5, "iscrowd": 1},
        **{"segmentation": [], "pose": [1, 2]},
    }


def test_no_labels_at_all_give_a_file_of_images(tmp_path: Path) -> None:
    assert coco_writer.write(tmp_path, [LabelledImage("a.png", (4, 6), {})], None) == ["annotations.json"]
    content = loaded(tmp_path / "annotations.json")
    assert content == {"categories": [], "images": [image(1, "a.png", (4, 6))], "annotations": []}


def test_objects_that_coco_cannot_hold_are_named(tmp_path: Path) -> None:
    damaged = ImageAnnotations((ObjectLabel("1", "cup", keypoints=(1, 2)),))
    with pytest.raises(DataError, match=r"a\.png: its objects cannot be written as COCO"):
        coco_writer.write(tmp_path, [LabelledImage("a.png", (4, 6), {OBJECTS: damaged})], None)
    assert listing(tmp_path) == []


# --- The reference tool ----------------------------------------------------------------------------------------------


def test_pycocotools_reads_what_is_written(tmp_path: Path) -> None:
    blenderproc(tmp_path / "in")
    rewrite(tmp_path / "in", tmp_path / "out")
    before, after = (COCO(tmp_path / folder / "coco_annotations.json") for folder in ("in", "out"))
    assert sorted(after.getAnnIds()) == sorted(before.getAnnIds()) == [1, 2, 3]
    assert after.loadCats(after.getCatIds()) == before.loadCats(before.getCatIds())
    for number in after.getAnnIds(imgIds=[2]):
        masks = [tool.annToMask(tool.anns[number]) for tool in (before, after)]
        np.testing.assert_array_equal(*masks)
        assert masks[0].any()


def test_pycocotools_draws_moved_masks_where_they_belong(tmp_path: Path) -> None:
    blenderproc(tmp_path / "in")
    source = open_only(tmp_path / "in")
    change = Change(SIZE, (4, 8), (40, 48), (20, 72))
    moved = []
    for each in labelled(source):
        annotations = move_annotations(each.labels[OBJECTS], change, each.name)
        moved.append(each._replace(size=change.result, labels={OBJECTS: annotations}))
    coco_writer.write(tmp_path, moved, source.info)
    tool = COCO(tmp_path / "coco_annotations.json")
    assert (tool.imgs[2]["height"], tool.imgs[2]["width"]) == (20, 72)
    for annotation in tool.loadAnns(tool.getAnnIds(imgIds=[2])):
        seed = annotation["idx"] - 1
        rows = 4 + (2 * np.arange(20) + 1) * 40 // 40
        columns = 8 + (2 * np.arange(72) + 1) * 48 // 144
        expected = mask_of(seed=seed)[np.ix_(rows, columns)]
        np.testing.assert_array_equal(tool.annToMask(annotation), expected)
        assert annotation["area"] == expected.sum()
        assert (annotation["height"], annotation["width"]) == (20, 72)
