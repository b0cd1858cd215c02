import numpy as np
import pytest
import torch

from refiner.gaze.accuracy import seed_interval
from refiner.gaze.angles import angular_error_degrees
from refiner.gaze.estimation import fit_estimator, predict_gaze
from refiner.gaze.estimators import ESTIMATORS, PaperEstimator
from refiner.networks import parameter_count


@pytest.mark.parametrize(("size", "count"), [((35, 55), 9_816_659), ((36, 60), 10_776_659)])
def test_paper_estimator_has_the_paper_s_parameters(size: tuple, count: int) -> None:
    assert parameter_count(PaperEstimator(size, outputs=3)) == count


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_estimators_take_non_square_patches(name: str) -> None:
    assert ESTIMATORS[name]((35, 55))(torch.zeros(3, 1, 35, 55)).shape == (3, 2)


def test_a_pattern_that_shows_the_angle_is_learned_and_repeatable() -> None:
    gaze = np.random.default_rng(0).uniform(-0.4, 0.4, (300, 2))
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(24.0), indexing="ij")
    pitch, yaw = torch.tensor(gaze, dtype=torch.float32).T[:, :, None, None]
    images = -torch.exp(-((y - 8 + 12 * pitch) ** 2 + (x - 12 + 20 * yaw) ** 2) / 8)[:, None]
    estimators = [fit_estimator(images[:250], gaze[:250], steps=150, seed=1) for _ in range(2)]
    first, second = (predict_gaze(estimator, images[250:]) for estimator in estimators)
    assert np.array_equal(first, second)
    assert (
        angular_error_degrees(first, gaze[250:]).mean() < 3 < angular_error_degrees(gaze[250:] * 0, gaze[250:]).mean()
    )


def test_seed_interval_by_hand() -> None:
    interval = seed_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2
    assert interval.high - 2 == pytest.approx(4.3027 / 3**0.5, abs=1e-3)  # t(0.975, 2) times s / sqrt(n)
    assert seed_interval([4.0]).high == np.inf
