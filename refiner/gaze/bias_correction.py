"""Bias correction of a gaze estimator: a constant offset, found on unlabelled real images.

Renders differ systematically from real eyes: in how deep the eyeball sits behind the lids, in how far lids follow the
gaze. Such a difference shifts all predictions by about the same angle. The offset gives the predictions on real images
the mean of the training labels. It reads no label of a real image. It assumes that real people look, on average, where
the renders do.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from refiner.core.errors import WrongInputError, WrongOutputError
from refiner.core.files import check_apart
from refiner.data.labels.angles import Angles
from refiner.gaze.networks.file import EstimatorFile, load_estimator, save_estimator
from refiner.gaze.prediction import GazeEstimator, predict_all


class BiasCorrection(NamedTuple):
    """Result of a bias correction.

    Attributes:
        real: number of real images whose predictions were averaged.
        rejected: reason of each real image that could not be used, by id.
        offset: (2,), added to every prediction: pitch and yaw in radians.
    """

    real: int
    rejected: dict[str, str]
    offset: Angles


def correct_bias(
    path: Path,
    real: Path,
    destination: Path,
    *,
    device: str = "auto",
    report: Callable[[int, int], None] = lambda done, total: None,
) -> BiasCorrection:
    """Write a copy of an estimator with its bias on real images corrected.

    Args:
        path: the estimator, its file or its run folder.
        real: folder or file in any known layout; with head poses if the estimator is conditioned on head pose.
        destination: the new file, ``.safetensors``.
        device: ``auto``, ``cpu`` or ``cuda``.
        report: called with the number of finished images and the number of all images.

    Raises:
        DataError: the estimator or the real images cannot be used.
        OutputError: the destination is a folder, has another suffix, is one of the inputs, or cannot be written.
    """
    # Refuse a bad destination before any work is done.
    check_apart(real, destination)
    check_apart(path, destination)
    if destination.suffix != ".safetensors":
        raise WrongOutputError(f"{destination} is no name for an estimator file; end its name with .safetensors")
    if destination.is_dir():
        raise WrongOutputError(f"{destination} is a folder; name a file for the corrected estimator")
    # Predict the real images, and write the corrected copy.
    file = load_estimator(path)
    predictions = predict_all(GazeEstimator(file, device=device), real, report=report)
    offset = save_corrected(destination, file, predictions.gaze)
    return BiasCorrection(len(predictions.ids), predictions.rejected, offset)


def save_corrected(destination: Path, file: EstimatorFile, predicted: Angles) -> Angles:
    """Write an estimator with the bias of its last layer changed, so that predictions have the mean of its labels.

    The file keeps the sum of this offset and earlier ones as ``bias_correction``.

    Args:
        destination: the new file.
        file: the estimator as it is.
        predicted: (N, 2), its predictions on real images, pitch and yaw in radians.

    Returns:
        The offset, (2,), pitch and yaw in radians.

    Raises:
        DataError: the estimator looks up nearest neighbours and has no last layer.
        OutputError: the file cannot be written.
    """
    offset: Angles = np.asarray(file.metadata["mean_gaze"]) - predicted.mean(axis=0)
    weights, training = file.network.state_dict(), file.metadata["training"]
    if "last.bias" not in weights:
        raise WrongInputError(
            f"{destination} was not written: a nearest-neighbour estimator has no last layer whose bias could be "
            "corrected; train another network"
        )
    # The last layer adds its bias to every prediction, so the offset goes there.
    bias = weights["last.bias"].cpu()
    save_estimator(
        destination,
        {**weights, "last.bias": bias + torch.from_numpy(offset).to(bias.dtype)},
        architecture=file.metadata["architecture"],
        equalize=file.metadata["equalize"],
        mean_gaze=tuple(file.metadata["mean_gaze"]),
        training={**training, "bias_correction": (offset + training.get("bias_correction", 0)).tolist()},
    )
    return offset
