"""Distances: known values, nothing between two samples of one source, more the further apart."""

import math

import pytest
import torch
from torch.nn import functional

from refiner.core.rng import torch_generator
from refiner.metrics.distances import (
    _pyramid,
    diversity,
    kernel_distance,
    sliced_wasserstein,
    spectrum,
    spectrum_distance,
)

SIZE = (24, 40)


def images(seed: int, count: int = 60, *, channels: int = 1) -> torch.Tensor:
    """Soft random scenes."""
    coarse = torch.rand(count, channels, 6, 10, generator=torch_generator(seed, "scenes")) * 1.6 - 0.8
    return functional.interpolate(coarse, SIZE, mode="bicubic", align_corners=False).clamp(-1, 1)


def test_sliced_wasserstein_grows_with_the_change() -> None:
    first, second = images(0), images(1)
    noise = torch.randn(first.shape, generator=torch_generator(2, "noise"))
    assert sliced_wasserstein(first, first, seed=0) == 0
    same = sliced_wasserstein(first, second, seed=0)
    distances = [sliced_wasserstein(first + size * noise, second, seed=0) for size in (0.05, 0.1, 0.3)]
    assert same < distances[0] < distances[1] < distances[2]
    assert sliced_wasserstein(first, second, seed=0) == same
    assert sliced_wasserstein(first, second, seed=1) != same


def test_sliced_wasserstein_sees_one_channel_of_three() -> None:
    first = images(0, channels=3)
    shifted = torch.cat([first[:, :1] + 0.5, first[:, 1:]], dim=1)
    found = sliced_wasserstein(shifted, first, seed=0)
    assert found > 2 * sliced_wasserstein(first, images(1, channels=3), seed=0)
    with pytest.raises(ValueError, match="expected one shape"):
        sliced_wasserstein(first, first[:, :1], seed=0)


@pytest.mark.parametrize("size", [(5, 9), (14, 20), (36, 60)])
def test_sliced_wasserstein_takes_any_size(size: tuple[int, int]) -> None:
    batch = torch.rand(8, 1, *size)
    assert math.isfinite(sliced_wasserstein(batch, batch.flip(0), seed=0))


@pytest.mark.parametrize(
    ("size", "heights"),
    [
        ((36, 60), [36, 18]),
        ((35, 55), [35, 17]),
        ((12, 20), [12]),
        ((96, 128), [96, 48, 24]),
        ((130, 80), [130, 65, 32]),
    ],
)
def test_large_images_are_compared_at_more_scales(size: tuple[int, int], heights: list[int]) -> None:
    levels = _pyramid(torch.rand(1, 3, *size))
    assert [level.shape[2] for level in levels] == heights


def test_kernel_distance_by_hand() -> None:
    """One feature: k(x, y) = (xy + 1)^3."""
    first, second = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    within = 1, 27  # k(0, 1) and k(1, 2)
    between = (1 + 1 + 8 + 27) / 4
    assert kernel_distance(first, second) == pytest.approx(1000 * (sum(within) - 2 * between))


def test_kernel_distance_is_zero_in_the_mean_for_one_source() -> None:
    generator = torch_generator(0, "features")
    found = [kernel_distance(*torch.randn(2, 50, 16, generator=generator)) for _ in range(200)]
    mean = sum(found) / len(found)
    error = math.sqrt(sum((value - mean) ** 2 for value in found) / len(found) / len(found))
    assert abs(mean) < 3 * error
    assert min(found) < 0 < max(found)
    assert kernel_distance(torch.randn(50, 16, generator=generator) + 1, torch.zeros(50, 16)) > 100 * abs(mean)


def test_a_wave_stands_at_its_frequency() -> None:
    column = torch.arange(40)
    wave = torch.cos(2 * math.pi * 0.25 * column).expand(1, 1, 24, 40)
    bands = spectrum(wave)
    assert len(bands) == 17  # twelve up to 1/2, five more up to the corner at 0.707
    assert int(bands.argmax()) == 5  # the sixth, of which the twelfth is 1/2
    assert bands[5] - bands[10] > 5


def test_blur_and_checkerboards_show_in_the_spectrum() -> None:
    first, second = images(0), images(1)
    signs = (torch.arange(24)[:, None] + torch.arange(40)) % 2 * 2.0 - 1
    same = spectrum_distance(first, second)
    assert spectrum_distance(first, first) == 0
    assert spectrum_distance(first + 0.05 * signs, second) > 3 * same
    assert spectrum_distance(functional.avg_pool2d(first, 3, 1, 1), second) > 2 * same
    noise = 0.3 * torch.randn(first.shape, generator=torch_generator(2, "noise"))
    assert spectrum_distance(noise * math.sqrt(math.e), noise) == pytest.approx(1, abs=0.01)  # power times e


def test_diversity_is_a_share() -> None:
    batch = images(0)
    assert diversity(batch, batch) == pytest.approx(1)
    assert diversity(0.5 * batch + 0.2, batch) == pytest.approx(0.5)
    assert diversity(batch[:1].expand(60, -1, -1, -1), batch) == 0
