import math

import pytest
import torch

from refiner.gaze.training.learner import LOSSES, angular_loss, smooth_l1_loss, to_unit_vectors


def test_vectors_are_those_of_the_angles() -> None:
    from refiner.data.labels.angles import to_vectors

    angles = torch.rand(5, 2, dtype=torch.float64)
    assert to_unit_vectors(angles).numpy() == pytest.approx(to_vectors(angles.numpy()))


def test_angular_loss_by_hand() -> None:
    predicted, true = torch.tensor([[0.0, 0.2]]), torch.tensor([[0.0, 0.0]])
    chord = 2 * math.sin(0.1)
    assert angular_loss(predicted, true).item() == pytest.approx(math.sqrt(chord**2 + 1e-4) - 0.01, abs=1e-6)
    assert angular_loss(true, true).item() == pytest.approx(0, abs=1e-8)


def test_smooth_l1_by_hand() -> None:
    loss = smooth_l1_loss(torch.tensor([[0.0, 0.2]]), torch.zeros(1, 2))
    assert loss.item() == pytest.approx((0.2 - 0.025) / 2)


@pytest.mark.parametrize("name", list(LOSSES))
def test_gradients_are_right_and_finite_even_where_they_agree(name: str) -> None:
    true = torch.rand(4, 2, dtype=torch.float64)
    predicted = (true + 0.3 * torch.rand(4, 2, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda angles: LOSSES[name](angles, true), predicted)
    same = true.clone().requires_grad_()
    LOSSES[name](same, true).backward()
    assert same.grad.isfinite().all()
