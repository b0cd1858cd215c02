import math

import pytest
import torch

from refiner.gaze.training import augmentation
from refiner.gaze.training.augmentation import strong_augmentation


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(64, 1, 18, 30, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8


def test_keeps_shape_and_range_and_leaves_its_input_alone(images: torch.Tensor) -> None:
    before = images.clone()
    changed = strong_augmentation(images, strength=2.0, seed=0, step=0)
    assert changed.shape == images.shape
    assert changed.isfinite().all()
    assert changed.abs().max() <= 1
    assert torch.equal(images, before)


def test_follows_from_seed_and_step(images: torch.Tensor) -> None:
    first, again = (strong_augmentation(images, strength=1.0, seed=1, step=5) for _ in range(2))
    torch.rand(3)
    assert torch.equal(first, again)
    assert not torch.equal(first, strong_augmentation(images, strength=1.0, seed=1, step=6))
    assert not torch.equal(first, strong_augmentation(images, strength=1.0, seed=2, step=5))


def test_no_strength_changes_nothing(images: torch.Tensor) -> None:
    assert strong_augmentation(images, strength=0.0, seed=0, step=0) is images


def test_more_strength_changes_more(images: torch.Tensor) -> None:
    small, large = ((strong_augmentation(images, strength=s, seed=0, step=0) - images).abs().mean() for s in (0.1, 1.0))
    assert 0 < small < large / 3


def test_a_dot_stays_within_some_pixels() -> None:
    """Labels do not follow, so the eye must not go far: 2.4 of 60 pixels, and 8 % of its distance from the middle."""
    images = torch.full((200, 1, 36, 60), 0.5)
    images[:, :, 17:20, 29:32] = -0.9
    changed = strong_augmentation(images, strength=0.7, seed=3, step=0)
    lowest = changed.flatten(1).argmin(dim=1)
    rows, columns = lowest // 60, lowest % 60
    near = ((rows - 18).abs() <= 5) & ((columns - 30).abs() <= 5)
    assert near.float().mean() > 0.6  # covers and shades make another place darkest now and then


def test_the_move_is_that_of_a_sampling_grid(images: torch.Tensor) -> None:
    """The same scale and shift through torch's general resampling."""
    from torch.nn import functional

    class Drawn:
        def __init__(self) -> None:
            self.values = iter([0.05, 1.3, -0.7])

        def around(self, size: float) -> torch.Tensor:
            return torch.full((64, 1, 1, 1), next(self.values))

    moved = augmentation._move(images, Drawn())
    scale = math.exp(0.05)
    theta = torch.tensor([[scale, 0, -0.7 * 2 / 30], [0, scale, 1.3 * 2 / 18]]).expand(64, -1, -1)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    assert torch.allclose(
        moved, functional.grid_sample(images, grid, padding_mode="border", align_corners=False), atol=1e-5
    )
