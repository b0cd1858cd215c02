"""Sharpness and noise of real images in renders, against NumPy's convolutions and known noise."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refiner.models.files.refiner_file import load_refiner, save_refiner
from refiner.models.statistics.architecture import FourierArchitecture, HistogramArchitecture
from refiner.models.statistics.camera import _NOISE_OF_BAND, camera_properties, through_camera
from refiner.models.statistics.fourier import FourierRefiner
from refiner.models.statistics.histogram import HistogramRefiner

Plane = np.ndarray[Any, np.dtype[np.float64]]
SPLINE = np.array([1, 4, 6, 4, 1]) / 16
SIZE = (40, 66)


def draws(count: int) -> list[bytes]:
    return [hashlib.sha256(bytes([number])).digest() for number in range(count)]


def smoothed(plane: Plane, step: int) -> Plane:
    """The spline with taps ``step`` pixels apart, along both axes, by NumPy's convolution of the padded image."""
    taps = np.zeros(4 * step + 1)
    taps[::step] = SPLINE
    for axis in (0, 1):
        pad = [(2 * step, 2 * step) if axis == own else (0, 0) for own in (0, 1)]
        plane = np.apply_along_axis(np.convolve, axis, np.pad(plane, pad, mode="edge"), taps, mode="valid")
    return plane


def details(plane: Plane) -> list[Plane]:
    once = smoothed(plane, 1)
    return [plane - once, once - smoothed(once, 2)]


def sharp(band: Plane) -> float:
    return float(np.quantile(np.abs(band), 0.95, method="inverted_cdf"))


def batch(*planes: Plane) -> torch.Tensor:
    return torch.from_numpy(np.stack(planes)[:, None])


def eye(height: int = SIZE[0], width: int = SIZE[1]) -> Plane:
    """A dark disc on a slope of light: an edge, and flat places of every brightness."""
    y, x = np.mgrid[:height, :width]
    return np.where(np.hypot(y - height / 2, x - width / 3) < height / 4, 0.2, 0.4 + 0.4 * x / width)


@pytest.mark.parametrize("size", [SIZE, (9, 30)], ids=str)
def test_sharpness_is_a_quantile_of_the_details(size: tuple[int, int]) -> None:
    plane = np.random.default_rng(1).random(size)
    sharpness = camera_properties(batch(plane))[0, 0, :, 0].tolist()
    assert sharpness == pytest.approx([sharp(band) for band in details(plane)], rel=1e-4)


@pytest.mark.parametrize("brightness", [0.3, 0.8])
@pytest.mark.parametrize("deviation", [0.01, 0.04])
def test_noise_of_a_flat_image_is_found(brightness: float, deviation: float) -> None:
    noise = np.random.default_rng(2).normal(0, deviation, (160, 240))
    found = camera_properties(batch(brightness + noise))[0, 0, :, 1].numpy() * brightness
    expected = [np.square(band).mean() for band in details(noise)]
    # Flat places are chosen, so that noise is never taken for more than it is.
    assert (found < expected).all()
    assert found[0] > 0.7 * expected[0]
    assert found[1] > 0.4 * expected[1]


def test_edges_are_no_noise() -> None:
    assert camera_properties(batch(eye()))[0, 0, :, 1].max() < 1e-5
    assert camera_properties(batch(eye()))[0, 0, 0, 0] > 0.01


def test_an_image_with_the_properties_of_the_real_one_stays() -> None:
    image = batch(eye() + np.random.default_rng(3).normal(0, 0.02, SIZE))
    same = through_camera(image, camera_properties(image), draws(1))
    np.testing.assert_allclose(same, image, atol=1e-6)


def test_details_are_damped_to_those_of_the_real_image_and_do_not_move() -> None:
    real = smoothed(smoothed(eye(), 1), 1)
    wanted, image = camera_properties(batch(real)), batch(eye())
    (result,) = through_camera(image, wanted, draws(1)).numpy()[:, 0]
    first, second = details(eye())
    gains = [sharp(own) / sharp(band) for own, band in zip(details(real), (first, second), strict=True)]
    gains = [min(max(gain, 0.2), 1) for gain in gains]
    assert gains[0] < 0.5
    np.testing.assert_allclose(result, eye() - (1 - gains[0]) * first - (1 - gains[1]) * second, atol=2e-3)
    # A mirrored image gives the mirrored result.
    (mirrored,) = through_camera(image.flip(-1), wanted, draws(1)).numpy()[:, 0]
    np.testing.assert_allclose(mirrored[:, ::-1], result, atol=2e-3)


def test_a_real_image_never_sharpens() -> None:
    soft = smoothed(smoothed(eye(), 1), 1)
    wanted = camera_properties(batch(eye()))
    np.testing.assert_allclose(through_camera(batch(soft), wanted, draws(1))[0, 0], soft, atol=2e-3)


@pytest.mark.parametrize("deviation", [0.01, 0.05])
def test_missing_noise_is_added_by_brightness(deviation: float) -> None:
    rng = np.random.default_rng(4)
    real = 0.5 + rng.normal(0, deviation, (120, 200))
    halves = np.repeat([[0.2, 0.8]], 120, axis=0).repeat(100, axis=1)
    added = through_camera(batch(halves), camera_properties(batch(real)), draws(1))[0, 0].numpy() - halves
    dark, bright = added[:, 10:90].std(), added[:, 110:190].std()
    assert bright / dark == pytest.approx(2, rel=0.05)  # the root of 0.8 / 0.2
    fine = np.std(details(added)[0][:, 110:190])
    assert fine == pytest.approx(np.std(details(real)[0]) * (0.8 / 0.5) ** 0.5, rel=0.15)
    assert abs(added.mean()) < 0.1 * deviation


def test_the_share_of_white_noise_in_each_band() -> None:
    impulse = np.zeros((41, 41))
    impulse[20, 20] = 1
    expected = [np.sqrt(np.square(band).sum()) for band in details(impulse)]
    assert pytest.approx(expected, abs=2e-3) == _NOISE_OF_BAND


@settings(deadline=None, max_examples=30)
@given(
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    level=st.sampled_from([0.0, 0.5, 1.0]),
    flat=st.booleans(),
)
def test_any_size_and_level(size: tuple[int, int], level: float, flat: bool) -> None:
    rng = np.random.default_rng(5)
    image = np.full(size, level) if flat else rng.random(size)
    real = camera_properties(batch(rng.random(size)))
    result = through_camera(batch(image), real, draws(1))
    assert result.shape == (1, 1, *size)
    assert torch.isfinite(result).all()


@pytest.mark.parametrize("kind", ["fourier", "histogram"])
def test_refiners_keep_the_camera_of_real_images(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    reals = np.stack([eye() + rng.normal(0, deviation, SIZE) for deviation in (0.0, 0.06)])[:, None]
    plain: FourierRefiner | HistogramRefiner
    if kind == "fourier":
        refiner, plain = (FourierRefiner(FourierArchitecture(1, 2, SIZE, camera=camera)) for camera in (True, False))
    else:
        refiner, plain = (HistogramRefiner(HistogramArchitecture(1, 2, camera=camera)) for camera in (True, False))
    for one in (refiner, plain):
        one.fit(0, torch.from_numpy(reals.clip(0, 1) * 2 - 1).float())
        one.eval()
    images = batch(*(eye() * scale for scale in np.linspace(0.5, 1, 12))).float() * 2 - 1
    names = draws(len(images))
    refined, without = refiner(images, names), plain(images, names)
    # Each render gets what the refiner gives without a camera, as the camera of its own example takes it.
    for number, draw in enumerate(names):
        example = int.from_bytes(draw[:8], "little") % 2
        taken = through_camera(
            (without[number : number + 1].double() + 1) / 2, refiner.camera[example : example + 1], [draw]
        )
        np.testing.assert_allclose(refined[number].numpy(), taken[0].clamp(0, 1) * 2 - 1, atol=2e-6)
        assert torch.equal(refiner(images[number : number + 1], [draw])[0], refined[number])
    # The refiner file holds the properties, and no image.
    save_refiner(tmp_path / "refiner.safetensors", refiner, training={})
    loaded = load_refiner(tmp_path / "refiner.safetensors")
    assert loaded.architecture == refiner.architecture
    assert torch.equal(loaded.network()(images, names), refined)
    assert "sharpness and noise" in refiner.architecture.summary


def test_a_file_states_the_camera_as_true_or_false() -> None:
    with pytest.raises(ValueError, match="camera is 1; expected true or false"):
        FourierArchitecture(camera=1)  # type: ignore[arg-type]
