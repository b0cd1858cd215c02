"""The simulated target camera, and the gap between the two domains."""

import numpy as np
import pytest
import torch

from refiner.eyes.rendering import render_eyes
from refiner.eyes.scene.parameters import EyeParameters
from refiner.eyes.target_camera import TargetCamera, target_parameters


def _rendered(parameters: EyeParameters, count: int) -> np.ndarray:
    """uint8 (N, 36, 60)."""
    images = render_eyes(parameters.model_copy(update={"images_per_person": 1}), range(count), seed=6).images
    return ((images[:, 0] + 1) * 127.5).round().to(torch.uint8).numpy()


@pytest.mark.parametrize("shape", [(36, 60), (24, 40, 3)])
def test_camera_is_deterministic_and_keeps_shape(shape):
    image = np.random.default_rng(1).integers(60, 200, shape, dtype=np.uint8)
    camera = TargetCamera(3)
    taken = camera(image, 5)
    camera(image, 6)
    assert taken.shape == image.shape
    assert taken.dtype == np.uint8
    assert np.array_equal(taken, camera(image, 5))
    assert np.array_equal(taken, TargetCamera(3)(image, 5))
    assert not np.array_equal(taken, camera(image, 6))
    assert not np.array_equal(taken, TargetCamera(4)(image, 5))
    assert not np.array_equal(taken, image)


@pytest.mark.parametrize("image", [np.zeros((8, 12), np.float32), np.zeros((8, 12, 4), np.uint8)])
def test_camera_names_what_it_cannot_take(image):
    with pytest.raises(ValueError, match="must be uint8"):
        TargetCamera(1)(image, 0)


def test_camera_leaves_points_where_they_are():
    image = np.full((36, 60), 200, np.uint8)
    image[12:19, 34:41] = 20
    y, x = np.mgrid[:36, :60]
    for index in range(10):
        taken = TargetCamera(2)(image, index).astype(float)
        dark = np.clip((np.median(taken) + taken.min()) / 2 - taken, 0, None)
        assert (dark * x).sum() / dark.sum() == pytest.approx(37, abs=0.5)
        assert (dark * y).sum() / dark.sum() == pytest.approx(15, abs=0.5)


def test_the_two_domains_differ_with_and_without_the_camera():
    synthetic, others = _rendered(EyeParameters(), 150), _rendered(target_parameters(), 150)
    camera = TargetCamera(1)
    real = np.stack([camera(image, index) for index, image in enumerate(others)])
    contrast = [images.std(axis=(1, 2)).mean() for images in (synthetic, others, real)]
    assert contrast[2] < 0.8 * contrast[0]  # images of the camera are flatter
    edge = [np.abs(np.diff(images.astype(float), axis=2)).mean() for images in (synthetic, real)]
    assert edge[1] < 0.9 * edge[0] or edge[1] > 1.1 * edge[0]
    brightness = [images.mean(axis=(1, 2)) for images in (synthetic, others)]
    spread = np.sqrt((brightness[0].var() + brightness[1].var()) / 2)
    assert abs(brightness[0].mean() - brightness[1].mean()) > 0.15 * spread  # the people differ, before any camera
    assert brightness[1].max() > brightness[0].min() + spread  # but overlap
