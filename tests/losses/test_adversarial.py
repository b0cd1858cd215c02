"""Adversarial objectives by hand, against a double loop over images and patches, and against their gradients."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from refiner.losses.adversarial import OBJECTIVES, cross_entropy_discriminator_loss, cross_entropy_refiner_loss


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


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


FORMULAS: dict[str, tuple[Callable, Callable, Callable, Callable]] = {
    # loss of the discriminator (refined, real), its slopes for each, loss and slope of the refiner
    "cross_entropy": (
        lambda r, x: -np.log(sigmoid(r)) - np.log(1 - sigmoid(x)),
        lambda r, x: (sigmoid(r) - 1, sigmoid(x)),
        lambda r: -np.log(1 - sigmoid(r)),
        lambda r: sigmoid(r),
    ),
    "minimax": (
        lambda r, x: -np.log(sigmoid(r)) - np.log(1 - sigmoid(x)),
        lambda r, x: (sigmoid(r) - 1, sigmoid(x)),
        lambda r: np.log(sigmoid(r)),
        lambda r: 1 - sigmoid(r),
    ),
    "least_squares": (
        lambda r, x: ((r - 1) ** 2 + (x + 1) ** 2) / 2,
        lambda r, x: (r - 1, x + 1),
        lambda r: (r + 1) ** 2 / 2,
        lambda r: r + 1,
    ),
    "hinge": (
        lambda r, x: np.maximum(0, 1 - r) + np.maximum(0, 1 + x),
        lambda r, x: (-(r < 1).astype(float), (x > -1).astype(float)),
        lambda r: r,
        lambda r: np.ones_like(r),
    ),
    "wasserstein": (lambda r, x: x - r, lambda r, x: (-np.ones_like(r), np.ones_like(x)), lambda r: r, np.ones_like),
}


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_losses_and_gradients_are_those_of_the_formula(name: str) -> None:
    objective, (loss, slopes, refiner_loss, refiner_slope) = OBJECTIVES[name], FORMULAS[name]
    torch.manual_seed(1)
    refined, real = (2 * torch.randn(2, 3, 1, 4, 5, dtype=torch.float64)).requires_grad_().unbind()
    r, x = refined.detach().numpy(), real.detach().numpy()

    found = objective.discriminator(refined, real)
    assert found.item() == pytest.approx(loss(r, x).mean())
    gradients = torch.autograd.grad(found, (refined, real))
    for gradient, slope in zip(gradients, slopes(r, x), strict=True):
        assert np.allclose(gradient.numpy(), slope / r.size)

    found = objective.refiner(refined)
    assert found.item() == pytest.approx(refiner_loss(r).mean())
    (gradient,) = torch.autograd.grad(found, refined)
    assert np.allclose(gradient.numpy(), refiner_slope(r) / r.size)


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_chance_loss_is_the_loss_of_zeros(name: str) -> None:
    zeros = torch.zeros(2, 1, 3, 5)
    assert float(OBJECTIVES[name].discriminator(zeros, zeros)) == pytest.approx(OBJECTIVES[name].chance_loss)


def test_the_minimax_refiner_learns_nothing_where_the_discriminator_is_sure() -> None:
    """Which is why it is not used: the cross-entropy's gradient there is 1."""
    logits = torch.full((1, 1, 2, 3), 12.0, requires_grad=True)
    OBJECTIVES["minimax"].refiner(logits).backward()
    assert float(logits.grad.sum()) == pytest.approx(0, abs=1e-4)
