"""Each change by hand on small pictures, its range, its gradient, and that both axes are not mixed up."""

import pytest
import torch
from torch import Tensor

from refiner.core.rng import torch_generator
from refiner.training.methods.diffaugment import augment, cut_out, shift_levels, stretch_levels, translate

ALL = {"translation": 0.25, "cutout": 0.5, "brightness": 0.5, "contrast": 0.5, "blur": 1.2}


def counted(count: int = 1, channels: int = 1, height: int = 2, width: int = 3) -> Tensor:
    """1, 2, 3, ... in reading order."""
    return torch.arange(1.0, count * channels * height * width + 1).view(count, channels, height, width)


def draws(position: int = 0) -> torch.Generator:
    return torch_generator(0, "augment", position)


def test_levels_by_hand() -> None:
    images = torch.tensor([0.0, 0.5]).expand(2, 1, 1, 2)
    assert shift_levels(images, torch.tensor([0.25, -1])).flatten().tolist() == [0.25, 0.75, -1, -0.5]
    stretched = stretch_levels(images, torch.tensor([2.0, 0]))  # around 0.25
    assert stretched.flatten().tolist() == [-0.25, 0.75, 0.25, 0.25]


def test_contrast_is_about_the_mean_of_each_image_over_its_channels() -> None:
    images = torch.tensor([[[[0.0]], [[1.0]]], [[[2.0]], [[4.0]]]])  # means 0.5 and 3
    assert stretch_levels(images, torch.tensor([0.5, 2])).flatten().tolist() == [0.25, 0.75, 1, 5]


def test_translation_by_hand() -> None:
    """[[1, 2, 3], [4, 5, 6]] one down; two to the left; and beyond the border."""
    moved = translate(counted().expand(3, 1, 2, 3), torch.tensor([[1, 0], [0, -2], [2, 1]]))
    assert moved[:, 0].tolist() == [[[0, 0, 0], [1, 2, 3]], [[3, 0, 0], [6, 0, 0]], [[0, 0, 0], [0, 0, 0]]]


def test_translation_moves_each_image_and_all_of_its_channels_alike() -> None:
    images, shifts = torch.rand(3, 2, 5, 7), torch.tensor([[1, -2], [0, 0], [-3, 4]])
    expected = torch.zeros_like(images)
    for n, (down, right) in enumerate(shifts.tolist()):
        for y in range(5):
            for x in range(7):
                if 0 <= y - down < 5 and 0 <= x - right < 7:
                    expected[n, :, y, x] = images[n, :, y - down, x - right]
    assert torch.equal(translate(images, shifts), expected)


def test_cutout_by_hand() -> None:
    cut = cut_out(counted().expand(2, 1, 2, 3), torch.tensor([[0, 1], [1, -1]]), (1, 2))
    assert cut[:, 0].tolist() == [[[1, 0, 0], [4, 5, 6]], [[1, 2, 3], [0, 5, 6]]]


def test_nothing_asked_for_is_nothing_done_and_nothing_drawn() -> None:
    images, generator = counted(), draws()
    before = generator.get_state()
    assert augment(images, generator) is images
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("options", [ALL, *({name: strength} for name, strength in ALL.items())], ids=str)
def test_same_draws_give_the_same_images_and_others_give_others(options: dict[str, float]) -> None:
    images = torch.rand(4, 3, 8, 12) * 2 - 1
    changed = augment(images, draws(), **options)
    assert changed.shape == images.shape
    assert torch.equal(changed, augment(images, draws(), **options))
    assert not torch.equal(changed, augment(images, draws(1), **options))
    assert not torch.equal(changed - images, (changed - images)[:1].expand_as(images))  # each image its own way


def test_strengths_are_the_farthest_that_is_drawn() -> None:
    """8 rows shift by up to 1, 12 columns by up to 2 (1.5 rounds up); a cutout hides 4 x 6 pixels, fewer at borders."""
    ones, centre = torch.ones(2000, 1, 8, 12), torch.zeros(2000, 1, 8, 12)
    centre[:, :, 4, 6] = 1
    places = augment(centre, draws(), translation=0.125).nonzero()[:, 2:]
    assert (places - torch.tensor([4, 6])).unique(dim=0).tolist() == [[y, x] for y in (-1, 0, 1) for x in range(-2, 3)]
    hidden = (augment(ones, draws(), cutout=0.5) == 0).sum(dim=(1, 2, 3))
    assert hidden.max() == 4 * 6
    assert hidden.min() == 2 * 3  # half of each side lies inside at least
    levels = augment(torch.zeros_like(ones), draws(), brightness=0.5)[:, 0, 0, 0]
    assert -0.5 <= levels.min() < -0.49
    assert 0.49 < levels.max() <= 0.5
    assert levels.mean().abs() < 0.02
    ones[..., ::2] = -1  # mean 0, so the factor is the value
    factors = augment(ones, draws(), contrast=0.5)[:, 0, 0, 1]
    assert 0.5 <= factors.min() < 0.51
    assert 1.49 < factors.max() <= 1.5


def test_blur_goes_from_nothing_to_its_strength() -> None:
    """A point keeps 1 / (deviation sqrt(2 pi)) of itself along each axis, where the bell is wider than a pixel."""
    point = torch.zeros(2000, 1, 25, 27)
    point[:, :, 12, 13] = 1
    blurred = augment(point, draws(), blur=3.0)
    assert torch.allclose(blurred.sum(dim=(1, 2, 3)), torch.ones(2000), atol=1e-4)
    deviations = (blurred[:, 0, 12, 13] * 2 * torch.pi).rsqrt()
    assert 2.94 < deviations.max() <= 3.02
    assert abs((deviations > 1.5).float().mean() - 0.5) < 0.04  # evenly
    assert (blurred[:, 0, 12, 13] > 0.999).any()


def test_every_pixel_is_cut_out_at_times() -> None:
    """By 3 x 5 pixels around any of 8 x 12: 15 centres hide a pixel inside, 2 x 3 one in a corner."""
    hidden = (augment(torch.ones(4000, 1, 8, 12), draws(), cutout=0.4) == 0).float().mean(dim=(0, 1))
    assert torch.allclose(hidden[1:-1, 2:-2], torch.tensor(15 / 96), atol=0.025)
    assert torch.allclose(hidden[::7, ::11], torch.tensor(6 / 96), atol=0.02)


def test_gradients_pass() -> None:
    images = torch.rand(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: augment(x, draws(), **ALL), (images,))
    moved = augment(images, draws(), translation=0.5)
    (gradient,) = torch.autograd.grad(moved.sum(), images)
    assert torch.equal(gradient.sum(), (moved != 0).sum())  # 1 for each pixel that is still seen
