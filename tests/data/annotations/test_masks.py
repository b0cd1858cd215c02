"""Objects from masks alone: values, colours, palettes, and what renderers write beside them."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from pycocotools import mask as coco_mask

from refiner.core.errors import ImageError
from refiner.data.annotations.masks import MaskObjects
from refiner.images.io import write_image

HEIGHT, WIDTH = 20, 32
Array = np.ndarray[Any, Any]


def regions() -> Array:
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    numbers[2:9, 3:12] = 1
    numbers[6:18, 14:30] = 2
    numbers[8:12, 16:20] = 3
    return numbers


def objects(root: Path, pairs: dict[str, str | None], sample: str = "0001.png") -> dict[str, tuple[str, Array]]:
    """Class and pixels of each object, by its id."""
    source = MaskObjects(root, pairs)
    found = {}
    for each in source[sample]["objects"].objects:
        pixels = np.asarray(coco_mask.decode(each.mask), bool)
        rows, columns = np.where(pixels)
        assert each.box == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        found[each.id] = each.category, pixels
    return found


def check(found: dict[str, tuple[str, Array]], expected: dict[str, tuple[str, int]]) -> None:
    assert {name: category for name, (category, _) in found.items()} == {
        name: category for name, (category, _) in expected.items()
    }
    for name, (_, number) in expected.items():
        assert np.array_equal(found[name][1], regions() == number), name


def test_each_value_of_a_mask_is_an_object(tmp_path: Path) -> None:
    write_image(tmp_path / "0001_seg.png", regions())
    found = objects(tmp_path, {"0001_seg.png": "0001.png"})
    check(found, {"1": ("1", 1), "2": ("2", 2), "3": ("3", 3)})
    assert [(each.id, each.name) for each in MaskObjects(tmp_path, {"0001_seg.png": "0001.png"}).info.categories] == [
        (1, "1"),
        (2, "2"),
        (3, "3"),
    ]


def test_pixels_of_no_class_are_no_object(tmp_path: Path) -> None:
    write_image(tmp_path / "a_seg.png", np.where(regions() == 3, 255, regions()).astype(np.uint8))
    assert objects(tmp_path, {"a_seg.png": "0001.png"}).keys() == {"1", "2"}
    # Levels of a mask that are far apart are objects.
    write_image(tmp_path / "b_seg.png", (regions() * 85).astype(np.uint8))
    check(objects(tmp_path, {"b_seg.png": "0001.png"}), {"85": ("85", 1), "170": ("170", 2), "255": ("255", 3)})


def test_a_mask_of_one_object_is_called_by_its_file(tmp_path: Path) -> None:
    for name, number in (("0001_iris.png", 2), ("0001_pupil.png", 3)):
        write_image(tmp_path / name, (regions() == number).astype(np.uint8) * 255)
    found = objects(tmp_path, {"0001_iris.png": "0001.png", "0001_pupil.png": "0001.png"})
    check(found, {"0001_iris.png:255": ("iris", 2), "0001_pupil.png:255": ("pupil", 3)})
    write_image(tmp_path / "masks" / "0001.png", (regions() == 1).astype(np.uint8) * 255)
    check(objects(tmp_path, {"masks/0001.png": "0001.png"}), {"255": ("object", 1)})


def test_numbers_of_a_palette_are_the_classes(tmp_path: Path) -> None:
    picture = Pillow.fromarray(np.where(regions() == 3, 255, regions() * 7).astype(np.uint8))
    picture.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    (tmp_path / "SegmentationClass").mkdir()
    picture.save(tmp_path / "SegmentationClass" / "0001.png")
    check(objects(tmp_path, {"SegmentationClass/0001.png": "0001.png"}), {"7": ("7", 1), "14": ("14", 2)})


def test_replicator_names_the_classes_of_its_colours(tmp_path: Path) -> None:
    colours = np.array([[0, 0, 0, 0], [140, 25, 255, 255], [255, 197, 25, 255], [25, 255, 82, 255]], np.uint8)
    write_image(tmp_path / "instance_segmentation_0001.png", colours[regions()])
    write_image(tmp_path / "instance_id_segmentation_0001.png", colours[regions()])
    write_image(tmp_path / "semantic_segmentation_0001.png", colours[np.minimum(regions(), 1)])
    names = {
        "(0, 0, 0, 0)": {"class": "BACKGROUND"},
        "(140, 25, 255, 255)": {"class": "crate"},
        "(255, 197, 25, 255)": {"class": "UNLABELLED"},
        "(25, 255, 82, 255)": {"class": "crate"},
    }
    (tmp_path / "instance_segmentation_semantics_mapping_0001.json").write_text(json.dumps(names))
    pairs: dict[str, str | None] = {
        f"{kind}_segmentation_0001.png": "rgb_0001.png" for kind in ("instance_id", "instance", "semantic")
    }
    found = objects(tmp_path, pairs, "rgb_0001.png")
    check(found, {"#8c19ff": ("crate", 1), "#19ff52": ("crate", 3)})


def test_carla_has_the_class_in_red(tmp_path: Path) -> None:
    colours = np.array([[0, 0, 0, 255], [14, 3, 1, 255], [14, 7, 0, 255], [24, 200, 9, 255]], np.uint8)
    write_image(tmp_path / "instance" / "0001.png", colours[regions()])
    found = objects(tmp_path, {"instance/0001.png": "0001.png"})
    check(found, {"#0e0301": ("14", 1), "#0e0700": ("14", 2), "#18c809": ("24", 3)})


def test_instances_have_the_class_of_most_of_their_pixels(tmp_path: Path) -> None:
    """As in VOC, and in Virtual KITTI: numbers of the instances in one picture, classes in another."""
    classes = np.array([0, 15, 7, 15], np.uint8)[regions()]
    classes[2:4] = 0  # the borders of objects may have no class
    write_image(tmp_path / "SegmentationObject" / "0001.png", regions())
    write_image(tmp_path / "SegmentationClass" / "0001.png", classes)
    pairs: dict[str, str | None] = {
        f"Segmentation{kind}/0001.png": "JPEGImages/0001.jpg" for kind in ("Class", "Object")
    }
    check(objects(tmp_path, pairs, "JPEGImages/0001.jpg"), {"1": ("15", 1), "2": ("7", 2), "3": ("15", 3)})
    # Without classes, instances are objects of one class.
    write_image(tmp_path / "0001_instance.png", regions())
    found = objects(tmp_path, {"0001_instance.png": "0001.png"})
    check(found, {"1": ("object", 1), "2": ("object", 2), "3": ("object", 3)})


def test_a_part_is_small_and_images_without_mask_have_no_objects(tmp_path: Path) -> None:
    write_image(tmp_path / "1_seg.png", regions())
    names = [f"{number}.png" for number in range(5000)]
    pairs: dict[str, str | None] = {f"{number}_seg.png": f"{number}.png" for number in range(1, 5000)}
    source = MaskObjects(tmp_path, pairs, names)
    part = pickle.loads(pickled := pickle.dumps(source.only(["0.png", "1.png"], ["objects"])))
    assert len(pickled) < 2000
    assert part["0.png"]["objects"].objects == ()
    assert len(part["1.png"]["objects"].objects) == 3
    assert len(MaskObjects(tmp_path, {}, names)) == 0


def test_maps_and_pictures_with_a_loss_are_no_masks(tmp_path: Path) -> None:
    names = ["depth/1.png", "1_normals.png", "1_mask.jpg", "forward_flow_1.png", "depth_mask/1.png"]
    pairs: dict[str, str | None] = dict.fromkeys(names, "1.png")
    assert MaskObjects(tmp_path, pairs).places == {}
    assert MaskObjects(tmp_path, {"depth_1_mask.png": "1.png", "x_mask.png": None}).places.keys() == {"1.png"}
    write_image(tmp_path / "1_seg.png", np.arange(4096, dtype=np.uint16).reshape(64, 64))
    with pytest.raises(ImageError, match=r"^1\.png: .*has 4,096 values"):
        MaskObjects(tmp_path, {"1_seg.png": "1.png"})["1.png"]
