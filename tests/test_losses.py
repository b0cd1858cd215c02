"""Losses by hand, against a double loop over images and patches, and against their gradients."""

import math

import pytest
import torch
from torch import Tensor

from refiner.losses import (
    OBJECTIVES,
    SELF_REGULARIZATIONS,
    blurred,
    cross_entropy_discriminator_loss,
    cross_entropy_refiner_loss,
    image_gradients,
    pixels_and_gradients,
    r1_penalty,
    self_regularization_loss,
)
from refiner.randomness import torch_generator


def looped_cross_entropy(logits: Tensor, *, refined: bool) -> float:
    """-log of the probability given to the right answer, patch by patch."""
    total = 0.0
    for image in logits:
        for value in image.flatten().tolist():
            probability = 1 / (1 + math.exp(-value))
            total -= math.log(probability if refined else 1 - probability)
    return total / logits.numel()


def test_discriminator_loss_equals_a_loop_over_patches() -> None:
    refined, real = torch.randn(2, 3, 1, 2, 5, dtype=torch.float64)
    expected = looped_cross_entropy(refined, refined=True) + looped_cross_entropy(real, refined=False)
    assert float(cross_entropy_discriminator_loss(refined, real)) == pytest.approx(expected)


def test_refiner_loss_equals_a_loop_over_patches() -> None:
    logits = torch.randn(3, 1, 2, 5, dtype=torch.float64)
    assert float(cross_entropy_refiner_loss(logits)) == pytest.approx(looped_cross_entropy(logits, refined=False))


def test_hand_made_logits_give_hand_computed_losses() -> None:
    logits = torch.tensor([[[[0.0, math.log(3)]]]])  # probabilities of refined: 1/2, 3/4
    assert float(cross_entropy_refiner_loss(logits)) == pytest.approx((math.log(2) + math.log(4)) / 2)
    loss = cross_entropy_discriminator_loss(logits, torch.zeros(1, 1, 1, 2))
    assert float(loss) == pytest.approx((math.log(2) + math.log(4 / 3)) / 2 + math.log(2))


def test_equilibrium_is_two_ln_two() -> None:
    zeros = torch.zeros(2, 1, 3, 5)
    assert float(cross_entropy_discriminator_loss(zeros, zeros)) == pytest.approx(2 * math.log(2))


def test_smoothing_softens_the_real_side_only() -> None:
    refined, real = torch.randn(2, 2, 1, 3, 4, dtype=torch.float64)
    plain, smooth = (cross_entropy_discriminator_loss(refined, real, smoothing=s) for s in (0.0, 0.1))
    target = torch.full_like(real, 0.1)
    real_side = torch.nn.functional.binary_cross_entropy_with_logits(real, target)
    refined_side = looped_cross_entropy(refined, refined=True)
    assert float(smooth) == pytest.approx(refined_side + float(real_side))
    assert float(smooth) != pytest.approx(float(plain))


def test_extreme_logits_stay_finite() -> None:
    for value in (-1e4, 1e4):
        logits = torch.full((1, 1, 2, 3), value, requires_grad=True)
        loss = cross_entropy_discriminator_loss(logits, logits) + cross_entropy_refiner_loss(logits)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_signs_agree_with_positive_is_refined(name: str) -> None:
    """A discriminator that is right has less loss; a refiner that fools it has less loss."""
    objective, yes, no = OBJECTIVES[name], torch.full((2, 1, 3, 4), 1.5), torch.full((2, 1, 3, 4), -1.5)
    assert objective.discriminator(yes, no) < objective.discriminator(no, yes)
    assert objective.refiner(no) < objective.refiner(yes)


def test_refiner_gradient_does_not_vanish_when_the_discriminator_wins() -> None:
    logits = torch.full((1, 1, 2, 3), 12.0, requires_grad=True)
    cross_entropy_refiner_loss(logits).backward()
    assert float(logits.grad.sum()) == pytest.approx(1.0, abs=1e-4)


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
