"""Amplitudes of real images in renders, against NumPy's transform of the whole image."""

from typing import Any

import numpy as np
import pytest
import torch

from refiner.models.statistics.architecture import FourierArchitecture
from refiner.models.statistics.fourier import FourierRefiner, centred_window, low_amplitudes, replace_amplitudes

Plane = np.ndarray[Any, np.dtype[np.float64]]


def adapted_by_numpy(image: Plane, real: Plane, border: int) -> Plane:
    """The rule of the paper: the amplitudes of a square around the zero frequency, with the phases of the image."""
    rows, columns = (np.abs(np.fft.fftfreq(side, 1 / side)) for side in image.shape)
    inside = np.maximum(rows[:, None], columns[None]) <= border
    spectrum, other = np.fft.fft2(image), np.fft.fft2(real)
    amplitude = np.where(inside, np.abs(other), np.abs(spectrum))
    result = np.fft.ifft2(amplitude * np.exp(1j * np.angle(spectrum)))
    assert np.abs(result.imag).max() < 1e-9
    return np.asarray(result.real)


@pytest.mark.parametrize("size", [(8, 13), (7, 6), (1, 5), (36, 60)], ids=str)
@pytest.mark.parametrize("border", [0, 1, 3, 20])
def test_amplitudes_are_replaced_as_by_a_whole_transform(size: tuple[int, int], border: int) -> None:
    rng = np.random.default_rng(1)
    image, real = rng.random(size), rng.random(size)
    amplitudes = low_amplitudes(torch.from_numpy(real), border + 2)
    adapted = replace_amplitudes(torch.from_numpy(image), amplitudes, centred_window(border, border + 2))
    np.testing.assert_allclose(adapted.numpy(), adapted_by_numpy(image, real, border), atol=1e-12)


def test_a_flat_render_keeps_its_shape_and_takes_the_brightness() -> None:
    real = torch.from_numpy(np.random.default_rng(1).random((9, 14)))
    adapted = replace_amplitudes(torch.full((9, 14), 0.7), low_amplitudes(real, 3), centred_window(3, 3))
    assert adapted.numpy() == pytest.approx(float(real.mean()), abs=1e-7)  # rounding errors have no phase


def waves(height: int, width: int) -> Plane:
    """An image of low frequencies alone, at any resolution."""
    y, x = np.arange(height)[:, None] / height, np.arange(width)[None] / width
    return 0.5 + 0.1 * np.cos(2 * np.pi * (y + 2 * x) + 1) + 0.2 * np.cos(2 * np.pi * (x - y) + 2)


def test_an_image_of_another_size_is_the_same_scene_at_another_resolution() -> None:
    refiner = FourierRefiner(FourierArchitecture(size=(16, 24), beta=(0.2, 0.2)))
    real = waves(16, 24)[:, ::-1] * 0.5
    refiner.fit(0, torch.from_numpy(real.copy())[None, None].float() * 2 - 1)
    small, large = (
        refiner(torch.from_numpy(waves(*size))[None, None].float() * 2 - 1)[0, 0] for size in ((16, 24), (48, 72))
    )
    np.testing.assert_allclose(large[::3, ::3], small, atol=1e-5)
    assert float((small + 1).mean()) == pytest.approx(2 * real.mean(), abs=1e-5)


def adapted_planes(image: Plane, real: Plane, border: int) -> Plane:
    planes = [adapted_by_numpy(*pair, border) for pair in zip(image, real, strict=True)]
    return np.clip(planes, 0, 1)


def test_each_image_gets_one_example_and_a_strength_whatever_its_batch() -> None:
    rng = np.random.default_rng(2)
    architecture = FourierArchitecture(channels=3, examples=4, size=(10, 16), beta=(0.1, 0.3))
    assert architecture.bins == 3
    refiner = FourierRefiner(architecture).eval()
    reals, images = rng.random((4, 3, 10, 16)), rng.random((20, 3, 10, 16)).astype(np.float32) * 2 - 1
    refiner.fit(0, torch.from_numpy(reals * 2 - 1))
    together = refiner(torch.from_numpy(images))
    used = set()
    for image, refined in zip(images, together.numpy(), strict=True):
        assert np.array_equal(refiner(torch.from_numpy(image[None]))[0].numpy(), refined)
        # Exactly one choice explains all three channels.
        fits = [
            (example, border)
            for example, real in enumerate(reals)
            for border in (1, 2, 3)
            if np.allclose(
                adapted_planes((image.astype(float) + 1) / 2, real, border), (refined.astype(float) + 1) / 2, atol=1e-6
            )
        ]
        assert len(fits) == 1
        used.add(fits[0])
    assert {example for example, _ in used} == {0, 1, 2, 3}
    assert {border for _, border in used} == {1, 2}  # 3 only at the very end of the range
