"""Whether labels survived: how far the pupil moved between a render and its refined image.

The pupil is found in both by one detector, a small network fitted to procedural eyes, whose place of the pupil
is known, under varying appearance. Its own error is measured beside it, on eyes it has not seen: a shift can
only be told above that noise.
"""

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from refiner.regression import SmallRegressor, Values, fit_regressor, predict, vary_appearance


class PupilShift(NamedTuple):
    """How far the pupils of refined images are from those of their renders, in pixels.

    Attributes:
        vector: mean shift, (x, y): 0 when pupils move, but in no common direction.
        distance: mean length of the shift.
        noise: mean error of the detector on renders, against the labels.
    """

    vector: tuple[float, float]
    distance: float
    noise: float

    @property
    def excess(self) -> float:
        """Mean length of the shift beyond what the detector's noise explains."""
        return self.distance - self.noise


class PupilDetector:
    """Finds the centre of the pupil in eye patches of one size; make it with :meth:`fit`."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    @classmethod
    def fit(cls, images: Tensor, pupils: Values, *, steps: int = 800, seed: int = 0) -> "PupilDetector":
        """Fit a detector to labelled eyes.

        Args:
            images: (N, 1, H, W), in [-1, 1].
            pupils: (N, 2), x and y in pixels.
            steps: updates on 64 images each.
            seed: everything follows from it.
        """
        targets = (pupils - _middle(images)) / _unit(images)
        network = fit_regressor(SmallRegressor, images, targets, steps=steps, seed=seed, augment=vary_appearance)
        return cls(network)

    def __call__(self, images: Tensor) -> Values:
        """(N, 2), x and y in pixels of the pupils in (N, 1, H, W) images in [-1, 1]."""
        return predict(self._network, images) * _unit(images) + _middle(images)

    def shift(self, synthetic: Tensor, refined: Tensor, pupils: Values) -> PupilShift:
        """Compare renders with what became of them.

        Args:
            synthetic, refined: (N, 1, H, W), in [-1, 1], pair by pair; not those the detector was fitted to.
            pupils: (N, 2), the labels, for the detector's own noise.
        """
        before, after = self(synthetic), self(refined)
        vector = (after - before).mean(axis=0)
        return PupilShift(
            (float(vector[0]), float(vector[1])), _mean_length(after - before), _mean_length(before - pupils)
        )


def _mean_length(vectors: Values) -> float:
    return float(np.linalg.norm(vectors, axis=1).mean())


def _middle(images: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([(images.shape[3] - 1) / 2, (images.shape[2] - 1) / 2])


def _unit(images: Tensor) -> float:
    return images.shape[3] / 4
