"""BOP, SOLO and masks from end to end: converted to COCO, and read there by pycocotools."""

import contextlib
import io
import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from refiner.commands import main
from refiner.images.io import read_image, write_image

Array = np.ndarray[Any, Any]
HERE = Path(__file__).parent


def open_coco(folder: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(folder / "annotations.json"))


def convert(source: Path, *options: str) -> tuple[COCO, int]:
    out = source.parent / "out"
    result = CliRunner().invoke(main, ["convert", str(source), str(out), "--workers", "1", *options])
    assert result.exit_code in (0, 4), result.output
    return open_coco(out), result.exit_code


def test_bop_becomes_coco_with_its_cameras_and_poses(tmp_path: Path) -> None:
    bop = runpy.run_path(str(HERE / "test_bop.py"))
    bop["write_scene"](tmp_path / "in" / "train_pbr" / "000000")
    coco, status = convert(tmp_path / "in", "--size", "16x22")
    assert status == 4  # hidden objects have no box, which COCO needs
    (image,) = [each for each in coco.dataset["images"] if each["file_name"].endswith("000001.png")]
    assert (image["height"], image["width"]) == (16, 22)
    # Rays of the camera that stands in the COCO file hit the spheres in the pixels of the masks.
    _, visible = bop["cast"](image["cam_K"], (16, 22))
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
    assert [seen.any() for seen in visible] == [True, True, False, True]
    assert [each["obj_id"] for each in annotations] == [5, 2, 9]
    for each, seen in zip(annotations, [seen for seen in visible if seen.any()], strict=True):
        assert coco.cats[each["category_id"]]["name"] == str(each["obj_id"])
        assert np.array_equal(coco.annToMask(each), seen)
        assert each["area"] == seen.sum()
    assert annotations[1]["cam_t_m2c"] == [60.0, 10.0, 800.0]
    # The masks beside the images followed in the same way.
    mask = read_image(tmp_path / "out" / "train_pbr" / "000000" / "mask_visib" / "000001_000001.png")
    assert np.array_equal(mask > 0, visible[1])


def test_solo_becomes_coco_with_keypoints(tmp_path: Path) -> None:
    solo = runpy.run_path(str(HERE / "test_solo.py"))
    solo["write_solo"](tmp_path / "in", 2, ("camera", "side view"))
    coco, _ = convert(tmp_path / "in")
    images = {each["file_name"]: each for each in coco.dataset["images"]}
    assert len(images) == 4
    image = images["sequence.1/step0.side view.png"]
    assert image["unity_capture"]["projection"] == "Perspective"
    ids = solo["layout"](1, 1)
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
    for each in annotations:
        assert np.array_equal(coco.annToMask(each), ids == each["instanceId"])
    (person,) = [each for each in annotations if coco.cats[each["category_id"]]["name"] == "Character"]
    assert person["keypoints"] == [0, 0, 0, 27.0, 7.75, 2, 27.5, 28.0, 1]
    assert coco.cats[person["category_id"]]["keypoints"] == ["nose", "neck", "ankle"]


@pytest.mark.parametrize("options", [(), ("--size", "16x22")])
def test_files_about_a_whole_data_set_stay_as_they_are(tmp_path: Path, options: tuple[str, ...]) -> None:
    """They hold no positions in images, so that nothing is lost, and nothing is left out."""
    solo = runpy.run_path(str(HERE / "test_solo.py"))
    solo["write_solo"](tmp_path / "in", 2)
    for depth in (tmp_path / "in").rglob("*.exr"):  # which cannot follow the images
        depth.unlink()
    constant = {name: f'{{"{name}": [1, 2]}}' for name in ("metadata.json", "sensor_definitions.json")}
    for name, text in constant.items():
        (tmp_path / "in" / name).write_text(text)
    _, status = convert(tmp_path / "in", *options)
    assert {name: (tmp_path / "out" / name).read_text() for name in constant} == constant
    assert status == 0


def write_masks(folder: Path) -> Array:
    """Three renders with a mask of two classes each; the last one without its mask."""
    labels = np.zeros((24, 36), np.uint8)
    labels[3:12, 6:18], labels[6:21, 21:33] = 4, 9
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 36, 3), dtype=np.uint8)
        write_image(folder / f"{number}.png", pixels)
        if number < 2:
            write_image(folder / f"{number}_seg.png", labels)
    return labels


def test_masks_become_coco_only_if_the_user_asks(tmp_path: Path) -> None:
    labels = write_masks(tmp_path / "in")
    result = CliRunner().invoke(main, ["convert", str(tmp_path / "in"), str(tmp_path / "plain")])
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "plain").glob("[!.]*"))
    assert names == ["0.png", "0_seg.png", "1.png", "1_seg.png", "2.png"]
    coco, _ = convert(tmp_path / "in", "--to", "coco", "--size", "8x12")
    assert [each["name"] for each in coco.dataset["categories"]] == ["4", "9"]
    assert len(coco.dataset["images"]) == 3
    assert len(coco.dataset["annotations"]) == 4
    for each in coco.dataset["annotations"]:
        assert np.array_equal(coco.annToMask(each), labels[1::3, 1::3] == each["category_id"])


@pytest.mark.parametrize("kind", ["bop", "solo", "masks"])
def test_refine_leaves_everything_beside_the_renders_alone(tmp_path: Path, kind: str) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    if kind == "masks":
        write_masks(source)
    else:
        tests = runpy.run_path(str(HERE / f"test_{kind}.py"))
        tests["write_scene" if kind == "bop" else "write_solo"](source / "a" if kind == "bop" else source)
    result = CliRunner().invoke(
        main, ["refine", str(source), str(out), "--refiner", "demo", "--workers", "1", "--json"]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rejected"] == 0
    files = {path.relative_to(source).as_posix(): path for path in source.rglob("*") if path.is_file()}
    changed = {name for name, path in files.items() if path.read_bytes() != (out / name).read_bytes()}
    renders = {
        "bop": {f"a/rgb/{number:06d}.png" for number in range(2)},
        "solo": {f"sequence.{number}/step0.camera.png" for number in range(2)},
        "masks": {f"{number}.png" for number in range(3)},
    }
    assert changed == renders[kind]


def test_the_layout_of_unitys_converter_is_read(tmp_path: Path) -> None:
    """pysolotools' SOLO2COCO: names without their folder, sizes as floats, ids from 0, two files of the same boxes."""
    folder, boxes = tmp_path / "in" / "coco", [(3, 4, 9, 10), (20, 10, 18, 16)]
    images, annotations = [], []
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 45, 3), dtype=np.uint8)
        write_image(folder / "images" / f"camera_{number}.png", pixels)
        images.append({"id": number, "width": 45.0, "height": 30.0, "file_name": f"camera_{number}.png"})
        for x, y, width, height in boxes:
            mask = np.zeros((30, 45), np.uint8, order="F")
            mask[y : y + height, x : x + width] = 1
            runs = coco_mask.encode(mask)
            annotations.append(
                {
                    "segmentation": {"size": list(runs["size"]), "counts": runs["counts"].decode()},
                    **{"area": width * height, "iscrowd": 0, "image_id": number, "bbox": [x, y, width, height]},
                    **{"keypoints": [], "num_keypoints": 0, "category_id": 1, "id": len(annotations)},
                }
            )
    categories = [{"id": 1, "name": "Crate", "supercategory": "default", "keypoints": [], "skeleton": []}]
    content = {"licences": [], "images": images, "annotations": annotations, "categories": categories}
    for name in ("instances.json", "semantic.json"):
        (folder / name).write_text(json.dumps(content, indent=3))
    result = CliRunner().invoke(main, ["convert", str(tmp_path / "in"), str(tmp_path / "out"), "--size", "10x15"])
    assert result.exit_code == 0, result.output
    for name in ("instances.json", "semantic.json"):
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(tmp_path / "out" / "coco" / name))
        assert [(each["id"], each["height"], each["width"]) for each in coco.dataset["images"]] == [
            (0, 10, 15),
            (1, 10, 15),
        ]
        for before, after in zip(annotations, coco.dataset["annotations"], strict=True):
            assert after["bbox"] == pytest.approx([value / 3 for value in before["bbox"]], abs=1e-6)
            assert np.array_equal(coco.annToMask(after), coco_mask.decode(before["segmentation"])[1::3, 1::3])
