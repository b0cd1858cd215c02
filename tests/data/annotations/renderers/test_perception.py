"""Data sets of Unity Perception before SOLO, after the schema of the package."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from refiner.core.errors import ImageError
from refiner.data.annotations.positions.moves import move_annotations
from refiner.data.annotations.renderers.perception import Perception, find
from refiner.data.folders.contents import read_contents
from refiner.data.labels.coordinates import Change
from refiner.data.labels.objects import ImageAnnotations
from refiner.images.io import write_image

HEIGHT, WIDTH = 30, 44
RGB, INSTANCES = "RGB0a1b2c3d-1111-2222-3333-444455556666", "InstanceSegmentationab1b2c3d-1111-2222-3333-444455556666"
DATASET = "Datasetcd1b2c3d-1111-2222-3333-444455556666"
COLOURS = {1: (255, 0, 0, 255), 2: (0, 74, 255, 255)}


def layout(frame: int) -> np.ndarray[Any, Any]:
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[10:26, 20:38] = 2
    ids[6:29, 25 + frame : 31 + frame] = 1
    return ids


def capture(frame: int) -> dict[str, Any]:
    ids, boxes = layout(frame), []
    for number, (label, name) in {1: (5, "Character"), 2: (1, "Crate")}.items():
        rows, columns = np.where(ids == number)
        box = {"x": float(columns.min()), "y": float(rows.min())}
        box |= {"width": float(np.ptp(columns)) + 1, "height": float(np.ptp(rows)) + 1}
        boxes.append({"label_id": label, "label_name": name, "instance_id": number, **box})
    colours = [
        {"instance_id": number, "color": dict(zip("rgba", colour, strict=True))} for number, colour in COLOURS.items()
    ]
    points = [{"index": 0, "x": 27.5, "y": 8.25, "state": 2}, {"index": 1, "x": 0.0, "y": 0.0, "state": 0}]
    keypoints = {"label_id": 5, "instance_id": 1, "template_guid": "4a7b", "pose": "unset", "keypoints": points}
    matrix = [[1.25 * HEIGHT / WIDTH, 0.0, 0.0], [0.0, 1.25, 0.0], [0.0, 0.0, -1.0006]]
    return {
        "id": f"capture {frame}",
        "sequence_id": "s",
        "step": frame,
        "sensor": {"sensor_id": "camera", "modality": "camera", "camera_intrinsic": matrix},
        "filename": f"{RGB}/rgb_{frame + 2}.png",
        "format": "PNG",
        "annotations": [
            {"id": "a", "annotation_definition": "bounding box", "values": boxes},
            {
                "id": "b",
                "annotation_definition": "instance segmentation",
                "filename": f"{INSTANCES}/Instance_{frame + 2}.png",
                "values": colours,
            },
            {"id": "c", "annotation_definition": "keypoints", "values": [keypoints]},
        ],
    }


def write_dataset(root: Path) -> Path:
    for frame in range(3):
        pixels = np.random.default_rng(frame).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        write_image(root / RGB / f"rgb_{frame + 2}.png", pixels)
        picture = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
        picture[..., 3] = 255
        for number, colour in COLOURS.items():
            picture[layout(frame) == number] = colour
        write_image(root / INSTANCES / f"Instance_{frame + 2}.png", picture)
    (root / DATASET).mkdir()
    for number, frames in enumerate(((0, 1), (2,))):
        content = {"version": "0.0.1", "captures": [capture(frame) for frame in frames]}
        (root / DATASET / f"captures_{number:03d}.json").write_text(json.dumps(content))
    points = [{"label": name, "index": index} for index, name in enumerate(("nose", "neck"))]
    definitions = [
        {
            "id": "bounding box",
            "spec": [{"label_id": 1, "label_name": "Crate"}, {"label_id": 5, "label_name": "Character"}],
        },
        {"id": "keypoints", "spec": [{"template_id": "4a7b", "template_name": "Coco", "key_points": points}]},
    ]
    content = {"version": "0.0.1", "annotation_definitions": definitions}
    (root / DATASET / "annotation_definitions.json").write_text(json.dumps(content))
    return root


def open_dataset(root: Path) -> Perception:
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    (source,) = find(root, files, [name for name in files if name.endswith(".png")])
    return source


def test_captures_are_read_like_those_of_solo(tmp_path: Path) -> None:
    source = open_dataset(write_dataset(tmp_path))
    assert list(source) == [f"{RGB}/rgb_{number}.png" for number in (2, 3, 4)]
    for frame in range(3):
        annotations = source[f"{RGB}/rgb_{frame + 2}.png"]["objects"]
        assert isinstance(annotations, ImageAnnotations)
        assert [(each.id, each.category) for each in annotations.objects] == [("1", "Character"), ("2", "Crate")]
        for each in annotations.objects:
            mask = layout(frame) == int(each.id)
            assert np.array_equal(coco_mask.decode(each.mask), mask)
            assert each.box == tuple(coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask, np.uint8))))
        assert annotations.objects[0].keypoints == (27.0, 7.75, 2, 0, 0, 0)
    categories = {each.name: (each.id, each.keypoints) for each in source.info.categories}
    assert categories == {"Crate": (1, ()), "Character": (5, ("nose", "neck"))}


def test_pictures_of_labels_belong_to_their_captures(tmp_path: Path) -> None:
    contents = read_contents(write_dataset(tmp_path))
    assert contents.images == [f"{RGB}/rgb_{number}.png" for number in (2, 3, 4)]
    assert contents.label_images == {
        f"{INSTANCES}/Instance_{number}.png": f"{RGB}/rgb_{number}.png" for number in (2, 3, 4)
    }
    assert not contents.others


def test_the_projection_follows_a_crop(tmp_path: Path) -> None:
    before = open_dataset(write_dataset(tmp_path))[f"{RGB}/rgb_2.png"]["objects"]
    after = move_annotations(before, Change((HEIGHT, WIDTH), (3, 8), (24, 33), (8, 11)), "a.png")
    x, y, z = 0.7, -0.4, -2.5
    places = []
    for annotations, (height, width) in ((before, (HEIGHT, WIDTH)), (after, (8, 11))):
        (entry,) = annotations.entries.values()
        right, up = (np.array(entry["unity_capture"]["matrix"]).reshape(3, 3) @ (x, y, z))[:2] / -z
        places.append(((right + 1) / 2 * width, (1 - up) / 2 * height))
    assert places[1] == pytest.approx(((places[0][0] - 8) / 3, (places[0][1] - 3) / 3))


def test_damaged_files_are_named_and_spare_the_others(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    path = tmp_path / DATASET / "captures_001.json"
    path.write_text(path.read_text()[:-9])
    source = open_dataset(tmp_path)
    assert len(source) == 2
    (problem,) = source.problems
    assert "captures_001.json is no JSON" in problem
    path = tmp_path / DATASET / "captures_000.json"
    path.write_text(path.read_text().replace('"r": 255', '"r": "red"', 1))
    with pytest.raises(ImageError, match=r"^RGB.*rgb_2\.png: .*color in .* expected 4 numbers"):
        open_dataset(tmp_path)[f"{RGB}/rgb_2.png"]
