"""SOLO data sets, laid out as Unity Perception 1.0 writes them (a frame of Unity's own sample was the model)."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from refiner.core.errors import ImageError
from refiner.data.annotations.positions.moves import move_annotations
from refiner.data.annotations.renderers.solo import Solo, find
from refiner.data.folders.contents import read_contents
from refiner.data.labels.coordinates import Change
from refiner.data.labels.objects import ImageAnnotations
from refiner.images.io import write_image

HEIGHT, WIDTH = 30, 44
Array = np.ndarray[Any, Any]
TYPE = "type.unity.com/unity.solo."

COLOURS = {3: [149, 255, 0, 255], 1: [255, 0, 0, 255], 2: [0, 74, 255, 255]}
"""Colours of the instances."""

FOCAL = 1.25  # of the projection matrix, up; (30 / 44 of it across)


def layout(camera: int, frame: int) -> Array:
    """Instance of each pixel: 0 none; 3 a crate, 1 a person in front of crate 2."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[4:14, 3 + camera : 12 + camera] = 3
    ids[10:26, 20:38] = 2
    ids[6:29, 25 + frame : 31 + frame] = 1
    return ids


def coloured(ids: Array, colours: dict[int, list[int]]) -> Array:
    picture = np.zeros((*ids.shape, 4), np.uint8)
    picture[..., 3] = 255
    for number, colour in colours.items():
        picture[ids == number] = colour
    return picture


def capture(sensor: str, ids: Array, step: int) -> dict[str, Any]:
    """A capture with every annotation; boxes are first pixel and number of pixels, as Unity's generator counts them."""
    names = {3: (1, "Crate"), 1: (5, "Character"), 2: (1, "Crate")}
    boxes, instances, boxes_3d = [], [], []
    for number, (label, name) in names.items():
        rows, columns = np.where(ids == number)
        head = {"instanceId": number, "labelId": label, "labelName": name}
        origin = [float(columns.min()), float(rows.min())]
        boxes.append({**head, "origin": origin, "dimension": [float(np.ptp(columns)) + 1, float(np.ptp(rows)) + 1]})
        instances.append({**head, "color": COLOURS[number]})
        boxes_3d.append({**head, "translation": [0.5, -0.1, 4.5 + number], "size": [1.0, 1.0, 1.0]})
    points = [
        {"index": 1, "location": [27.5, 8.25], "state": 2, "cameraCartesianLocation": [0.1, 0.2, 3.0]},
        {"index": 0, "location": [0.0, 0.0], "state": 0, "cameraCartesianLocation": [0.0, 0.0, 0.0]},
        {"index": 2, "location": [28.0, 28.5], "state": 1, "cameraCartesianLocation": [0.1, -0.9, 3.1]},
    ]
    prefix = f"step{step}.{sensor}"
    head = {"sensorId": sensor, "description": "…"}
    size = {"imageFormat": "Png", "dimension": [float(WIDTH), float(HEIGHT)]}
    keypoints = {"instanceId": 1, "labelId": 5, "pose": "unset", "keypoints": points}
    annotations = [
        {"@type": TYPE + "KeypointAnnotation", "id": "keypoints", **head, "templateId": "4a7b", "values": [keypoints]},
        {"@type": TYPE + "BoundingBox2DAnnotation", "id": "bounding box", **head, "values": boxes},
        {
            **{"@type": TYPE + "SemanticSegmentationAnnotation", "id": "semantic segmentation", **head, **size},
            "filename": f"{prefix}.semantic segmentation.png",
            "instances": [{"labelName": "Crate", "pixelValue": [0, 255, 43, 255]}],
        },
        {"@type": TYPE + "BoundingBox3DAnnotation", "id": "bounding box 3D", **head, "values": boxes_3d},
        {
            **{"@type": TYPE + "InstanceSegmentationAnnotation", "id": "instance segmentation", **head, **size},
            "filename": f"{prefix}.instance segmentation.png",
            "instances": instances,
        },
        {"@type": TYPE + "DepthAnnotation", "id": "Depth", **head, **size, "filename": f"{prefix}.Depth.exr"},
    ]
    matrix = [FOCAL * HEIGHT / WIDTH, 0.0, 0.0, 0.0, FOCAL, 0.0, 0.0, 0.0, -1.0006]
    return {
        **{"@type": TYPE + "RGBCamera", "id": sensor, "position": [1.9, 1.1, -3.0], "rotation": [0.1, 0.2, 0.0, 0.9]},
        **{"filename": f"{prefix}.png", **size, "projection": "Perspective", "matrix": matrix},
        "annotations": annotations,
    }


def write_solo(root: Path, frames: int = 2, cameras: tuple[str, ...] = ("camera",)) -> Path:
    for number in range(frames):
        folder = root / f"sequence.{number}"
        captures = []
        for place, sensor in enumerate(cameras):
            ids = layout(place, number)
            captures.append(capture(sensor, ids, 0))
            pixels = np.random.default_rng(10 * number + place).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
            write_image(folder / f"step0.{sensor}.png", pixels)
            write_image(folder / f"step0.{sensor}.instance segmentation.png", coloured(ids, COLOURS))
            semantic = coloured(ids, {2: [0, 255, 43, 255], 3: [0, 255, 43, 255]})
            write_image(folder / f"step0.{sensor}.semantic segmentation.png", semantic)
            (folder / f"step0.{sensor}.Depth.exr").write_bytes(b"\x76\x2f\x31\x01 depth")
        values = [{"labelId": 5, "instanceId": 1, "visiblePixels": int((layout(0, number) == 1).sum())}]
        metrics = [
            {"@type": TYPE + "RenderedObjectInfoMetric", "sensorId": cameras[0], "values": values},
            {"@type": TYPE + "GenericMetric", "id": "random-seed", "sensorId": "", "value": 539662031},
        ]
        frame = {"frame": number + 2, "sequence": number, "step": 0, "captures": captures, "metrics": metrics}
        (folder / "step0.frame_data.json").write_text(json.dumps(frame, indent=2))
    specs = [{"label_id": 1, "label_name": "Crate"}, {"label_id": 2, "label_name": "Cube"}]
    specs.append({"label_id": 5, "label_name": "Character"})
    points = [{"label": name, "index": index} for index, name in enumerate(("nose", "neck", "ankle"))]
    template = {"templateId": "4a7b", "templateName": "Coco", "keypoints": points}
    definitions = [
        {"@type": TYPE + "KeypointAnnotation", "id": "keypoints", "template": template},
        {"@type": TYPE + "BoundingBox2DAnnotation", "id": "bounding box", "spec": specs},
    ]
    (root / "annotation_definitions.json").write_text(json.dumps({"annotationDefinitions": definitions}))
    for name in ("metadata", "sensor_definitions", "metric_definitions"):
        (root / f"{name}.json").write_text("{}")
    return root


def open_solo(root: Path) -> Solo:
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    (source,) = find(root, files, [name for name in files if name.endswith(".png")])
    return source


def objects_of(source: Solo, sample: str) -> ImageAnnotations:
    annotations = source[sample]["objects"]
    assert isinstance(annotations, ImageAnnotations)
    return annotations


def pixels(mask: Any) -> Array:
    return np.asarray(coco_mask.decode(mask), bool)


def test_objects_of_a_frame_are_joined_by_instance(tmp_path: Path) -> None:
    source = open_solo(write_solo(tmp_path))
    assert list(source) == ["sequence.0/step0.camera.png", "sequence.1/step0.camera.png"]
    annotations = objects_of(source, "sequence.1/step0.camera.png")
    ids = layout(0, 1)
    assert [(each.id, each.category) for each in annotations.objects] == [
        ("3", "Crate"),
        ("1", "Character"),
        ("2", "Crate"),
    ]
    for each in annotations.objects:
        mask = ids == int(each.id)
        assert np.array_equal(pixels(each.mask), mask)
        assert each.box == tuple(coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask, np.uint8))))
        assert each.extra["box3d"]["translation"] == [0.5, -0.1, 4.5 + int(each.id)]
        assert each.extra["color"] == COLOURS[int(each.id)]
    # Half a pixel less than Unity's places, whose origin is the corner of the image; unlabelled points are zeros.
    person = annotations.objects[1]
    assert person.keypoints == (0, 0, 0, 27.0, 7.75, 2, 27.5, 28.0, 1)
    assert person.extra["pose"] == "unset"
    assert person.extra["cameraCartesianLocations"][2] == [0.1, -0.9, 3.1]
    categories = {each.name: (each.id, each.keypoints) for each in source.info.categories}
    assert categories == {"Crate": (1, ()), "Cube": (2, ()), "Character": (5, ("nose", "neck", "ankle"))}
    entry = annotations.entries["sequence.1/step0.frame_data.json"]
    assert entry["frame"] == 3
    assert entry["unity_capture"]["position"] == [1.9, 1.1, -3.0]
    assert entry["unity_capture"]["metrics"][1]["value"] == 539662031
    assert "values" not in entry["unity_capture"]["annotations"][1]


def test_pictures_of_labels_are_known_whatever_their_type(tmp_path: Path) -> None:
    contents = read_contents(write_solo(tmp_path, cameras=("camera", "side view")))
    assert contents.images == [
        f"sequence.{number}/step0.{sensor}.png" for number in range(2) for sensor in ("camera", "side view")
    ]
    expected = {
        f"sequence.{number}/step0.{sensor}.{kind}": f"sequence.{number}/step0.{sensor}.png"
        for number in range(2)
        for sensor in ("camera", "side view")
        for kind in ("instance segmentation.png", "semantic segmentation.png", "Depth.exr")
    }
    assert contents.label_images == expected
    assert not contents.unsupported
    assert not contents.others
    assert "sequence.0/step0.frame_data.json" in contents.companions


def test_each_camera_has_its_own_objects(tmp_path: Path) -> None:
    source = open_solo(write_solo(tmp_path, cameras=("camera", "side view")))
    for place, sensor in enumerate(("camera", "side view")):
        annotations = objects_of(source, f"sequence.0/step0.{sensor}.png")
        assert np.array_equal(pixels(annotations.objects[0].mask), layout(place, 0) == 3)
        metrics = annotations.entries["sequence.0/step0.frame_data.json"]["unity_capture"]["metrics"]
        assert len(metrics) == (2 if sensor == "camera" else 1)


def test_labels_follow_a_crop_and_a_resize(tmp_path: Path) -> None:
    source = open_solo(write_solo(tmp_path))
    before = objects_of(source, "sequence.0/step0.camera.png")
    change = Change((HEIGHT, WIDTH), (3, 8), (24, 33), (8, 11))
    after = move_annotations(before, change, "a.png")
    person = next(each for each in after.objects if each.id == "1")
    assert person.keypoints == pytest.approx((0, 0, 0, *((27.5 - 8) / 3 - 0.5, (8.25 - 3) / 3 - 0.5, 2), 0, 0, 0))
    old = next(each for each in before.objects if each.id == "1").mask
    assert np.array_equal(pixels(person.mask), pixels(old)[3:27, 8:41][1::3, 1::3])
    # A point of the camera lies on the same pixel of the cropped image by the projection matrix.
    x, y, z = 0.7, -0.4, -2.5
    entries = [each.entries["sequence.0/step0.frame_data.json"]["unity_capture"] for each in (before, after)]
    places = []
    for capture, (height, width) in zip(entries, ((HEIGHT, WIDTH), (8, 11)), strict=True):
        matrix = np.array(capture["matrix"]).reshape(3, 3)
        right, up = (matrix @ (x, y, z))[:2] / -z
        places.append(((right + 1) / 2 * width, (1 - up) / 2 * height))
        assert capture["dimension"] == [width, height]
    assert places[1] == pytest.approx(((places[0][0] - 8) / 3, (places[0][1] - 3) / 3))
    assert entries[1]["metrics"][0]["values"][0]["visiblePixels"] is None
    assert before.objects[0].extra["box3d"] == after.objects[0].extra["box3d"]


def test_classes_are_objects_where_there_are_no_others(tmp_path: Path) -> None:
    write_solo(tmp_path)
    for path in tmp_path.glob("*/*.frame_data.json"):
        frame = json.loads(path.read_text())
        first = frame["captures"][0]
        first["annotations"] = [each for each in first["annotations"] if "Semantic" in each["@type"]]
        path.write_text(json.dumps(frame))
    (tmp_path / "annotation_definitions.json").unlink()
    source = open_solo(tmp_path)
    (crates,) = objects_of(source, "sequence.0/step0.camera.png").objects
    assert (crates.id, crates.category) == ("Crate", "Crate")
    assert np.array_equal(pixels(crates.mask), np.isin(layout(0, 0), (2, 3)))
    assert [each.name for each in source.info.categories] == ["Crate"]


def test_a_part_travels_to_another_process(tmp_path: Path) -> None:
    source = open_solo(write_solo(tmp_path))
    name = "sequence.1/step0.camera.png"
    part = pickle.loads(pickle.dumps(source.only([name], ["objects"])))
    assert list(part) == [name]
    assert part[name] == source[name]


def test_one_sequence_is_a_data_set(tmp_path: Path) -> None:
    write_solo(tmp_path)
    source = open_solo(tmp_path / "sequence.1")
    assert [len(objects_of(source, name).objects) for name in source] == [3]
    assert list(source) == ["step0.camera.png"]
    assert source.label_images["step0.camera.Depth.exr"] == "step0.camera.png"


def test_frames_without_picture_are_named(tmp_path: Path) -> None:
    write_solo(tmp_path)
    (tmp_path / "sequence.1" / "step0.camera.png").unlink()
    assert "sequence.1/step0.camera.png" in set(open_solo(tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"filename": "step0.camera.png"', '"filename": "step1.camera.png"', "is not named by a capture"),
        ('"state": 2', '"state": "visible"', "state of a keypoint in sequence.0/step0.frame_data.json"),
        ("step0.camera.instance segmentation.png", "../outside.png", "which is not in the data set"),
        ('"instanceId": 3,', "", "without instanceId"),
        ('"captures": [', '"captures": [[', "is no JSON"),
    ],
)
def test_faulty_frames_concern_their_images(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write_solo(tmp_path) / "sequence.0" / "step0.frame_data.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    source = open_solo(tmp_path)
    with pytest.raises(ImageError, match=r"^sequence") as error:
        source["sequence.0/step0.camera.png"]
    assert message in str(error.value)
    assert len(objects_of(source, "sequence.1/step0.camera.png").objects) == 3
    assert len(source) == 2


def test_a_custom_annotation_keeps_images_from_changing_their_size(tmp_path: Path) -> None:
    path = write_solo(tmp_path) / "sequence.0" / "step0.frame_data.json"
    path.write_text(path.read_text().replace(TYPE + "DepthAnnotation", "type.custom/my.Lanes"))
    annotations = objects_of(open_solo(tmp_path), "sequence.0/step0.camera.png")
    with pytest.raises(ImageError, match="of type Lanes may hold positions in pixels"):
        move_annotations(annotations, Change((HEIGHT, WIDTH), (0, 0), (HEIGHT, WIDTH), (15, 22)), "a.png")
