"""What estimators learn from refined renders: known answers, and renders that are their own refinement."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from refiner.evaluation.utility import Estimators, measure_disagreement, measure_error, train_estimators
from refiner.eyes.rendering import render_eyes
from refiner.eyes.scene.parameters import EyeParameters


class Saying(nn.Module):
    """Always the same gaze, in degrees."""

    def __init__(self, pitch: float, yaw: float) -> None:
        super().__init__()
        self.answer = torch.tensor([[pitch, yaw]]).deg2rad()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.answer.expand(len(images), 2)


def test_error_and_disagreement_of_known_answers() -> None:
    raw = [Saying(0, 4), Saying(0, 6), Saying(0, 8)]
    refined = [Saying(0, 1), Saying(0, 2), Saying(0, 3)]
    trained, real = Estimators(raw, refined), torch.zeros(5, 1, 6, 9)
    error = measure_error(trained, np.radians([[0, 9.0], [0, 11.0]]), real, np.zeros((5, 2)))
    assert error.value.mean == pytest.approx(2)
    assert error.baseline is not None
    assert error.baseline.mean == pytest.approx(6)
    assert error.gain is not None
    assert error.gain.mean == pytest.approx(4)
    assert "predicting the mean: 10.0°" in error.name
    disagreement = measure_disagreement(trained, real)
    assert disagreement.value == pytest.approx((4 / 3, 4 / 3, 4 / 3))  # of 1, 1 and 2 degrees
    assert disagreement.gain is not None
    assert disagreement.gain.mean == pytest.approx(4 / 3)


def test_renders_that_are_their_own_refinement_gain_nothing_and_swapped_ones_lose() -> None:
    batch = render_eyes(EyeParameters(images_per_person=1), range(240), seed=3)
    images, gaze = functional.avg_pool2d(batch.images, 2), batch.gaze.numpy().astype(np.float64)
    known, unseen = slice(0, 180), slice(180, None)
    same = train_estimators(images[known], images[known], gaze[known], steps=4)
    error = measure_error(same, gaze[known], images[unseen], gaze[unseen])
    assert error.gain == (0, 0, 0)
    assert measure_disagreement(same, images[unseen]).gain == (0, 0, 0)
    reports: list[tuple[int, int]] = []
    swapped = train_estimators(
        images[known], images[known].roll(1, dims=0), gaze[known], steps=80, report=lambda *of: reports.append(of)
    )
    assert reports == [(number, 6) for number in range(7)]
    worse = measure_error(swapped, gaze[known], images[unseen], gaze[unseen])
    assert worse.gain is not None
    assert worse.gain.high < 0
