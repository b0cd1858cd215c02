"""What renderers write beside their renders, in the layouts of their writers: nothing but the renders is refined."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from refiner.data.folders.contents import explain_no_images, read_contents
from refiner.data.labels.picture_names import Frames, is_colour_render
from refiner.images.io import Image, write_image

HEIGHT, WIDTH = 24, 40


def render(seed: int, channels: int = 3) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, channels), dtype=np.uint8)


def regions(seed: int, count: int) -> np.ndarray:
    """Numbers of rectangles in front of nothing, 0."""
    rng = np.random.default_rng(seed)
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    for number in range(1, count + 1):
        top, left = rng.integers(0, HEIGHT - 8), rng.integers(0, WIDTH - 9)
        numbers[top : top + 8, left : left + 9] = number
    return numbers


def in_colours(path: Path, seed: int) -> None:
    """A segmentation with a colour for each of many objects, alpha included."""
    colours = np.random.default_rng(7).integers(0, 256, (41, 4), dtype=np.uint8)
    colours[:, 3] = 255
    write_image(path, colours[regions(seed, 40)])


def with_palette(path: Path, seed: int) -> None:
    """A segmentation as VOC and Kubric write it: numbers, and a colour for each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Pillow.fromarray(regions(seed, 4))
    picture.putpalette(np.random.default_rng(1).integers(0, 256, 768, dtype=np.uint8).tobytes())
    picture.save(path)


def in_red(path: Path, seed: int) -> None:
    """CARLA's semantic segmentation: the class is in the red channel."""
    zeros = np.zeros((HEIGHT, WIDTH), np.uint8)
    write_image(path, np.stack([regions(seed, 5), zeros, zeros, zeros + 255], -1))


def smooth(path: Path, seed: int) -> None:
    """A map of 16 bits, such as normals or a flow; every pixel differs from the next."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    write_image(path, np.stack([y * 900 + x, x * 700 + seed, y * x * 3], -1).astype(np.uint16))


def in_floats(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).random((HEIGHT, WIDTH), np.float32))


def other(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"{}" + bytes([seed]))


def opaque(path: Path, seed: int) -> None:
    write_image(path, render(seed, 4 if path.name.startswith("rgb") and path.suffix == ".png" else 3))


Writer = Callable[[Path, int], None]

REPLICATOR: dict[str, Writer] = {
    "semantic_segmentation_{:04d}.png": in_colours,
    "instance_segmentation_{:04d}.png": in_colours,
    "instance_id_segmentation_{:04d}.png": in_colours,
    "normals_{:04d}.png": smooth,
    "instance_segmentation_mapping_{:04d}.json": other,
    "instance_segmentation_semantics_mapping_{:04d}.json": other,
    "bounding_box_2d_tight_{:04d}.npy": other,
    "bounding_box_2d_tight_labels_{:04d}.json": other,
    "distance_to_camera_{:04d}.npy": other,
    "camera_params_{:04d}.json": other,
}

LAYOUTS: dict[str, tuple[str, dict[str, Writer]]] = {
    "replicator": ("rgb_{:04d}.png", REPLICATOR),
    "replicator with a folder for each output": (
        "Camera_01/rgb/rgb_{:04d}.png",
        {f"Camera_01/{name.rpartition('_')[0]}/{name}": writer for name, writer in REPLICATOR.items()},
    ),
    "kubric": (
        "rgba_{:05d}.png",
        {
            "segmentation_{:05d}.png": with_palette,
            "depth_{:05d}.tiff": in_floats,
            "normal_{:05d}.png": smooth,
            "forward_flow_{:05d}.png": smooth,
            "backward_flow_{:05d}.png": smooth,
            "object_coordinates_{:05d}.png": smooth,
            "uv_{:05d}.png": smooth,
        },
    ),
    "falling things": (
        "{:06d}.left.jpg",
        {
            "{:06d}.left.seg.png": in_colours,
            "{:06d}.left.depth.png": smooth,
            "{:06d}.left.json": other,
        },
    ),
    "ndds": (
        "{:06d}.png",
        {
            "{:06d}.cs.png": with_palette,
            "{:06d}.is.png": with_palette,
            "{:06d}.depth.mm.16.png": smooth,
            "{:06d}.json": other,
        },
    ),
    "voc": (
        "JPEGImages/2007_{:06d}.jpg",
        {
            "SegmentationClass/2007_{:06d}.png": with_palette,
            "SegmentationObject/2007_{:06d}.png": with_palette,
            "Annotations/2007_{:06d}.xml": other,
        },
    ),
    "hypersim": (
        "images/scene_cam_01_final_preview/frame.{:04d}.color.jpg",
        {
            "images/scene_cam_01_geometry_preview/frame.{:04d}.depth_meters.png": smooth,
            "images/scene_cam_01_geometry_preview/frame.{:04d}.normal_cam.png": smooth,
            "images/scene_cam_01_geometry_preview/frame.{:04d}.semantic.png": in_colours,
            "images/scene_cam_01_geometry_hdf5/frame.{:04d}.depth_meters.hdf5": other,
        },
    ),
    "gta": ("images/{:05d}.png", {"labels/{:05d}.png": in_colours}),
    "carla": (
        "rgb/{:08d}.png",
        {"semantic/{:08d}.png": in_red, "instance/{:08d}.png": in_colours, "depth/{:08d}.png": smooth},
    ),
    "carla in one folder": (
        "{:06d}_rgb.png",
        {"{:06d}_semantic.png": in_red, "{:06d}_instance.png": in_colours, "{:06d}_depth.png": smooth},
    ),
    "virtual kitti": (
        "Scene01/clone/frames/rgb/Camera_0/rgb_{:05d}.jpg",
        {
            "Scene01/clone/frames/classSegmentation/Camera_0/classgt_{:05d}.png": in_colours,
            "Scene01/clone/frames/instanceSegmentation/Camera_0/instancegt_{:05d}.png": with_palette,
            "Scene01/clone/frames/depth/Camera_0/depth_{:05d}.png": smooth,
            "Scene01/clone/frames/forwardFlow/Camera_0/flow_{:05d}.png": smooth,
        },
    ),
    "unity perception before SOLO": (
        "RGBf1b2c3d4-1111-2222-3333-444455556666/rgb_{}.png",
        {
            "SemanticSegmentationa1b2c3d4-1111-2222-3333-444455556666/segmentation_{}.png": in_colours,
            "InstanceSegmentationb1b2c3d4-1111-2222-3333-444455556666/Instance_{}.png": in_colours,
        },
    ),
    "scenenet": ("0/223/photo/{}.jpg", {"0/223/depth/{}.png": smooth, "0/223/instance/{}.png": with_palette}),
    "synthia": ("RGB/{:07d}.png", {"GT/COLOR/{:07d}.png": in_colours, "Depth/Depth/{:07d}.png": smooth}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_outputs_of_a_frame_belong_to_its_render(tmp_path: Path, layout: str) -> None:
    image, outputs = LAYOUTS[layout]
    pictures: dict[str, str] = {}
    files: dict[str, str] = {}
    for number in range(3):
        opaque(tmp_path / image.format(number), number)
        for name, write in outputs.items():
            write(tmp_path / name.format(number), number)
            (files if write is other else pictures)[name.format(number)] = image.format(number)
    contents = read_contents(tmp_path)
    assert contents.images == [image.format(number) for number in range(3)]
    assert contents.label_images == pictures
    assert contents.companions == files
    assert not contents.unsupported
    assert not contents.others


@pytest.mark.parametrize(
    ("images", "others"),
    [
        ("rgb/normal/{}.png", "rgb/defect/{}.png"),  # "normal" is a class here
        ("train/normal/{}.png", "train/broken/{}.png"),
        ("rgb_{}.png", "rgb_night_{}.png"),
        ("depth/{}.png", "depth_clean/{}.png"),
        ("distance_{}.png", "far_{}.png"),
    ],
)
def test_renders_stay_renders(tmp_path: Path, images: str, others: str) -> None:
    for number in range(3):
        for name in (images, others):
            write_image(tmp_path / name.format(number), render(number)[..., 0])
    assert len(read_contents(tmp_path).images) == 6


def test_renders_are_told_from_coloured_labels_by_their_paths() -> None:
    assert all(map(is_colour_render, ("rgb_1.png", "a/rgba/1.png", "depth_set/rgb/1.png", "1.color.jpg", "RGB/0.png")))
    labels = ("GT/COLOR/1.png", "depth_color_1.png", "colored_mask.png", "rgb/mask/1.png", "1.png", "programs_1.png")
    assert not any(map(is_colour_render, labels))


def test_among_several_cameras_the_path_that_agrees_longest_counts() -> None:
    frames = Frames(["a/cam_00_final/f.0001.color.jpg", "a/cam_01_final/f.0001.color.jpg"])
    assert frames.find("a/cam_01_geometry/f.0001.semantic.png") == "a/cam_01_final/f.0001.color.jpg"
    assert frames.find("a/cam_01_geometry/f.0002.semantic.png") is None


def test_containers_of_blenderproc_are_explained(tmp_path: Path) -> None:
    (tmp_path / "0.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n")
    explained = explain_no_images(tmp_path, read_contents(tmp_path))
    assert "found 1 other files, such as 0.hdf5" in explained
    assert "write_coco_annotations" in explained
