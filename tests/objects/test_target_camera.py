"""The camera changes how things look, and moves nothing."""

from typing import Any

import numpy as np
import pytest

from refiner.images.arrays import to_grey
from refiner.objects.records import rendered_scenes
from refiner.objects.scene import SceneRanges
from refiner.objects.target_camera import ObjectCamera, _demosaic


def test_the_same_number_gets_the_same_image() -> None:
    image = np.full((24, 32, 3), 128, np.uint8)
    first, again, other = (ObjectCamera(7)(image, number) for number in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()
    assert (ObjectCamera(8)(image, 0) != first).any()
    assert (first.shape, first.dtype) == (image.shape, image.dtype)


def test_light_is_warm_dim_and_lost_in_the_corners() -> None:
    taken = ObjectCamera(0)(np.full((96, 128, 3), 200, np.uint8), 0).astype(float)
    middle, corner = taken[40:56, 56:72].mean(axis=(0, 1)), taken[:8, :8].mean(axis=(0, 1))
    assert middle[0] > middle[2] + 20
    assert (middle < 200).all()
    assert (corner < middle - 5).all()


def test_nothing_moves() -> None:
    """Details correlate best without a shift, to a tenth of a pixel."""
    offsets = []
    for number, record in enumerate(rendered_scenes(SceneRanges(), 12, seed=0)):
        before, after = (_details(image) for image in (record.image, ObjectCamera(0)(record.image, number)))
        for axis in (0, 1):
            left, middle, right = (float((before * np.roll(after, -by, axis)).sum()) for by in (-1, 0, 1))
            assert middle > max(left, right)
            offsets.append(0.5 * (left - right) / (left - 2 * middle + right))
    assert abs(np.mean(offsets)) < 0.1


def _details(image: Any) -> Any:
    """Return differences of second order, which leave out smooth light."""
    grey = to_grey(image).astype(float)
    return 4 * grey - sum(np.roll(grey, by, axis) for by in (-2, 2) for axis in (0, 1))


def test_demosaicing_keeps_a_plain_colour_and_a_slope_in_place() -> None:
    x = np.linspace(0, 1, 20, dtype=np.float32)
    slope = np.repeat(np.repeat(x[None, :, None], 12, axis=0), 3, axis=2)
    assert np.allclose(_demosaic(slope)[2:-2, 2:-2], slope[2:-2, 2:-2], atol=1e-6)
    assert np.allclose(_demosaic(np.ones((7, 9, 3), np.float32)), 1)


def test_a_grey_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be uint8 \(H, W, 3\)"):
        ObjectCamera(0)(np.zeros((8, 12), np.uint8), 0)
