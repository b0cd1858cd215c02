"""The heatmap estimator: mean positions of its heatmaps, and its metric computed by hand."""

import numpy as np
import pytest
import torch

from refiner.hands.joint_estimator import find_joints, fit_joints, share_within
from refiner.models.heatmaps import STRIDE, HeatmapEstimator

SIZE = (24, 40)


def test_heatmaps_sum_to_one_and_answers_are_their_mean_places() -> None:
    estimator = HeatmapEstimator(SIZE, joints=3)
    images = torch.rand(2, 1, *SIZE) * 2 - 1
    maps = estimator.heatmaps(images).detach()
    assert maps.shape == (2, 3, 6, 10)
    assert torch.allclose(maps.sum(dim=(2, 3)), torch.ones(2, 3))
    columns, rows = (torch.arange(count) * STRIDE + 1.5 for count in (10, 6))  # the middle of the pixels of a cell
    found = estimator(images).detach().view(2, 3, 2) * 40
    assert torch.allclose(found[..., 0], (maps.sum(dim=2) * columns).sum(dim=2), atol=1e-3)
    assert torch.allclose(found[..., 1], (maps.sum(dim=3) * rows).sum(dim=2), atol=1e-3)


def test_it_learns_where_a_dot_is() -> None:
    rng = np.random.default_rng(0)
    joints = rng.uniform((4, 4), (35, 19), (300, 2))[:, None]
    y, x = np.mgrid[:24, :40]
    images = np.stack([np.where(np.hypot(x - dot[0], y - dot[1]) < 2.5, 1.0, -1.0) for (dot,) in joints])
    tensor = torch.from_numpy(images[:, None].astype(np.float32))
    estimator = fit_joints(tensor[:250], joints[:250], steps=120, seed=0)
    found = find_joints(estimator, tensor[250:])
    assert found.shape == (50, 1, 2)
    assert share_within(found, joints[250:], 2.0) > 0.9


def test_share_within_counts_joints() -> None:
    true = np.zeros((2, 2, 2))
    found = np.array([[[3.0, 4.0], [0.0, 1.0]], [[0.0, 5.1], [2.0, 0.0]]])
    assert share_within(found, true, 5.0) == pytest.approx(0.75)
    assert share_within(found, true, 1.5) == pytest.approx(0.25)
