"""Image arrays: nothing stretched, nothing lost between stored levels and [-1, 1], channels mapped by luma."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refiner.core.errors import ImageError
from refiner.images.arrays import (
    contact_sheet,
    equalization,
    equalize,
    eye_patch,
    from_planes,
    highest_level,
    resize,
    to_float,
    to_grey,
    to_planes,
    to_uint8,
)
from refiner.images.io import read_image

SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 7), st.sampled_from([1, 3, 4])).map(
    lambda shape: shape[:2] if shape[2] == 1 else shape
)
IMAGES = st.sampled_from([np.uint8, np.uint16]).flatmap(
    lambda dtype: SHAPES.flatmap(lambda shape: arrays(dtype, shape))
)


@given(image=IMAGES, channels=st.sampled_from([1, 3]))
@settings(max_examples=200, deadline=None)
def test_there_and_back_keeps_every_image(image: np.ndarray, channels: int) -> None:
    planes = to_planes(image, channels)
    assert planes.shape == (channels, *image.shape[:2])
    assert planes.dtype == np.float32
    assert np.abs(planes).max() <= 1 + 1e-6
    back = from_planes(planes, image)
    assert back.dtype == image.dtype
    assert np.array_equal(back, image)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_there_and_back_keeps_every_level(dtype: str, channels: int) -> None:
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(-1, 128)
    assert np.array_equal(from_planes(to_planes(levels, channels), levels), levels)
    colour = np.stack([levels, levels[::-1], np.roll(levels, 7)], axis=-1)
    assert np.array_equal(from_planes(to_planes(colour, channels), colour), colour)


@pytest.mark.parametrize(("dtype", "highest"), [("uint8", 255), ("uint16", 65535)])
def test_the_range_is_the_types_and_not_the_values(dtype: str, highest: int) -> None:
    image = np.array([[0, highest], [1, 2]], dtype)
    assert highest_level(image) == highest
    assert highest_level(image[1:]) == highest  # dark 16-bit images stay 16-bit
    planes = to_planes(image, 1)
    assert planes[0, 0].tolist() == [-1, 1]
    assert planes[0, 1] == pytest.approx([2 / highest - 1, 4 / highest - 1], abs=1e-6)


def test_luma_is_that_of_bt601_and_alpha_is_left_out() -> None:
    image = np.array([[[255, 0, 0, 9], [0, 255, 0, 99], [0, 0, 255, 255]]], np.uint8)
    assert to_planes(image, 1)[0, 0] == pytest.approx([2 * 0.299 - 1, 2 * 0.587 - 1, 2 * 0.114 - 1], abs=1e-6)
    assert to_grey(image).tolist() == [[76, 150, 29]]
    assert to_planes(image, 3)[:, 0, 1].tolist() == [-1, 1, -1]


def test_grey_becomes_three_equal_planes() -> None:
    planes = to_planes(np.array([[0, 255, 51]], np.uint8), 3)
    assert np.allclose(planes, np.array([[[-1, 1, -0.6]]] * 3), atol=1e-6)


def test_a_grey_change_moves_all_channels_alike_and_keeps_alpha() -> None:
    original = np.array([[[100, 120, 140, 7], [10, 20, 30, 0], [250, 128, 3, 255]]], np.uint8)
    refined = from_planes(to_planes(original, 1) + np.float32(10 / 127.5), original)
    assert refined.tolist() == [[[110, 130, 150, 7], [20, 30, 40, 0], [255, 138, 13, 255]]]


def test_colour_planes_replace_colour_and_keep_alpha() -> None:
    original = np.array([[[1, 2, 3, 40]]], np.uint16)
    planes = np.array([-1, 0, 1], np.float32).reshape(3, 1, 1)
    assert from_planes(planes, original).tolist() == [[[0, 32768, 65535, 40]]]


def test_grey_refined_by_a_colour_network_takes_the_luma() -> None:
    planes = np.array([1, -1, -1], np.float32).reshape(3, 1, 1)
    assert from_planes(planes, np.array([[9]], np.uint8)).tolist() == [[76]]


@given(image=IMAGES, planes=arrays(np.float32, (3, 1, 1), elements=st.floats(-9, 9, width=32)))
@settings(deadline=None)
def test_values_out_of_range_are_clipped_and_never_wrap(image: np.ndarray, planes: np.ndarray) -> None:
    pixel = image[:1, :1]
    highest = np.iinfo(pixel.dtype).max
    refined = from_planes(planes, pixel)
    exact = (planes[:, 0, 0].astype(float) + 1) * highest / 2
    expected = np.dot([0.299, 0.587, 0.114], exact) if pixel.ndim == 2 else exact
    # float32 knows 16-bit levels out of range no better than this
    assert np.abs(refined[0, 0].reshape(-1)[:3] - np.clip(expected, 0, highest)).max() <= 0.5 + highest * 2e-6


def test_grey_levels_are_8_bits_of_the_whole_range() -> None:
    planes = np.array([[[-1, 0, 1, 2, -2]]], np.float32)
    assert to_uint8(planes).tolist() == [[0, 128, 255, 255, 0]]
    assert to_uint8(np.repeat(planes, 3, axis=0)).shape == (1, 5, 3)


@given(image=IMAGES, size=st.tuples(st.integers(1, 9), st.integers(1, 9)))
@settings(deadline=None)
def test_resizing_gives_height_by_width_and_keeps_the_kind(image: np.ndarray, size: tuple[int, int]) -> None:
    resized = resize(image, size)
    assert resized.shape == (*size, *image.shape[2:])
    assert resized.dtype == image.dtype


@given(level=st.integers(0, 65535), size=st.tuples(st.integers(1, 20), st.integers(1, 20)))
@settings(deadline=None)
def test_a_constant_image_stays_constant_when_resized(level: int, size: tuple[int, int]) -> None:
    assert set(resize(np.full((5, 8), level, np.uint16), size).ravel()) == {level}


@pytest.mark.parametrize("size", [(11, 58), (19, 46), (12, 60), (60, 12), (57, 7), (76, 46), (30, 20), (38, 30)])
def test_resizing_moves_pixels_as_it_moves_points(size: tuple[int, int]) -> None:
    """In a picture of the rows, the pixel at y shows (y + 1/2) * 38 / height - 1/2; columns are alike."""
    shape = (38, 23)
    for axis, places in enumerate(np.mgrid[:38, :23].astype(np.uint16)):
        resized = resize(places * 100, size).astype(float) / 100
        wanted = (np.arange(size[axis]) + 0.5) * shape[axis] / size[axis] - 0.5
        means = resized.mean(axis=1 - axis)
        inside = (wanted > 1.5) & (wanted < shape[axis] - 2.5)  # cubic interpolation bends at the frame
        assert np.abs(means - wanted)[inside].max() < 0.1


def test_shrinking_averages_areas() -> None:
    image = np.array([[0, 100, 10, 20], [40, 60, 30, 40]], np.uint8)
    assert resize(image, (1, 2)).tolist() == [[50, 25]]
    assert resize(image, (2, 4)) is image


def test_equalising_flattens_the_histogram_and_keeps_the_order() -> None:
    image = (np.arange(24 * 40).reshape(24, 40) % 32 + 100).astype(np.uint8)
    flat = equalize(image)
    assert flat.min() == 0
    assert flat.max() == 255
    assert np.all(np.diff(flat[0, :28].astype(int)) > 0)
    assert equalization(flat) < 0.01 < 0.1 < equalization(image)


def test_equalising_colour_moves_luma_and_keeps_alpha() -> None:
    rng = np.random.default_rng(0)
    image = np.concatenate([rng.integers(90, 150, (16, 24, 3)), rng.integers(0, 256, (16, 24, 1))], axis=2)
    image = image.astype(np.uint8)
    flat = equalize(image)
    assert np.array_equal(flat[..., 3], image[..., 3])
    change = flat[..., :3].astype(int) - image[..., :3]
    inside = (flat[..., :3] > 0).all(axis=2) & (flat[..., :3] < 255).all(axis=2)
    assert inside.mean() > 0.5
    assert np.ptp(change[inside], axis=1).max() == 0


def test_equalization_of_known_images() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(8, 32)
    assert equalization(ramp) == 0
    assert equalization(ramp.astype(np.uint16) * 257) == 0
    assert equalization(np.full((3, 5), 255, np.uint8)) == 1
    # Levels 100 and 101 become 0 and 255: they move by 100 and 154.
    assert equalization(np.array([[100, 101], [101, 100]], np.uint8)) == pytest.approx(127 / 255)


def test_a_large_dark_iris_does_not_hide_that_an_image_was_equalised() -> None:
    image = (np.arange(24 * 40).reshape(24, 40) % 90 + 100).astype(np.uint8)
    image[5:20, 8:30] = 20
    assert equalization(equalize(image)) < 0.01


def test_equalization_tells_equalised_photographs_from_others(real_data: Path) -> None:
    def values(folder: str, suffix: str) -> list[float]:
        files = sorted((real_data / folder).glob(f"*{suffix}"))[:60]
        return [equalization(read_image(file)) for file in files]

    assert np.median(values("mpiigaze_p00_dev/images", ".png")) < 0.02
    assert np.median(values("columbia_dev/images", ".png")) < 0.02
    assert np.median(values("columbia_dev/images_raw", ".png")) > 0.09
    assert np.median(values("webcam_dev/images", ".jpg")) > 0.09


def test_a_contact_sheet_repeats_pixels_between_white_gaps() -> None:
    first, second = np.array([[10, 20, 30], [40, 50, 60]], np.uint8), np.zeros((2, 3), np.uint8)
    sheet = contact_sheet([[first, second], [second]], scale=2, gap=1)
    assert sheet.shape == (1 + 2 * (4 + 1), 1 + 2 * (6 + 1))
    assert sheet[1:5, 1:7].tolist() == first.repeat(2, 0).repeat(2, 1).tolist()
    assert (sheet[1:5, 8:14] == 0).all()
    assert (sheet[0] == 255).all()
    assert (sheet[6:10, 8:] == 255).all()  # the short row is filled with white


def test_a_contact_sheet_of_grey_and_colour_is_rgb() -> None:
    colour = np.zeros((2, 3, 4), np.uint8)
    colour[..., 1], colour[..., 3] = 200, 9
    sheet = contact_sheet([[np.full((2, 3), 7, np.uint8), colour]], scale=1, gap=0)
    assert sheet.shape == (2, 6, 3)
    assert sheet[0, 0].tolist() == [7, 7, 7]
    assert sheet[0, 3].tolist() == [0, 200, 0]


def test_colour_comes_back_in_the_order_of_a_decoded_image() -> None:
    """Its luma would else be summed in another order, and rounded otherwise now and then."""
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    back = from_planes(to_planes(image, 3), image)
    assert back.flags.c_contiguous
    assert np.array_equal(back, image)


def test_an_eye_patch_is_the_grey_8_bit_image_of_any_kind() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 24)).astype(np.uint8)
    assert np.array_equal(eye_patch(image, (16, 24), equalize=True, name="x")[0], cv2.equalizeHist(image))
    deep = eye_patch(image.astype(np.uint16) * 257, (16, 24), equalize=False, name="x")
    assert np.array_equal(deep[0], image)
    colour = eye_patch(np.dstack([image] * 3 + [image // 2]), (16, 24), equalize=False, name="x")
    assert np.array_equal(colour[0], image)
    with pytest.raises(ImageError, match="is 16x24, too far from the shape of 24x16"):
        eye_patch(image, (24, 16), equalize=False, name="x")


def test_to_float_agrees_with_to_planes() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.allclose(to_float(torch.from_numpy(levels)[None]).numpy(), to_planes(levels, 1), atol=1e-6)
