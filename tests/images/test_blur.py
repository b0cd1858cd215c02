"""The bell by hand, images apart, borders, gradients."""

import math

import torch

from refiner.images.blur import blur


def bell(deviation: float, reach: int) -> list[float]:
    weights = [math.exp(-(step**2) / (2 * deviation**2)) for step in range(-reach, reach + 1)]
    return [weight / sum(weights) for weight in weights]


def test_a_point_becomes_the_bell_of_its_image() -> None:
    images = torch.zeros(2, 1, 7, 9)
    images[:, :, 3, 4] = 1
    blurred = blur(images, torch.tensor([0.8, 1.5]), reach=2)
    for image, deviation in zip(blurred, (0.8, 1.5), strict=True):
        rows = torch.zeros(7)
        rows[1:6] = torch.tensor(bell(deviation, 2))
        columns = torch.zeros(9)
        columns[2:7] = torch.tensor(bell(deviation, 2))
        assert torch.allclose(image[0], rows[:, None] * columns, atol=1e-6)


def test_borders_repeat_and_channels_stay_apart() -> None:
    images = torch.stack([torch.full((5, 6), 0.25), torch.full((5, 6), -0.5)])[None]
    assert torch.allclose(blur(images, torch.tensor([1.1]), reach=3), images, atol=1e-6)
    edge = torch.zeros(1, 1, 4, 6)
    edge[..., 0] = 1
    weights = bell(1.1, 3)
    assert torch.allclose(
        blur(edge, torch.tensor([1.1]), reach=3)[0, 0, 0, :2],
        torch.tensor([sum(weights[:4]), sum(weights[:3])]),
        atol=1e-6,
    )


def test_gradients_pass() -> None:
    images = torch.rand(2, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: blur(x, torch.tensor([0.6, 1.4]), reach=2), (images,))
