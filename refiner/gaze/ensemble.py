"""Mean prediction of several estimators, which differ in their seed or in their training images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from torch import Tensor

from refiner.core.errors import WrongInputError
from refiner.data.labels.angles import Angles
from refiner.gaze.data import Patches
from refiner.gaze.networks.file import member_paths
from refiner.gaze.prediction import GazeEstimator
from refiner.images.io import Image


class GazeEnsemble:
    """Several gaze estimators that predict together: the mean of their pitch and of their yaw.

    The errors of estimators that were trained with different seeds differ in part, and the mean averages that part out.

    Args:
        members: the estimators, all for patches of one size and with the same head pose and equalisation.

    Attributes:
        size, head_pose, equalize: as those of :class:`refiner.gaze.prediction.GazeEstimator`.

    Raises:
        WrongInputError: there is no estimator, or two of them need different input.

    Examples:
        >>> ensemble = GazeEnsemble.load(["runs/gaze-0", "runs/gaze-1"])  # doctest: +SKIP
        >>> pitch, yaw = ensemble(read_image(Path("eye.png")))[0]  # doctest: +SKIP
    """

    def __init__(self, members: Sequence[GazeEstimator]) -> None:
        if not members:
            raise WrongInputError("an ensemble needs at least one estimator")
        first = members[0]
        for number, other in enumerate(members[1:], 2):
            if _input_of(other) != _input_of(first):
                raise WrongInputError(
                    f"estimator {number} needs {_describe(other)}, but estimator 1 needs {_describe(first)}; "
                    "an ensemble needs estimators with the same size, head_pose and equalize"
                )
        self.members = tuple(members)
        self.size, self.head_pose, self.equalize = first.size, first.head_pose, first.equalize

    @classmethod
    def load(cls, paths: Sequence[Path | str], *, device: str = "auto") -> Self:
        """Load the estimators from their files or run folders; of a co-taught run, all that it holds.

        Raises:
            DataError: a file is missing or damaged.
            WrongInputError: see the class.
        """
        files = [file for path in paths for file in member_paths(Path(path))]
        return cls([GazeEstimator.load(file, device=device) for file in files])

    def __call__(self, images: Tensor | Image | Sequence[Image], head_pose: Any = None) -> Angles:
        """Return pitch and yaw in radians, (N, 2), float64; see :class:`refiner.gaze.prediction.GazeEstimator`."""
        return mean_prediction([member(images, head_pose) for member in self.members])

    def predict_patches(self, patches: Patches, head_pose: Angles | None = None) -> Angles:
        """Return pitch and yaw in radians, (N, 2), of patches (N, 1, H, W), uint8."""
        return mean_prediction([member.predict_patches(patches, head_pose) for member in self.members])


def mean_prediction(predictions: Sequence[Angles]) -> Angles:
    """Return the mean of several predictions of the same images.

    Args:
        predictions: one array (N, 2) for each estimator, pitch and yaw in radians.

    Returns:
        (N, 2), the mean pitch and the mean yaw in radians.
    """
    mean: Angles = np.mean(np.stack(predictions), axis=0)
    return mean


def _input_of(estimator: GazeEstimator) -> tuple[object, ...]:
    return estimator.size, estimator.head_pose, estimator.equalize


def _describe(estimator: GazeEstimator) -> str:
    height, width = estimator.size
    return f"{height}x{width} patches with head_pose {estimator.head_pose} and equalize {estimator.equalize}"
