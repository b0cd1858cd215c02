"""Tests of task consistency, against numpy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from refiner.losses.consistency import absolute_consistency_loss, centred_consistency_loss


def task(images: torch.Tensor) -> torch.Tensor:
    """Predict the first two pixels."""
    return images[:, 0, 0, :2]


def images_of(predictions: np.ndarray) -> torch.Tensor:
    images = torch.zeros(len(predictions), 1, 3, 4)
    images[:, 0, 0, :2] = torch.from_numpy(predictions)
    return images


PREDICTIONS = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32) * 0.2


def loss(change: np.ndarray) -> float:
    return centred_consistency_loss(images_of(PREDICTIONS + change), images_of(PREDICTIONS), task).item()


def test_a_constant_change_costs_nothing() -> None:
    change = np.array([[0.3, -0.1]], np.float32)
    assert loss(change) == pytest.approx(0, abs=1e-4)
    moved, still = images_of(PREDICTIONS + change), images_of(PREDICTIONS)
    assert absolute_consistency_loss(moved, still, task).item() == pytest.approx(0.2, rel=1e-5)


def expected_loss(change: np.ndarray, predictions: np.ndarray = PREDICTIONS) -> float:
    """Standard deviations and slopes by numpy."""
    slopes = [np.polyfit(predictions[:, axis], change[:, axis], 1)[0] for axis in (0, 1)]
    return float(np.mean(change.std(axis=0) + np.abs(slopes) * predictions.std(axis=0)))


def random_change(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(6, 2)).astype(np.float32) * 0.1


def test_scatter_and_slope_add_up() -> None:
    change = random_change(1)
    assert loss(change) == pytest.approx(expected_loss(change), abs=2e-4)
    assert expected_loss(change) > 1.1 * change.std(axis=0).mean()


def test_shrunken_predictions_cost_more_than_scatter_alone() -> None:
    shrunken = -0.2 * (PREDICTIONS - PREDICTIONS.mean(axis=0))
    assert loss(shrunken) == pytest.approx(2 * shrunken.std(axis=0).mean(), abs=2e-4)


def gradient(refined: torch.Tensor, rows: slice, mean: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Return the gradient of the loss of some rows with regard to the predictions."""
    part = refined[rows].clone().requires_grad_()
    centred_consistency_loss(part, images_of(PREDICTIONS)[rows], task, mean_over_processes=mean).backward()
    assert part.grad is not None
    return part.grad[:, 0, 0, :2]


def test_the_gradient_is_that_of_the_formula_though_means_over_processes_have_none() -> None:
    change = random_change(4)
    found = gradient(images_of(PREDICTIONS + change), slice(None), lambda values: values.detach())
    for row, axis in ((0, 0), (3, 1), (5, 0)):
        nudge = np.zeros((6, 2))
        nudge[row, axis] = 1e-4
        wanted = (expected_loss(change + nudge) - expected_loss(change - nudge)) / 2e-4
        assert found[row, axis].item() == pytest.approx(wanted, abs=1e-3)
    assert torch.allclose(found.sum(dim=0), torch.zeros(2), atol=1e-5)  # a constant change costs nothing


def test_the_slope_has_a_gradient_of_its_own() -> None:
    """Of two changes with equal scatter, the shrinking one is pulled back twice as hard along its slope."""
    direction = PREDICTIONS - PREDICTIONS.mean(axis=0)
    found = gradient(images_of(PREDICTIONS - 0.2 * direction), slice(None), lambda values: values.detach())
    along = (found * torch.from_numpy(direction)).sum(dim=0).numpy()
    np.testing.assert_allclose(along, -direction.std(axis=0), rtol=1e-2)  # half of it is the scatter's


def test_equal_predictions_have_no_slope() -> None:
    """An untrained network may answer the same for all renders."""
    change = random_change(2)
    refined = images_of(change).requires_grad_()
    found = centred_consistency_loss(refined, images_of(np.zeros_like(change)), task)
    assert found.item() == pytest.approx(change.std(axis=0).mean(), abs=2e-4)
    found.backward()
    assert refined.grad is not None
    assert torch.isfinite(refined.grad).all()


def test_a_refiner_that_changes_nothing_has_a_finite_gradient() -> None:
    """Residual refiners start as the identity."""
    assert not gradient(images_of(PREDICTIONS), slice(None), lambda values: values.detach()).any()


def test_two_processes_have_the_loss_and_the_gradient_of_the_whole_batch() -> None:
    refined, still = images_of(PREDICTIONS + random_change(3)), images_of(PREDICTIONS)
    means: list[torch.Tensor] = []

    def record(values: torch.Tensor) -> torch.Tensor:
        means.append(values.detach())
        return values.detach()

    whole = centred_consistency_loss(refined, still, task, mean_over_processes=record).item()
    rows = slice(0, 3), slice(3, 6)
    losses, gradients = [], []
    for part in rows:
        for_loss, for_gradient = iter(means), iter(means)
        losses.append(
            centred_consistency_loss(
                *(refined[part], still[part], task), mean_over_processes=lambda _, known=for_loss: next(known)
            ).item()
        )
        gradients.append(gradient(refined, part, lambda _, known=for_gradient: next(known)))
    assert losses == pytest.approx([whole, whole], rel=1e-5)
    # Gradients are averaged over the processes; each sees its own half of the images.
    expected = gradient(refined, slice(None), lambda values: values.detach())
    assert torch.allclose(torch.cat(gradients) / 2, expected, atol=1e-6)
