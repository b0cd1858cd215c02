"""Masks beside renders are told from renders by name and content."""

from pathlib import Path

import numpy as np
import pytest

from refiner.data.folders.label_images import find_label_images
from refiner.images.io import Image, write_image

SHAPE = (24, 36)


def instances(seed: int) -> Image:
    """Return a mask of 48 instances."""
    labels = np.arange(48, dtype=np.uint8).reshape(6, 8).repeat(12, axis=0).repeat(12, axis=1)
    return np.roll(labels, seed, axis=1)


def render(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, SHAPE, dtype=np.uint8)


def mask(seed: int, values: tuple[int, int, int] = (0, 1, 255)) -> Image:
    labels = np.full(SHAPE, values[0], np.uint8)
    labels[4:20, 5 + seed : 25] = values[1]
    labels[8:14, 10:18] = values[2]
    return labels


def found(root: Path, images: dict[str, Image]) -> dict[str, str | None]:
    for name, image in images.items():
        write_image(root / name, image)
    return find_label_images(root, sorted(images))


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("{}.png", "{}_seg.png"),
        ("{}.png", "{}-mask.png"),
        ("{}.png", "{}_iris.png"),  # a word of no special meaning
        ("{}.png", "mask_{}.png"),
        ("{}.jpg", "{}_labels.png"),
        ("{}_rgb.png", "{}_mask.png"),
        ("img_{}.png", "mask_{}.png"),
        ("{}_leftImg8bit.png", "{}_gtFine_labelIds.png"),
        ("{}.png", "mask/{}.png"),
        ("images/{}.png", "masks/{}.png"),
        ("p00/images/{}.png", "p00/labels/{}_mask.png"),
        ("images/{}.png", "classes of pixels/{}.png"),
        ("images/{}.png", "targets/{}.png"),  # the content tells
    ],
)
def test_masks_are_found_with_their_images(tmp_path: Path, image: str, label: str) -> None:
    pairs = {label.format(f"00{n}"): image.format(f"00{n}") for n in range(4)}
    images = {name: render(n) for n, name in enumerate(pairs.values())}
    masks = {name: mask(n) for n, name in enumerate(pairs)}
    assert found(tmp_path, images | masks) == pairs


def test_a_mask_stored_as_jpeg_is_found_by_its_name(tmp_path: Path) -> None:
    images: dict[str, Image] = {f"{n}.png": render(n) for n in range(3)}
    masks = {f"{n}_mask.jpg": mask(n, (0, 120, 240)) for n in range(3)}
    assert found(tmp_path, images | masks).keys() == masks.keys()


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("{}.png", "{}_depth.tiff"),
        ("{}.png", "normals_{}.png"),
        ("{}_rgb.png", "{}_depth.png"),
        ("color-{}.png", "depth-{}.png"),
        ("rgb/{}.png", "depth/{}.png"),
        ("{}.png", "flow/{}.png"),
        ("{}_colors.png", "{}_normals.png"),  # pictures of BlenderProc's hdf5 containers
        ("img/front/{}_img_front.png", "depth/front/{}_depth_front.png"),  # SHIFT
        ("image_lcam_front/{}_lcam_front.png", "depth_lcam_front/{}_lcam_front_depth.png"),  # TartanAir
        ("frames/Image/camera_0/Image_{}_0.png", "frames/Depth/camera_0/Depth_{}_0.png"),  # Infinigen
        ("leftImg8bit/a_{}_leftImg8bit.png", "disparity/a_{}_disparity.png"),  # Cityscapes
        ("{}/full/rgb_rawlight.png", "{}/full/depth.png"),  # Structured3D
        ("Image{}.png", "Normal{}.png"),  # Blender's compositor
        ("final/alley/frame_{}.png", "albedo/alley/frame_{}.png"),  # Sintel
    ],
)
def test_maps_are_found_by_their_names_whatever_they_hold(tmp_path: Path, image: str, label: str) -> None:
    pairs = {label.format(f"00{n}"): image.format(f"00{n}") for n in range(4)}
    images = {name: render(n) for n, name in enumerate([*pairs, *pairs.values()])}
    assert found(tmp_path, images) == pairs


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("{}_rgb.png", "{}_iseg.png"),
        ("img/001/{}.jpg", "inst/001/{}.png"),
        ("images/front/{}_img.jpg", "insseg/front/{}_insseg.png"),
        ("train2017/{}.jpg", "annotations/panoptic_train2017/{}.png"),
        ("leftImg8bit/{}_leftImg8bit.png", "gtFine/{}_gtFine_instanceIds.png"),
    ],
)
def test_masks_of_many_instances_are_found_by_their_names(tmp_path: Path, image: str, label: str) -> None:
    labels = {label.format(f"00{n}"): instances(n) for n in range(3)}
    assert found(tmp_path, {image.format(f"00{n}"): render(n) for n in range(3)} | labels).keys() == labels.keys()


def test_the_only_mask_of_a_part_of_camvid_is_found(tmp_path: Path) -> None:
    images: dict[str, Image] = {name: render(n) for n, name in enumerate(("train/1.png", "train/2.png", "val/3.png"))}
    masks = {name: mask(n) for n, name in enumerate(("trainannot/1.png", "trainannot/2.png", "valannot/3.png"))}
    assert found(tmp_path, images | masks) == {name: name.replace("annot", "") for name in masks}


def test_normal_is_a_class_except_beside_other_maps(tmp_path: Path) -> None:
    classes: dict[str, Image] = {f"{kind}/{n}.png": render(n) for kind in ("normal", "broken") for n in range(3)}
    assert found(tmp_path, classes) == {}
    labels = found(tmp_path, classes | {f"depth/{n}.png": render(9 + n) for n in range(3)})
    assert labels == {f"{kind}/{n}.png": f"broken/{n}.png" for kind in ("normal", "depth") for n in range(3)}


def test_a_map_and_its_copy_in_other_units_have_the_same_image(tmp_path: Path) -> None:
    names = [f"{n}{end}.png" for n in range(3) for end in ("", ".depth", ".depth.mm.16")]
    labels = found(tmp_path, {name: render(n) for n, name in enumerate(names)})
    assert labels == {name: f"{name[0]}.png" for name in names if "depth" in name}


@pytest.mark.parametrize(
    ("first", "second"), [("depth_1_{}.png", "synthdepth_1_{}.png"), ("depth/{}.png", "a/x{}.png")]
)
def test_depth_images_without_colour_images_are_images(tmp_path: Path, first: str, second: str) -> None:
    names = [name.format(n) for n in range(4) for name in (first, second)]
    assert found(tmp_path, {name: render(n) for n, name in enumerate(names)}) == {}


@pytest.mark.parametrize("folder", ["mask", "masks/seg", "labels"])
def test_a_folder_of_photographs_stays_one_whatever_its_name(tmp_path: Path, folder: str) -> None:
    images: dict[str, Image] = {f"{n}.png": render(n) for n in range(3)}
    assert found(tmp_path, images | {f"{folder}/{n}.png": render(10 + n) for n in range(3)}) == {}


def test_images_alone_are_images(tmp_path: Path) -> None:
    """Masks on their own, people with images of the same names, numbers in names, and dark images."""
    assert found(tmp_path / "a", {f"{n}_mask.png": mask(n) for n in range(3)}) == {}
    people: dict[str, Image] = {f"p0{p}/{n}.png": render(9 * p + n) for p in range(3) for n in range(3)}
    assert found(tmp_path / "b", people) == {}
    assert found(tmp_path / "c", {f"1{end}.png": render(3) for end in ("", "_1", "_2", "_left", "_left_2")}) == {}
    dark = dict.fromkeys(("p00/1.png", "p00/2.png"), np.zeros(SHAPE, np.uint8))
    assert found(tmp_path / "d", people | dark) == {}


def test_a_black_mask_and_a_mask_without_image_belong_to_their_kind(tmp_path: Path) -> None:
    images: dict[str, Image] = {f"{n}.png": render(n) for n in range(9)}
    masks = {f"{n}_mask.png": mask(0) for n in range(8)} | {"gone_mask.png": mask(1), "8_mask.png": mask(1, (0, 0, 0))}
    labels = found(tmp_path, images | masks)
    assert labels.keys() == masks.keys()
    assert labels["gone_mask.png"] is None
    assert labels["8_mask.png"] == "8.png"
