"""A refiner that copies real images is found; one that does not is not accused."""

import pytest
import torch
from torch.nn import functional

from refiner.core.rng import torch_generator
from refiner.metrics.memorization import copied, nearest

SIZE = (12, 20)


def images(seed: int, count: int = 300) -> torch.Tensor:
    coarse = torch.rand(count, 1, 3, 5, generator=torch_generator(seed, "scenes")) * 1.6 - 0.8
    return functional.interpolate(coarse, SIZE, mode="bicubic", align_corners=False).clamp(-1, 1)


def test_the_nearest_real_image_is_found_under_other_light() -> None:
    real = images(0)
    found = nearest(0.5 * real[[7, 3]] + 0.2, real)
    assert found.numbers.tolist() == [7, 3]
    assert found.distances.tolist() == pytest.approx([0, 0], abs=2e-3)
    assert nearest(-real[:5], real[:5]).distances.min() > 0.5


def test_pasted_real_images_are_copies_and_others_are_not() -> None:
    real = images(0)
    noise = 0.02 * torch.randn(real.shape, generator=torch_generator(1, "noise"))
    assert copied(real.roll(5, dims=0) + noise, real, seed=0).low > 0.9
    assert copied(images(2), real, seed=0).value < 0.05
    half = torch.cat([real[:150], images(2)[:150]])
    assert copied(half, real, seed=0).value == pytest.approx(0.5, abs=0.05)


def test_pictures_of_one_person_set_no_limit() -> None:
    """Ten pictures of each of 30 people: a second picture of the same one is no sign of copying others."""
    people = images(0, 30).repeat_interleave(10, dim=0)
    people = people + 0.02 * torch.randn(people.shape, generator=torch_generator(1, "noise"))
    groups = [str(number // 10) for number in range(300)]
    assert copied(people.roll(5, dims=0), people, seed=0, groups=groups).value > 0.9
    with pytest.raises(ValueError, match="cannot be halved"):
        copied(people, people, seed=0, groups=["a"] * 300)


def test_one_pixel_high_images_are_compared_too() -> None:
    batch = torch.rand(8, 1, 1, 9)
    assert nearest(batch, batch).numbers.tolist() == list(range(8))
