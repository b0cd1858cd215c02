"""Tests of task consistency, against numpy."""

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
    assert loss(change) == pytest.approx(0, abs=1e-6)
    moved, still = images_of(PREDICTIONS + change), images_of(PREDICTIONS)
    assert absolute_consistency_loss(moved, still, task).item() == pytest.approx(0.2, rel=1e-5)


def test_scatter_and_slope_add_up() -> None:
    change = np.random.default_rng(1).normal(size=(6, 2)).astype(np.float32) * 0.1
    centred, expected = change - change.mean(axis=0), PREDICTIONS - PREDICTIONS.mean(axis=0)
    scatter = np.abs(centred).mean()
    slopes = [np.polyfit(PREDICTIONS[:, axis], change[:, axis], 1)[0] for axis in (0, 1)]
    slope = np.mean(np.abs(slopes) * expected.std(axis=0))
    assert loss(change) == pytest.approx(scatter + slope, rel=1e-4)
    assert slope > 0.01


def test_shrunken_predictions_cost_more_than_scatter_alone() -> None:
    shrunken = -0.2 * (PREDICTIONS - PREDICTIONS.mean(axis=0))
    assert loss(shrunken) == pytest.approx(np.abs(shrunken).mean() + shrunken.std(axis=0).mean(), rel=1e-4)


def test_equal_predictions_have_no_slope() -> None:
    """An untrained network may answer the same for all renders."""
    change = np.random.default_rng(2).normal(size=(6, 2)).astype(np.float32)
    refined = images_of(change).requires_grad_()
    found = centred_consistency_loss(refined, images_of(np.zeros_like(change)), task)
    assert found.item() == pytest.approx(np.abs(change - change.mean(axis=0)).mean(), rel=1e-5)
    found.backward()
    assert refined.grad is not None
    assert torch.isfinite(refined.grad).all()


def test_the_slices_of_two_processes_give_the_loss_of_the_whole_batch() -> None:
    change = np.random.default_rng(3).normal(size=(6, 2)).astype(np.float32) * 0.1
    refined, still = images_of(PREDICTIONS + change), images_of(PREDICTIONS)
    means: list[torch.Tensor] = []

    def record(values: torch.Tensor) -> torch.Tensor:
        means.append(values)
        return values

    whole = centred_consistency_loss(refined, still, task, mean_over_processes=record).item()
    losses = []
    for rows in (slice(0, 3), slice(3, 6)):
        of_both = iter(means)
        losses.append(
            centred_consistency_loss(
                *(refined[rows], still[rows], task), mean_over_processes=lambda _, of_both=of_both: next(of_both)
            ).item()
        )
    assert np.mean(losses) == pytest.approx(whole, rel=1e-5)
