"""Reading of COCO files as real programs write them, and as they should not."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from pycocotools import mask as coco_mask

from refiner.core.errors import DataError, ImageError
from refiner.data.annotations.coco import writer as coco_writer
from refiner.data.labels.objects import OBJECTS, ImageAnnotations
from tests.data.annotations.coco_files import (
    SIZE,
    blenderproc,
    box,
    dataset,
    find,
    image,
    labelled,
    mask_of,
    open_only,
    save_image,
    save_json,
)


def objects(root: Path, name: str) -> ImageAnnotations:
    labels = open_only(root)[name]
    assert isinstance(labels[OBJECTS], ImageAnnotations)
    return labels[OBJECTS]


# --- Values ----------------------------------------------------------------------------------------------------------


def test_boxes_outlines_masks_and_keypoints_are_read_as_they_stand(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    compressed = coco_mask.encode(mask_of().copy(order="F"))
    text = {"size": list(compressed["size"]), "counts": compressed["counts"].decode()}
    annotations = [
        box(7, 3, segmentation=[[1, 2, 3.25, 4, 5, 6.5], [8, 9, 10, 11, 12, 13]], attributes={"occluded": False}),
        box(8, 3, 18, segmentation=text, iscrowd=1),
        {"id": 9, "image_id": 3, "category_id": 1, "keypoints": [5, 6, 2, 0, 0, 0, 7.5, 8, 1], "num_keypoints": 2},
        {"id": 10, "image_id": 3, "caption": "Zwei Tassen für Ömer."},
    ]
    save_json(tmp_path / "labels.json", dataset([image(3, "a.png", licence=4)], annotations))
    outlined, masked, points, caption = objects(tmp_path, "a.png").objects
    assert (outlined.id, outlined.category, outlined.file) == ("7", "cup", "labels.json")
    assert outlined.box == (8, 9, 3.5, 4)
    assert outlined.polygons == ((1, 2, 3.25, 4, 5, 6.5), (8, 9, 10, 11, 12, 13))
    assert outlined.mask is None
    assert outlined.extra == {"category_id": 1, "area": 14.0, "iscrowd": 0, "attributes": {"occluded": False}}
    assert (masked.category, masked.mask, masked.polygons) == ("dog", text, ())
    assert masked.extra["iscrowd"] == 1
    assert points.keypoints == (5, 6, 2, 0, 0, 0, 7.5, 8, 1)
    assert (points.box, points.extra["num_keypoints"]) == (None, 2)
    assert (caption.category, caption.extra) == ("", {"caption": "Zwei Tassen für Ömer."})
    assert objects(tmp_path, "a.png").entries == {"labels.json": image(3, "a.png", licence=4)}


def test_facts_about_the_data_set_and_its_classes(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    person = {"id": 1, "name": "person", "keypoints": ["nose", "eye"], "skeleton": [[1, 2]]}
    more = {"info": {"year": 2017}, "licences": [{"id": 0}], "extra": [1.5, None]}
    content = {"images": [image(1, "a.png")], "annotations": [], "categories": [person, {"id": 2, "name": 7}], **more}
    save_json(tmp_path / "labels.json", content)
    info = open_only(tmp_path).info
    assert info.format == "coco"
    assert [(each.id, each.name, each.keypoints) for each in info.categories] == [
        (1, "person", ("nose", "eye")),
        (2, "7", ()),
    ]
    assert info.categories[0].extra == {"skeleton": [[1, 2]]}
    assert info.header["files"]["labels.json"] == {"categories": content["categories"], **more}
    assert objects(tmp_path, "a.png").objects == ()


def test_classes_of_two_files_keep_apart(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    for name, classes in (("x.json", ["cat", "dog"]), ("y.json", ["dog", "cat", "cow"])):
        categories = [{"id": n, "name": each} for n, each in enumerate(classes, 1)]
        content = {"images": [image(1, "a.png")], "annotations": [box(1, 1, 1)], "categories": categories}
        save_json(tmp_path / name, content)
    first, second = objects(tmp_path, "a.png").objects
    assert (first.file, first.category, second.file, second.category) == ("x.json", "cat", "y.json", "dog")
    categories = open_only(tmp_path).info.categories
    assert len({each.id for each in categories}) == len(categories)
    assert {each.name for each in categories} == {"cat", "dog", "cow"}


def test_numbers_of_any_size_and_file_names_in_any_script(tmp_path: Path) -> None:
    save_image(tmp_path / "bäume/木 1.png")
    content = dataset([image(2**53 + 1, "bäume/木 1.png")], [box(2**70, 2**53 + 1, description="木" * 10)])
    save_json(tmp_path / "labels.json", content)
    (each,) = objects(tmp_path, "bäume/木 1.png").objects
    assert each.id == str(2**70)
    assert each.extra["description"] == "木" * 10


def test_a_file_larger_than_a_piece_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = blenderproc(tmp_path)
    whole = {name: dict(open_only(tmp_path))[name] for name in open_only(tmp_path)}
    for piece in (1, 7, 64, 1000):
        monkeypatch.setattr("refiner.data.annotations.json_scan.PIECE", piece)
        assert dict(open_only(tmp_path)) == whole
    assert sum(len(labels[OBJECTS].objects) for labels in whole.values()) == len(content["annotations"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("indent", [None, 3])
def test_spaces_and_marks_of_order(tmp_path: Path, encoding: str, indent: int | None) -> None:
    save_image(tmp_path / "a.png")
    text = json.dumps(dataset([image(1, "a.png")], [box(1, 1)]), indent=indent)
    (tmp_path / "labels.json").write_text(f" \r\n{text}\n\n" if encoding == "utf-8" else text, encoding=encoding)
    assert len(objects(tmp_path, "a.png").objects) == 1


# --- Places of files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "name", "path"),
    [
        ("coco_annotations.json", "images/0.png", "images/0.png"),  # BlenderProc
        ("train/_annotations.coco.json", "0_png.rf.1.png", "train/0_png.rf.1.png"),  # Roboflow
        ("annotations/instances_val2017.json", "0.png", "val2017/0.png"),  # COCO
        ("annotations/instances_val2017.json", "0.png", "images/val2017/0.png"),
        ("annotations/instances_default.json", "0.png", "images/default/0.png"),  # CVAT
        ("annotations/instances.json", "camera_0.png", "images/camera_0.png"),  # Unity's pysolotools
        ("result.json", "images\\8\\0.png", "images/8/0.png"),  # Label Studio on Windows
        ("result.json", "C:\\data\\out\\images\\0.png", "images/0.png"),
        ("labels/x.json", "../pictures/0.png", "pictures/0.png"),
        ("labels/x.json", "/home/me/out/images/0.png", "pictures/0.png"),
        ("labels.json", "https://example.org/data/0.png", "0.png"),
        ("labels.json", "./images//0.png", "images/0.png"),
        ("labels.json", "images/0.PNG", "images/0.png"),
        ("labels.json", "images/ba\u0308ume.png", "images/b\u00e4ume.png"),
        ("annotations/test.json", "training/rgb/0.png", "training/rgb/0.png"),  # mmpose
        ("labels.json", "renders/0.png", "0.png"),  # the folder of images itself was opened
    ],
)
def test_images_are_found(tmp_path: Path, file: str, name: str, path: str) -> None:
    save_image(tmp_path / path)
    save_json(tmp_path / file, dataset([image(1, name)], [box(1, 1)]))
    assert len(objects(tmp_path, path).objects) == 1


def test_the_address_of_an_image_names_it_if_nothing_else_does(tmp_path: Path) -> None:
    """LVIS names its images in this way; those of its val are in two folders."""
    addresses = [f"http://images.cocodataset.org/{folder}/7.jpg" for folder in ("val2017", "train2017")]
    for folder in ("val2017", "train2017"):
        save_image(tmp_path / folder / "7.jpg")
    images = [{"id": n, "coco_url": address, "height": 48, "width": 64} for n, address in enumerate(addresses)]
    save_json(tmp_path / "lvis_v1_val.json", dataset(images, [box(5, 1), box(6, 0)]))
    assert objects(tmp_path, "train2017/7.jpg").objects[0].id == "5"
    assert objects(tmp_path, "val2017/7.jpg").objects[0].id == "6"
    (file,) = coco_writer.write(tmp_path / "out", labelled(open_only(tmp_path)), open_only(tmp_path).info)
    written = json.loads((tmp_path / "out" / file).read_text())["images"]
    assert {each["id"]: each["file_name"] for each in written} == {0: "val2017/7.jpg", 1: "train2017/7.jpg"}
    assert all(each["coco_url"] == addresses[each["id"]] for each in written)


def test_each_split_has_its_own_file(tmp_path: Path) -> None:
    for split in ("train", "val"):
        save_image(tmp_path / f"{split}2017/0.png")
        content = dataset([image(1, "0.png")], [box(5 if split == "train" else 6, 1)])
        save_json(tmp_path / f"annotations/instances_{split}2017.json", content)
    assert [each.id for each in objects(tmp_path, "train2017/0.png").objects] == ["5"]
    assert [each.id for each in objects(tmp_path, "val2017/0.png").objects] == ["6"]


def test_masks_with_the_names_of_images_are_no_images(tmp_path: Path) -> None:
    for folder in ("rgb", "masks", "depth"):
        save_image(tmp_path / folder / "0.png")
    save_json(tmp_path / "labels.json", dataset([image(1, "0.png")], [box(1, 1)]))
    assert list(open_only(tmp_path)) == ["rgb/0.png"]


@pytest.mark.parametrize(
    ("file", "name", "path"),
    [
        ("annotations/instances_train2017.json", "0.png", "val2017/0.png"),  # the images of train are not here
        ("labels.json", "train/0.png", "val/0.png"),
        ("labels.json", "cameras/left/0.png", "right/0.png"),
        ("labels.json", "1.png", "0.png"),
        ("labels.json", "0.jpg", "0.png"),
        ("labels.json", "0.png", "masks/0.png"),
    ],
)
def test_other_images_are_not_taken(tmp_path: Path, file: str, name: str, path: str) -> None:
    save_image(tmp_path / path)
    save_image(tmp_path / "other.png")
    save_json(tmp_path / file, dataset([image(1, name)], [box(1, 1)]))
    source = open_only(tmp_path)
    assert path not in source
    assert "other.png" not in source
    (missing,) = source
    assert missing.endswith(name)


def test_the_folder_with_all_images_is_taken(tmp_path: Path) -> None:
    for number in range(3):
        save_image(tmp_path / f"frames/{number}.png")
    save_image(tmp_path / "thumbnails/0.png")
    save_json(tmp_path / "labels.json", dataset([image(n, f"{n}.png") for n in range(3)], [box(1, 0)]))
    assert sorted(open_only(tmp_path)) == ["frames/0.png", "frames/1.png", "frames/2.png"]


def test_a_name_of_two_images_is_refused(tmp_path: Path) -> None:
    for folder in ("left", "right"):
        save_image(tmp_path / folder / "0.png")
    save_json(tmp_path / "labels.json", dataset([image(1, "0.png")], [box(1, 1)]))
    with pytest.raises(DataError, match=r"names the image 0\.png, which can be left/0\.png or right/0\.png"):
        find(tmp_path)


def test_images_that_are_missing_are_named_where_the_others_are(tmp_path: Path) -> None:
    save_image(tmp_path / "images/0.png")
    content = dataset([image(0, "0.png"), image(1, "1.png"), image(2, "../../../etc/passwd.png")], [box(1, 1)])
    save_json(tmp_path / "annotations/x.json", content)
    names = set(open_only(tmp_path))
    assert {"images/0.png", "images/1.png"} < names
    assert not any(name.startswith(("..", "/")) for name in names)


def test_panoptic_segments_are_label_images(tmp_path: Path) -> None:
    segment = {"id": 3, "category_id": 1, "bbox": [0, 0, 2, 2], "area": 4, "iscrowd": 0}
    annotation = {"image_id": 7, "file_name": "0.png", "segments_info": [segment]}
    for folder in ("val2017", "annotations/panoptic_val2017"):
        save_image(tmp_path / folder / "0.png")
    save_json(tmp_path / "annotations/panoptic_val2017.json", dataset([image(7, "0.jpg")], [annotation]))
    source = open_only(tmp_path)
    assert source.label_images == {"annotations/panoptic_val2017/0.png": None}
    save_json(tmp_path / "annotations/panoptic_val2017.json", dataset([image(7, "0.png")], [annotation]))
    save_json(tmp_path / "annotations/instances_val2017.json", dataset([image(7, "0.png")], [box(1, 7)]))
    source = open_only(tmp_path)
    assert source.label_images == {"annotations/panoptic_val2017/0.png": "val2017/0.png"}
    assert source.files == {"annotations/instances_val2017.json"}
    assert list(source) == ["val2017/0.png"]
    assert source.problems == []
    assert source.oddities == [
        "annotations/panoptic_val2017.json holds the panoptic segments of 1 image, which are not read as objects"
    ]


# --- Faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"bbox": [1, 2, float("nan"), 4]}, r"annotation 1: its bbox is \[1, 2, nan, 4\]"),
        ({"bbox": [1, 2, -3, 4]}, "no negative size"),
        ({"bbox": [1, 2, 3]}, "its bbox is"),
        ({"bbox": ["1", "2", "3", "4"]}, "its bbox is"),
        ({"bbox": {"x": 1}}, "its bbox is"),
        ({"segmentation": [1, 2, 3, 4, 5, 6]}, "expected run lengths or a list of outlines"),
        ({"segmentation": [[1, 2, 3, 4, 5]]}, "has the outline"),
        ({"segmentation": [[1, 2, 3, 4, 5, None]]}, "has the outline"),
        ({"segmentation": "abc"}, "its segmentation is abc"),
        ({"segmentation": {"size": [48, 64], "counts": [5]}}, "add up to 5, not to 48x64 pixels"),
        ({"segmentation": {"size": [48, 64], "counts": "~~~"}}, "compressed counts of a mask are damaged"),
        ({"segmentation": {"size": [64, 48], "counts": [64 * 48]}}, "its mask is 64x48, but its image is 48x64"),
        ({"segmentation": {"counts": [5]}}, "size of a mask"),
        ({"keypoints": [1, 2]}, "its keypoints are"),
        ({"keypoints": [1, 2, float("inf")]}, "its keypoints are"),
    ],
)
def test_damaged_annotations_concern_their_image(tmp_path: Path, fields: dict[str, Any], reason: str) -> None:
    for name in ("a.png", "b.png"):
        save_image(tmp_path / name)
    annotations = [{**box(1, 1), **fields}, box(2, 2)]
    save_json(tmp_path / "x.json", dataset([image(1, "a.png"), image(2, "b.png")], annotations))
    with pytest.raises(ImageError, match=reason) as caught:
        objects(tmp_path, "a.png")
    assert "x.json" in caught.value.reason
    assert len(objects(tmp_path, "b.png").objects) == 1


def test_a_wrong_size_is_refused(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    save_image(tmp_path / "b.png")
    entries = [image(1, "a.png", (64, 48)), {"id": 2, "file_name": "b.png", "height": "48", "width": 64.0}]
    save_json(tmp_path / "x.json", dataset(entries, [box(1, 1), box(2, 2)]))
    with pytest.raises(ImageError, match=r"is 48x64, but x\.json says that it is 64x48"):
        objects(tmp_path, "a.png")
    assert len(objects(tmp_path, "b.png").objects) == 1


@pytest.mark.parametrize("empty", [{"bbox": []}, {"segmentation": [[]]}, {"keypoints": None}, {"segmentation": None}])
def test_empty_fields_are_kept(tmp_path: Path, empty: dict[str, Any]) -> None:
    save_image(tmp_path / "a.png")
    save_json(tmp_path / "x.json", dataset([image(1, "a.png")], [{"id": 1, "image_id": 1, "category_id": 1, **empty}]))
    (each,) = objects(tmp_path, "a.png").objects
    assert (each.box, each.polygons, each.mask, each.keypoints) == (None, (), None, ())
    assert each.extra == {"category_id": 1, **empty}


def test_ids_as_text_and_as_numbers_mean_the_same(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    save_json(tmp_path / "x.json", dataset([image("1", "a.png")], [box("k", 1, "18"), box(2, "1", 1.0)]))
    first, second = objects(tmp_path, "a.png").objects
    assert (first.id, first.category, first.extra["id"], first.extra["image_id"]) == ("k", "dog", "k", 1)
    assert (second.id, second.category) == ("2", "cup")
    assert open_only(tmp_path).problems == open_only(tmp_path).oddities == []


def test_faults_of_the_file_are_told(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    categories = [{"id": 1, "name": "cup"}, {"id": 7, "name": "cup"}]
    no_id = {key: value for key, value in box(9, 1).items() if key != "id"}
    no_class = {key: value for key, value in box(10, 1).items() if key != "category_id"}
    annotations = [box(1, 1), box(1, 1), box(2, 99), box(3, 98), box(4, 1, 5), no_id, no_class, "text"]
    images = [image(1, "a.png"), {"id": 2, "height": 48}, None]
    save_json(tmp_path / "x.json", {"images": images, "annotations": annotations, "categories": categories})
    source = open_only(tmp_path)
    assert source.problems == [
        "x.json has 2 annotations of no image that it lists, without use, such as image 99",
        "x.json has 1 image without file_name, which is not used",
        "x.json has 1 image that is no JSON object, which is not used",
        "x.json has 1 annotation that is no JSON object, which is not used",
    ]
    assert source.oddities == [
        "x.json has 1 annotation of a class that it does not list, such as class 5",
        "x.json has 1 annotation without category_id",
        "x.json has 2 annotations with the id of another one, such as id 1",
        "x.json has 1 annotation without id",
        "x.json has 2 classes of the name cup, with the ids 1, 7",
    ]
    ids = [each.id for each in objects(tmp_path, "a.png").objects]
    assert ids == ["1", "1", "4", "#4", "10"]
    assert objects(tmp_path, "a.png").objects[2].category == ""


def test_an_image_that_is_listed_twice_has_the_annotations_of_both(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    save_json(tmp_path / "x.json", dataset([image(1, "a.png"), image(2, "a.png")], [box(1, 1), box(2, 2)]))
    annotations = objects(tmp_path, "a.png")
    assert [each.id for each in annotations.objects] == ["1", "2"]
    assert annotations.entries == {"x.json": [image(1, "a.png"), image(2, "a.png")]}


def test_two_images_of_one_id_are_refused(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        save_image(tmp_path / name)
    entries = [image(1, "a.png"), image(1, "b.png"), image(3, "c.png")]
    save_json(tmp_path / "x.json", dataset(entries, [box(1, 1), box(2, 3)]))
    for name in ("a.png", "b.png"):
        with pytest.raises(ImageError, match=r"has no id in x\.json, or one that another image has too"):
            objects(tmp_path, name)
    assert len(objects(tmp_path, "c.png").objects) == 1


# --- Recognition -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        [],
        [{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}],
        {"version": "5.0", "shapes": [], "imagePath": "a.png"},
        {"info": {"x": 1}},
        {"images": [], "annotations": [], "categories": []},
        {"images": ["a.png"], "annotations": []},
        {"images": {"a.png": 1}, "annotations": {}},
        {"frame": 1, "captures": [{"annotations": [{"id": "box"}]}]},
        "text",
    ],
)
def test_other_json_is_left_alone(tmp_path: Path, content: Any) -> None:
    save_image(tmp_path / "a.png")
    save_json(tmp_path / "x.json", content)
    assert find(tmp_path) == []


def test_damaged_files_that_are_no_coco_are_left_alone(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    for number, text in enumerate(
        ["", "{", "\0\1", '{"info": ', '{"images": [1,', "é".encode("latin-1").decode("latin-1")]
    ):
        (tmp_path / f"{number}.json").write_text(text)
    (tmp_path / "x.json").write_bytes(b"\xff\xfe{\x00")
    assert find(tmp_path) == []


def test_sidecars_of_images_are_not_opened(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    save_json(tmp_path / "a.json", dataset([image(1, "a.png")], [box(1, 1)]))
    assert find(tmp_path) == []


def test_of_many_files_of_one_kind_only_a_few_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_image(tmp_path / "a.png")
    for number in range(150):
        save_json(tmp_path / f"frame_{number:04}.meta.json", {"frame": number})
        save_json(tmp_path / f"scenes/{number}/coco.json", dataset([image(1, f"{number}.png")], [box(1, 1)]))
    save_json(tmp_path / "labels.json", dataset([image(1, "a.png")], [box(1, 1)]))
    opened: list[str] = []

    def open_path(path: Path, *arguments: Any, **options: Any) -> Any:
        opened.append(path.name)
        return original(path, *arguments, **options)

    original = Path.open
    monkeypatch.setattr(Path, "open", open_path)
    assert len(open_only(tmp_path).files) == 151
    assert 0 < sum(name.startswith("frame_") for name in opened) < 20


def test_a_long_start_does_not_hide_the_lists(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    content = {"description": "x" * 10_000, **dataset([image(1, "a.png")], [box(1, 1)])}
    save_json(tmp_path / "x.json", content)
    assert len(objects(tmp_path, "a.png").objects) == 1


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    blenderproc(tmp_path)
    file = tmp_path / "coco_annotations.json"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"coco_annotations\.json is a damaged COCO file: .*--exclude coco_annotations"):
        find(tmp_path)


def test_a_file_that_changed_since_it_was_listed_concerns_its_images(tmp_path: Path) -> None:
    blenderproc(tmp_path)
    source = open_only(tmp_path)
    (tmp_path / "coco_annotations.json").write_text("{}")
    with pytest.raises(ImageError, match="damaged annotations"):
        source["images/000001.png"]
    (tmp_path / "coco_annotations.json").unlink()
    with pytest.raises(ImageError, match="cannot be read"):
        source["images/000001.png"]


# --- Other processes -------------------------------------------------------------------------------------------------


def test_a_part_is_small_and_equal(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(200)]
    for name in names:
        save_image(tmp_path / name, (4, 6))
    entries = [image(number, name, (4, 6)) for number, name in enumerate(names)]
    annotations = [box(number, number % 200, note="x" * 1000) for number in range(2000)]
    save_json(tmp_path / "x.json", dataset(entries, annotations))
    source = open_only(tmp_path)
    part = source.only(["7.png", "8.png", "other.png"], [OBJECTS])
    data = pickle.dumps(part)
    assert len(data) < 2500
    again = pickle.loads(data)
    assert list(again) == ["7.png", "8.png"]
    assert again["7.png"] == source["7.png"]
    assert len(again["7.png"][OBJECTS].objects) == 10
    assert len(source.only(["7.png"], ["gaze"])) == 0
    assert SIZE == (48, 64)
