"""BOP scenes, laid out as BlenderProc's writer does, with spheres that this test renders by rays of its own."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from refiner.core.errors import ImageError
from refiner.data.annotations.positions.moves import move_annotations
from refiner.data.annotations.renderers.bop import Bop, find
from refiner.data.folders.contents import read_contents
from refiner.data.labels.coordinates import Change
from refiner.data.labels.objects import ImageAnnotations
from refiner.images.io import write_image

HEIGHT, WIDTH = 48, 66
K = [80.0, 0.0, 30.25, 0.0, 76.0, 24.5, 0.0, 0.0, 1.0]
ROTATION = [1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0]
Array = np.ndarray[Any, Any]

# Number of the model, centre in mm, radius: one in front of another, one hidden behind both, one cut by the border.
SPHERES = [
    (5, (0.0, 0.0, 600.0), 90.0),
    (2, (60.0, 10.0, 800.0), 120.0),
    (5, (5.0, 0.0, 900.0), 40.0),
    (9, (-190.0, -100.0, 700.0), 80.0),
]


def cast(intrinsics: list[float], size: tuple[int, int]) -> tuple[list[Array], list[Array]]:
    """Silhouettes and visible masks of the spheres: pixel (x, y) looks along (x - cx) / fx, (y - cy) / fy, 1."""
    fx, _, cx, _, fy, cy = intrinsics[:6]
    x, y = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    rays = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones(size)], -1)
    depths = []
    for _, centre, radius in SPHERES:
        a, b, c = (rays**2).sum(-1), rays @ np.array(centre), np.dot(centre, centre) - radius**2
        root = b**2 - a * c
        depths.append(np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, np.inf))
    nearest = np.min(depths, axis=0)
    return [np.isfinite(depth) for depth in depths], [np.isfinite(depth) & (depth == nearest) for depth in depths]


def difference_box(mask: Array) -> list[int]:
    """Box as the BOP toolkit calculates it: first pixel, and last minus first."""
    rows, columns = mask.nonzero()
    if not len(rows):
        return [-1, -1, -1, -1]
    return [int(v) for v in (columns.min(), rows.min(), np.ptp(columns), np.ptp(rows))]


def write_scene(folder: Path, count: int = 2, *, suffix: str = ".png", info: bool = True, masks: bool = True) -> Path:
    """One scene: every image shows the same spheres."""
    full, visible = cast(K, (HEIGHT, WIDTH))
    poses = [{"cam_R_m2c": ROTATION, "cam_t_m2c": list(centre), "obj_id": model} for model, centre, _ in SPHERES]
    details = [
        {
            "bbox_obj": difference_box(whole) if seen.any() else [-1] * 4,
            "bbox_visib": difference_box(seen),
            "px_count_all": int(whole.sum()),
            "px_count_valid": int(whole.sum()),
            "px_count_visib": int(seen.sum()),
            "visib_fract": float(seen.sum() / whole.sum()),
        }
        for whole, seen in zip(full, visible, strict=True)
    ]
    for image in range(count):
        pixels = np.random.default_rng(image).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        write_image(folder / "rgb" / f"{image:06d}{suffix}", pixels)
        write_image(folder / "depth" / f"{image:06d}.png", np.full((HEIGHT, WIDTH), 700 + image, np.uint16))
        for number, (whole, seen) in enumerate(zip(full, visible, strict=True)):
            if masks:
                write_image(folder / "mask" / f"{image:06d}_{number:06d}.png", whole.astype(np.uint8) * 255)
                write_image(folder / "mask_visib" / f"{image:06d}_{number:06d}.png", seen.astype(np.uint8) * 255)
    camera = {"cam_K": K, "depth_scale": 1.0, "cam_R_w2c": ROTATION, "cam_t_w2c": [0.5, 1.0, 2.0]}
    # As the BOP toolkit writes: one line for each image.
    contents: dict[str, Any] = {"scene_gt.json": poses, "scene_camera.json": camera}
    if info:
        contents["scene_gt_info.json"] = details
    for name, record in contents.items():
        lines = ",\n".join(f'  "{image}": {json.dumps(record, sort_keys=True)}' for image in range(count))
        (folder / name).write_text(f"{{\n{lines}\n}}")
    return folder


def open_bop(root: Path) -> Bop:
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    (source,) = find(root, files, [name for name in files if not name.endswith(".json")])
    return source


def objects_of(source: Bop, sample: str) -> ImageAnnotations:
    annotations = source[sample]["objects"]
    assert isinstance(annotations, ImageAnnotations)
    return annotations


def pixels(mask: Any) -> Array:
    return np.asarray(coco_mask.decode(mask), bool)


def test_a_scene_of_blenderproc_is_read(tmp_path: Path) -> None:
    write_scene(tmp_path / "train_pbr" / "000000", suffix=".jpg")
    write_scene(tmp_path / "train_pbr" / "000001", 1)
    source = open_bop(tmp_path)
    assert list(source) == [
        "train_pbr/000000/rgb/000000.jpg",
        "train_pbr/000000/rgb/000001.jpg",
        "train_pbr/000001/rgb/000000.png",
    ]
    annotations = objects_of(source, "train_pbr/000000/rgb/000001.jpg")
    _, visible = cast(K, (HEIGHT, WIDTH))
    assert [each.category for each in annotations.objects] == ["5", "2", "5", "9"]
    assert [each.id for each in annotations.objects] == ["0", "1", "2", "3"]
    for each, seen, (_, centre, _) in zip(annotations.objects, visible, SPHERES, strict=True):
        assert each.extra["cam_R_m2c"] == ROTATION
        assert each.extra["cam_t_m2c"] == list(centre)
        assert each.file == "train_pbr/000000/scene_gt.json"
        if not seen.any():
            assert each.mask is each.box is None
            continue
        assert np.array_equal(pixels(each.mask), seen)
        # The box encloses the pixels from edge to edge.
        rows, columns = np.where(seen)
        assert each.box == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert each.box == tuple(coco_mask.toBbox(each.mask))
    camera = annotations.entries["train_pbr/000000/scene_camera.json"]
    assert camera["cam_K"] == K
    assert camera["im_id"] == 1
    assert [(category.id, category.name) for category in source.info.categories] == [(2, "2"), (5, "5"), (9, "9")]


def test_pictures_beside_the_renders_are_labels(tmp_path: Path) -> None:
    write_scene(tmp_path / "000007")
    write_image(tmp_path / "models" / "obj_000001.png", np.random.default_rng(0).integers(0, 255, (9, 7), np.uint8))
    (tmp_path / "models" / "models_info.json").write_text('{"5": {"diameter": 9.5, "name": "ball"}}')
    contents = read_contents(tmp_path)
    assert contents.images == ["000007/rgb/000000.png", "000007/rgb/000001.png"]
    assert contents.label_images["000007/depth/000001.png"] == "000007/rgb/000001.png"
    assert contents.label_images["000007/mask/000000_000003.png"] == "000007/rgb/000000.png"
    assert contents.label_images["models/obj_000001.png"] is None
    assert len(contents.label_images) == 2 * (1 + 2 * len(SPHERES)) + 1
    assert not contents.others
    assert not contents.unsupported
    source = open_bop(tmp_path)
    assert objects_of(source, "000007/rgb/000000.png").objects[0].category == "ball"
    assert [category.name for category in source.info.categories] == ["2", "ball", "9"]


@pytest.mark.parametrize("factor", [3, 1 / 3])
def test_intrinsics_follow_a_resize(tmp_path: Path, factor: float) -> None:
    """Rendering again with the moved camera gives the moved masks: every third pixel, exactly."""
    write_scene(tmp_path / "000000")
    before = objects_of(open_bop(tmp_path), "000000/rgb/000000.png")
    size = (HEIGHT // 3, WIDTH // 3) if factor < 1 else (HEIGHT * 3, WIDTH * 3)
    after = move_annotations(before, Change((HEIGHT, WIDTH), (0, 0), (HEIGHT, WIDTH), size), "a.png")
    moved = after.entries["000000/scene_camera.json"]["cam_K"]
    _, visible = cast(moved, size)
    _, original = cast(K, (HEIGHT, WIDTH))
    for each, seen, old in zip(after.objects, visible, original, strict=True):
        if factor < 1:
            assert np.array_equal(np.zeros(size) if each.mask is None else pixels(each.mask), seen)
            assert np.array_equal(seen, old[1::3, 1::3])
        else:
            assert np.array_equal(seen[1::3, 1::3], old)


def test_intrinsics_and_boxes_follow_a_crop(tmp_path: Path) -> None:
    write_scene(tmp_path / "000000")
    before = objects_of(open_bop(tmp_path), "000000/rgb/000000.png")
    change = Change((HEIGHT, WIDTH), (6, 15), (36, 33), (12, 11))  # a crop, then a third in both directions
    after = move_annotations(before, change, "a.png")
    _, visible = cast(after.entries["000000/scene_camera.json"]["cam_K"], (12, 11))
    for each in after.objects:
        if each.mask is not None:
            assert np.array_equal(pixels(each.mask), visible[int(each.id)])
        assert each.extra["px_count_visib"] is each.extra["px_count_all"] is each.extra["visib_fract"] is None
    # The silhouette's box scales about its edges, and is not cut.
    left, top, width, height = before.objects[1].extra["bbox_obj"]
    expected = [(left - 15) / 3, (top - 6) / 3, (width + 1) / 3 - 1, (height + 1) / 3 - 1]
    assert after.objects[1].extra["bbox_obj"] == pytest.approx(expected, abs=1e-8)


def test_projected_points_follow_any_change(tmp_path: Path) -> None:
    write_scene(tmp_path / "000000")
    before = objects_of(open_bop(tmp_path), "000000/rgb/000000.png")
    change = Change((HEIGHT, WIDTH), (5, 10), (40, 50), (77, 31))
    after = move_annotations(before, change, "a.png").entries["000000/scene_camera.json"]["cam_K"]
    point = np.array([12.0, -7.0, 500.0])
    (x, y), (x2, y2) = (
        ((np.array(matrix).reshape(3, 3) @ point) / 500)[:2] for matrix in (K, after)
    )  # pixel positions
    # The edges of the crop become the edges of the result.
    assert (x2 + 0.5) / 31 == pytest.approx((x - 10 + 0.5) / 50)
    assert (y2 + 0.5) / 77 == pytest.approx((y - 5 + 0.5) / 40)


def test_masks_stand_in_for_missing_boxes(tmp_path: Path) -> None:
    write_scene(tmp_path / "0", info=False)
    _, visible = cast(K, (HEIGHT, WIDTH))
    for each, seen in zip(objects_of(open_bop(tmp_path), "0/rgb/000000.png").objects, visible, strict=True):
        assert (each.box is None) == (not seen.any())
        if seen.any():
            assert each.box == tuple(coco_mask.toBbox(coco_mask.encode(np.asfortranarray(seen, np.uint8))))


def test_the_coco_file_of_a_scene_is_not_read_twice(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "000000")
    images = [{"id": 0, "file_name": "rgb/000000.png", "width": WIDTH, "height": HEIGHT}]
    (scene / "scene_gt_coco.json").write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    assert [source.format for source in read_contents(tmp_path).sources] == ["bop"]
    assert "000000/scene_gt_coco.json" in open_bop(tmp_path).files


def test_a_scene_alone_is_a_data_set(tmp_path: Path) -> None:
    source = open_bop(write_scene(tmp_path))
    assert list(source) == ["rgb/000000.png", "rgb/000001.png"]
    assert sum(each.mask is not None for each in objects_of(source, "rgb/000001.png").objects) == 3


def test_several_cameras_and_grey_images(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "000000", 1)
    for name in ("rgb", "depth", "mask", "mask_visib"):
        (scene / name).rename(scene / f"{name}_cam2")
    (scene / "rgb_cam2").rename(scene / "gray_cam2")
    for name in ("scene_gt", "scene_gt_info", "scene_camera"):
        (scene / f"{name}.json").rename(scene / f"{name}_cam2.json")
    source = open_bop(tmp_path)
    assert list(source) == ["000000/gray_cam2/000000.png"]
    assert sum(each.mask is not None for each in objects_of(source, "000000/gray_cam2/000000.png").objects) == 3
    assert source.label_images["000000/mask_visib_cam2/000000_000001.png"] == "000000/gray_cam2/000000.png"


def test_a_part_travels_to_another_process(tmp_path: Path) -> None:
    write_scene(tmp_path / "000000", 5)
    source = open_bop(tmp_path)
    part = pickle.loads(pickled := pickle.dumps(source.only(["000000/rgb/000003.png"], ["objects"])))
    assert b"000002" not in pickled  # nothing about other images
    assert list(part) == ["000000/rgb/000003.png"]
    assert part["000000/rgb/000003.png"] == source["000000/rgb/000003.png"]
    assert len(source) == 5


def test_images_that_are_missing_or_unknown(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "000000", 3)
    (scene / "rgb" / "000001.png").unlink()
    write_image(scene / "rgb" / "000009.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    source = open_bop(tmp_path)
    assert "000000/rgb/000001.png" in set(source)  # its labels have no image
    assert "000000/rgb/000009.png" not in source


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("scene_gt.json", '"obj_id": 2', '"obj_id": "2"', "obj_id of object 1 of image 0"),
        ("scene_gt.json", '"cam_t_m2c": [0.0, 0.0, 600.0]', '"cam_t_m2c": [0.0, 600.0]', "expected 3 numbers"),
        ("scene_gt.json", "]\n}", "]\n", "is no JSON object"),
        ("scene_camera.json", '"cam_K": [80.0, ', '"cam_K": [', "cam_K of its record in 000000/scene_camera.json"),
        ("scene_gt_info.json", "[{", '[{"bbox_obj": [1, 2]}, {', "has 4 objects in 000000/scene_gt.json, but 5"),
    ],
)
def test_faulty_records_concern_their_images(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    path = write_scene(tmp_path / "000000") / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    source = open_bop(tmp_path)
    with pytest.raises(ImageError, match=r"^000000/rgb/000000") as error:
        source["000000/rgb/000000.png"]
    assert message in str(error.value)


def test_other_folders_are_not_bop(tmp_path: Path) -> None:
    write_image(tmp_path / "rgb" / "1.png", np.zeros((4, 6), np.uint8))
    (tmp_path / "scene.json").write_text("{}")
    assert find(tmp_path, ["rgb/1.png", "scene.json"], ["rgb/1.png"]) == []
    assert find(tmp_path, ["a/scene_gt.json", "b/rgb/1.png"], ["b/rgb/1.png"]) == []
