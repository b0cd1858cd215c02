"""Short training of a small gaze network in memory, and prediction with it."""

from torch import Tensor, nn

from refiner.data.labels.angles import Angles
from refiner.gaze.networks.estimators import ESTIMATORS
from refiner.models.regressor import fit_regressor, predict


def fit_estimator(
    images: Tensor,
    gaze: Angles,
    *,
    steps: int,
    seed: int,
    network: str = "small",
) -> nn.Module:
    """Train a gaze network from scratch.

    Args:
        images: (N, 1, H, W), float32, in [-1, 1].
        gaze: (N, 2), pitch and yaw in radians.
        steps: number of updates, each on 64 images.
        seed: every random choice follows from it.
        network: name in :data:`refiner.gaze.networks.estimators.ESTIMATORS`.

    Returns:
        The network in evaluation mode; its outputs are (N, 2), pitch and yaw in radians.
    """
    return fit_regressor(ESTIMATORS[network], images, gaze, steps=steps, seed=seed)


def predict_gaze(estimator: nn.Module, images: Tensor) -> Angles:
    """Return pitch and yaw in radians, (N, 2), of patches (N, 1, H, W) in [-1, 1]."""
    return predict(estimator, images)
