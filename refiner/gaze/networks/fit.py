"""Fitting a gaze estimator to labelled patches, and predicting with it."""

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
        steps: updates, each on 64 images.
        seed: everything follows from it.
        network: a name in :data:`refiner.gaze.networks.estimators.ESTIMATORS`.

    Returns:
        The network in evaluation mode; its outputs are (N, 2), pitch and yaw in radians.
    """
    return fit_regressor(ESTIMATORS[network], images, gaze, steps=steps, seed=seed)


def predict_gaze(estimator: nn.Module, images: Tensor) -> Angles:
    """Pitch and yaw in radians, (N, 2), of patches (N, 1, H, W) in [-1, 1]."""
    return predict(estimator, images)
