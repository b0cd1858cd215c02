"""Masks beside renders are told from renders by name and content."""

from pathlib import Path

import numpy as np
import pytest

from refiner.data.folders.label_images import find_label_images
from refiner.images.io import Image, write_image

SHAPE = (24, 36)


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
    ],
)
def test_maps_are_found_by_their_names_whatever_they_hold(tmp_path: Path, image: str, label: str) -> None:
    pairs = {label.format(f"00{n}"): image.format(f"00{n}") for n in range(4)}
    images = {name: render(n) for n, name in enumerate([*pairs, *pairs.values()])}
    assert found(tmp_path, images) == pairs


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
