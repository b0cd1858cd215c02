"""Losses by hand, against a double loop over images and patches, and against their gradients."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from refiner.core.rng import BatchSlice, torch_generator
from refiner.losses.adversarial import cross_entropy_discriminator_loss, cross_entropy_refiner_loss
from refiner.losses.penalties import gradient_penalty, r1_penalty
from refiner.losses.self_regularization import (
    SELF_REGULARIZATIONS,
    blurred,
    image_gradients,
    pixels_and_gradients,
    self_regularization_loss,
    standardized,
)


def test_self_regularization_by_hand() -> None:
    synthetic, refined = torch.zeros(2, 1, 2, 3), torch.zeros(2, 1, 2, 3)
    refined[1, 0, 1, 2] = 0.6
    assert float(self_regularization_loss(refined, synthetic)) == pytest.approx(0.6 / 12)


def test_self_regularization_in_a_feature_space() -> None:
    refined = torch.stack([torch.full((1, 2, 3), 0.5), torch.full((1, 2, 3), -0.5)], dim=1)  # hue moves, mean stays
    loss = self_regularization_loss(refined, torch.zeros_like(refined), features=lambda x: x.mean(1, keepdim=True))
    assert float(loss) == 0


def test_self_regularization_refuses_shapes_that_broadcast() -> None:
    with pytest.raises(ValueError, match="expected one shape"):
        self_regularization_loss(torch.zeros(2, 1, 4, 6), torch.zeros(1, 1, 4, 6))


def test_a_dot_costs_more_than_a_shade_with_gradients() -> None:
    """0.8 in one of 20 pixels, or 0.04 in each: the same on pixels alone, 4 more differences of 0.8 for the dot."""
    shade, dot, nothing = torch.full((1, 1, 4, 5), 0.04), torch.zeros(1, 1, 4, 5), torch.zeros(1, 1, 4, 5)
    dot[0, 0, 1, 2] = 0.8
    assert float(self_regularization_loss(dot, nothing)) == pytest.approx(0.04)
    assert float(self_regularization_loss(shade, nothing)) == pytest.approx(0.04)
    cost = [float(self_regularization_loss(x, nothing, features=pixels_and_gradients)) for x in (dot, shade)]
    assert cost == pytest.approx([5 * 0.8 / 60, 0.8 / 60])


@pytest.mark.parametrize("factor", [(2, 1, 1), (1, 2, 2)], ids=["batch", "size"])
def test_lambda_does_not_depend_on_batch_or_image_size(factor: tuple) -> None:
    """The ratio of adversarial loss to self-regularization is the same for a batch repeated or enlarged."""

    def ratio(logits: Tensor, refined: Tensor, synthetic: Tensor) -> float:
        return float(cross_entropy_refiner_loss(logits) / self_regularization_loss(refined, synthetic))

    logits, (refined, synthetic) = torch.randn(2, 1, 3, 4), torch.randn(2, 2, 1, 6, 8)
    repeat = (factor[0], 1, *factor[1:])
    large = ratio(logits.repeat(repeat), refined.repeat(repeat), synthetic.repeat(repeat))
    assert large == pytest.approx(ratio(logits, refined, synthetic), rel=1e-5)


def test_gradients() -> None:
    logits, real = torch.randn(2, 2, 1, 2, 3, dtype=torch.float64, requires_grad=True).unbind()
    assert torch.autograd.gradcheck(lambda a, b: cross_entropy_discriminator_loss(a, b, smoothing=0.1), (logits, real))
    assert torch.autograd.gradcheck(cross_entropy_refiner_loss, (logits,))
    images = torch.randn(2, 1, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: self_regularization_loss(a, torch.zeros_like(a)), (images,))


def test_image_gradients_by_hand() -> None:
    """To the right 1, 2 and 0 across the border; below 10."""
    images = torch.tensor([[0.0, 1, 3], [10, 11, 13]])[None, None]
    right, below = [[1, 2, 0], [1, 2, 0]], [[10, 10, 10], [0, 0, 0]]
    assert image_gradients(images).tolist() == [[right, below]]
    assert image_gradients(torch.rand(2, 3, 4, 5)).shape == (2, 6, 4, 5)
    assert torch.equal(image_gradients(images + 5), image_gradients(images))


def test_blur_by_hand() -> None:
    """A spike in a corner: the corner averages 3 x 3 pixels, the pixel two away 5 x 3, three away it is not seen."""
    images = torch.zeros(1, 1, 3, 8)
    images[..., 0, 0] = 45.0
    assert torch.allclose(blurred(images)[0, 0, 0], torch.tensor([45 / 9, 45 / 12, 45 / 15, 0, 0, 0, 0, 0]))
    assert torch.allclose(blurred(torch.full((2, 3, 1, 1), 0.3)), torch.full((2, 3, 1, 1), 0.3))


def test_standardized_channels_pass_exposure_and_white_balance_but_no_exchange_of_colours() -> None:
    images = torch.rand((2, 3, 5, 7), generator=torch_generator(0, "images")) * 0.8 - 0.4
    found, flat = standardized(images).numpy(), images.numpy().astype("float64")
    expected = (flat[1, 2] - flat[1, 2].mean()) / (flat[1, 2].var() + 1e-3) ** 0.5
    np.testing.assert_allclose(found[1, 2], expected, atol=1e-5)
    gains, offsets = torch.tensor([0.9, 1.1, 1.2])[:, None, None], torch.tensor([-0.3, 0.1, 0.2])[:, None, None]

    def loss(refined: Tensor) -> float:
        return float(self_regularization_loss(refined, images, features=standardized))

    assert loss(gains * images + offsets) < 0.01  # only the damping of small deviations is left
    assert loss(images[:, [1, 0, 2]]) > 0.5
    assert torch.equal(standardized(torch.full((1, 3, 1, 4), 0.7)), torch.zeros(1, 3, 1, 4))


def test_what_self_regularization_lets_pass() -> None:
    """Texture costs less when blurred, exposure nothing as gradients, hue nothing as the mean of the channels."""
    synthetic, texture = torch.zeros(1, 3, 9, 13), torch.full((1, 3, 9, 13), 0.1)
    texture[..., ::2, ::2] *= -1
    texture[..., 1::2, 1::2] *= -1
    hue = torch.tensor([0.3, -0.1, -0.2])[:, None, None].expand(1, 3, 9, 13)

    def loss(refined: Tensor, name: str) -> float:
        return float(self_regularization_loss(refined, synthetic, features=SELF_REGULARIZATIONS[name]))

    assert loss(texture, "pixels") == pytest.approx(0.1)
    assert loss(texture, "blurred") < 0.02
    assert loss(texture.abs(), "gradients") == pytest.approx(0)
    assert loss(texture.abs(), "blurred") == pytest.approx(0.1)
    assert loss(hue, "channel_mean") == pytest.approx(0, abs=1e-7)
    assert loss(hue, "pixels") == pytest.approx(0.2)


@pytest.mark.parametrize("name", [name for name, features in SELF_REGULARIZATIONS.items() if features])
def test_self_regularization_passes_its_gradient(name: str) -> None:
    features = SELF_REGULARIZATIONS[name]
    images = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(features, (images,))
    assert len(features(images)) == 2
    assert features(torch.zeros(1, 1, 1, 1)).isfinite().all()


class Linear(torch.nn.Module):
    """A discriminator that is a convolution: the gradient of a logit is the kernel."""

    def __init__(self, kernel: Tensor, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = torch.nn.Parameter(kernel), stride

    def forward(self, images: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(images, self.kernel, stride=self.stride)


def test_r1_penalty_by_hand() -> None:
    """Patches side by side: 1 + 4 + 9 + 16 = 30 for each, whatever the signs; its gradient is twice the kernel."""
    discriminator = Linear(torch.tensor([[[[1.0, 2], [3, 4]]]]), stride=2)
    penalty = r1_penalty(discriminator, torch.randn(3, 1, 4, 6), torch_generator(0, "r1"))
    assert penalty.item() == pytest.approx(30)
    penalty.backward()
    assert torch.allclose(discriminator.kernel.grad, 2 * discriminator.kernel)


def test_r1_penalty_of_overlapping_patches_is_the_mean_over_patches() -> None:
    """Against a loop with one backward pass for each patch."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Tanh(), torch.nn.Conv2d(4, 1, 3))
    real = torch.randn(2, 1, 6, 7)
    expected = []
    for n in range(2):
        image = real[n : n + 1].clone().requires_grad_()
        for logit in network(image).flatten():
            (gradient,) = torch.autograd.grad(logit, image, retain_graph=True)
            expected.append(float(gradient.square().sum()))
    found = r1_penalty(network, real.repeat(400, 1, 1, 1), torch_generator(0, "r1"))  # 400 draws of the signs
    assert found.item() == pytest.approx(sum(expected) / len(expected), rel=0.05)


def test_r1_penalty_does_not_depend_on_batch_or_image_size() -> None:
    discriminator = Linear(torch.ones(1, 1, 2, 3), stride=3)
    for shape in ((1, 1, 5, 9), (4, 1, 11, 12)):
        assert r1_penalty(discriminator, torch.randn(shape), torch_generator(0, "r1")).item() == pytest.approx(6)


def test_gradient_penalty_by_hand() -> None:
    """A linear critic of two patches: the slope is |kernel| / 2 on each, |kernel| / sqrt 2 on the image."""
    discriminator = Linear(torch.tensor([[[[1.0, 2], [2, 4]]]]), stride=2)  # norm 5
    refined, real = torch.randn(2, 3, 1, 2, 4)
    penalty = gradient_penalty(discriminator, refined, real, torch_generator(0, "slope"))
    assert penalty.item() == pytest.approx((5 / math.sqrt(2) - 1) ** 2, rel=1e-5)
    penalty.backward()
    assert discriminator.kernel.grad.abs().min() > 0


def test_gradient_penalty_looks_between_refined_and_real() -> None:
    """The slope of a square is twice the place, here that of the mixed pixel: between 1 and 3, evenly."""
    refined, real = torch.full((4000, 1, 1, 1), 1.0), torch.full((4000, 1, 1, 1), 3.0)
    penalty = gradient_penalty(torch.square, refined, real, torch_generator(0, "slope"))
    assert penalty.item() == pytest.approx(
        sum((2 * x - 1) ** 2 for x in torch.linspace(1, 3, 999).tolist()) / 999, rel=0.03
    )


def test_penalties_of_rows_are_those_of_the_batch() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Tanh(), torch.nn.Conv2d(4, 1, 3))
    refined, real = torch.randn(2, 6, 1, 7, 8)
    halves = [BatchSlice(0, 3, 6), BatchSlice(3, 3, 6)]

    def mean(penalty: Any) -> float:
        return sum(penalty(rows).item() for rows in halves) / 2

    assert mean(lambda r: r1_penalty(network, real[r.slice], torch_generator(0, "r1"), rows=r)) == pytest.approx(
        r1_penalty(network, real, torch_generator(0, "r1")).item()
    )
    assert mean(
        lambda r: gradient_penalty(network, refined[r.slice], real[r.slice], torch_generator(0, "gp"), rows=r)
    ) == pytest.approx(gradient_penalty(network, refined, real, torch_generator(0, "gp")).item())


def test_self_regularization_counts_places_as_their_weights_say() -> None:
    refined, synthetic = torch.zeros(2, 3, 2, 3), torch.zeros(2, 3, 2, 3)
    refined[0, :, 0, 1], refined[1, :, 1, 2] = 0.5, 0.9
    weights = torch.zeros(2, 1, 2, 3)
    weights[0, 0, 0, 1], weights[0, 0, 0, 0], weights[1, 0, 0, 0] = 1.0, 0.5, 0.5
    found = self_regularization_loss(refined, synthetic, weights=weights)
    assert found.item() == pytest.approx(0.5 * 1.0 / 2.0)  # the change at weight 0 costs nothing
    alike = self_regularization_loss(refined, synthetic, weights=torch.full((2, 1, 2, 3), 0.3))
    assert alike.item() == pytest.approx(self_regularization_loss(refined, synthetic).item())
    assert self_regularization_loss(refined, synthetic, weights=torch.zeros(2, 1, 2, 3)).item() == 0


def test_two_processes_with_unequal_weights_have_the_loss_of_the_whole_batch() -> None:
    """Each knows its own half; the mean of both losses, and of both gradients, is that of one process."""
    torch.manual_seed(0)
    images, synthetic = torch.rand(4, 2, 5, 7, requires_grad=True), torch.rand(4, 2, 5, 7)
    weights = torch.rand(4, 1, 5, 7)
    weights[:2] *= 0.01
    whole = self_regularization_loss(images, synthetic, weights=weights)
    (expected,) = torch.autograd.grad(whole, images)
    by_hand = sum((weights[n] * (images[n] - synthetic[n]).abs()).sum() for n in range(4)) / (2 * weights.sum())
    assert torch.allclose(whole, by_hand)
    shared = weights.sum() * 2 / 2  # the mean over both processes of their sums over two channels
    halves = [slice(0, 2), slice(2, 4)]
    losses = [
        self_regularization_loss(
            images[half], synthetic[half], weights=weights[half], mean_over_processes=lambda _: shared
        )
        for half in halves
    ]
    assert torch.allclose(sum(losses) / 2, whole)
    (found,) = torch.autograd.grad(sum(losses) / 2, images)
    assert torch.allclose(found, expected)
    alone = [self_regularization_loss(images[half], synthetic[half], weights=weights[half]) for half in halves]
    assert not torch.allclose(sum(alone) / 2, whole, rtol=1e-2)
