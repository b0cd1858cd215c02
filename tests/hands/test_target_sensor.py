"""The simulated target sensor: the noise it adds, the pixels it loses, and those it keeps."""

import numpy as np

from refiner.data.formats.nyu_hand import BACKGROUND, CUBE_MM, FAR_LEVEL
from refiner.hands.rendering import rendered_hands
from refiner.hands.skeleton import HandRanges
from refiner.hands.target_sensor import TargetSensor

CLEAN = {"blur_mm": 0.1, "step_mm": 0.005, "scatter_mm": 0.0, "edge_loss": 0.0, "spots": 0.0}


def plane(slope: float = 0.0) -> np.ndarray:
    """A square surface amid background, 150 mm into the cube, turned away by a slope."""
    image = np.full((48, 60), BACKGROUND, np.uint16)
    rise = slope * CUBE_MM / 48 * (np.arange(40) - 20)
    image[8:40, 10:50] = np.rint((150 + rise) / CUBE_MM * FAR_LEVEL)
    return image


def millimetres(image: np.ndarray) -> np.ndarray:
    return np.where(image == BACKGROUND, np.nan, image / FAR_LEVEL * CUBE_MM)


def test_without_noise_it_is_the_identity() -> None:
    (record,) = rendered_hands(HandRanges(), 1, seed=1)
    seen = TargetSensor(0, **CLEAN)(record.image, 0)
    assert np.array_equal(seen == BACKGROUND, record.image == BACKGROUND)
    hand = record.image != BACKGROUND
    assert np.abs(seen[hand].astype(float) - record.image[hand]).max() <= 2


def test_scatter_is_as_wide_as_it_says_and_wider_on_a_slope() -> None:
    sensor, inner = TargetSensor(0, **{**CLEAN, "scatter_mm": 2.0}), (slice(12, 36), slice(14, 46))
    flat, steep = (
        np.nanstd(millimetres(sensor(plane(slope), 0))[inner] - millimetres(plane(slope))[inner])
        for slope in (0.0, 1.0)
    )
    assert 1.8 < flat < 2.2
    assert 1.7 < steep / flat < 2.3  # 1 + slope


def test_depth_comes_in_steps() -> None:
    seen = millimetres(TargetSensor(0, **{**CLEAN, "step_mm": 4.0, "scatter_mm": 3.0})(plane(), 0))
    found = np.unique(seen[np.isfinite(seen)])
    assert len(found) > 3
    assert np.allclose(found / 4, np.rint(found / 4), atol=0.01)


def test_edges_are_lost_and_the_inside_stays() -> None:
    seen = TargetSensor(0, **{**CLEAN, "edge_loss": 0.5})(plane(), 0)
    edge = np.zeros(seen.shape, bool)
    edge[8:40, 10:50] = True
    edge[9:39, 11:49] = False
    assert 0.35 < (seen[edge] == BACKGROUND).mean() < 0.65
    assert (seen[9:39, 11:49] != BACKGROUND).all()
    assert (seen[:8] == BACKGROUND).all()


def test_blur_never_mixes_hand_and_background() -> None:
    seen = millimetres(TargetSensor(0, **{**CLEAN, "blur_mm": 20.0})(plane(), 0))
    assert np.nanmax(np.abs(seen - 150)) < 0.1


def test_noise_follows_from_seed_and_number() -> None:
    sensor = TargetSensor(5)
    assert np.array_equal(sensor(plane(), 3), TargetSensor(5)(plane(), 3))
    assert not np.array_equal(sensor(plane(), 3), sensor(plane(), 4))
    assert not np.array_equal(sensor(plane(), 3), TargetSensor(6)(plane(), 3))
