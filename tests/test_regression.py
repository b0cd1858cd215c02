import torch

from refiner.randomness import torch_generator
from refiner.regression import vary_appearance


def test_appearance_varies_and_nothing_moves() -> None:
    images = -torch.ones(40, 1, 20, 30)
    images[:, :, 5:9, 12:18] = 1.0
    varied = vary_appearance(images, torch_generator(0, "a"))
    assert varied.shape == images.shape
    assert varied.abs().max() <= 1
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    weight = varied - varied.amin(dim=(2, 3), keepdim=True)
    weight = weight * (weight > weight.amax(dim=(2, 3), keepdim=True) / 2)
    centre_y, centre_x = ((weight * axis).sum((1, 2, 3)) / weight.sum((1, 2, 3)) for axis in (y, x))
    assert (centre_y.median() - 6.5).abs() < 0.3
    assert (centre_x.median() - 14.5).abs() < 0.3
    assert varied.mean(dim=(1, 2, 3)).std() > 0.05


def test_the_same_draws_give_the_same_images() -> None:
    images = torch.rand(4, 1, 6, 10) * 2 - 1
    first, second = (vary_appearance(images, torch_generator(3, "a")) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, vary_appearance(images, torch_generator(4, "a")))
