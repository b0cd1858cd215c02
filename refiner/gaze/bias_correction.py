"""An estimator whose answers over photographs have the mean of the labels that it learnt from.

What renders get wrong in the mean (where the eyeball sits behind the lids, how far lids follow) shifts all answers by
about the same. No label of a photograph is read, but something is assumed: that over the photographs people look, in
the mean, where the renders do.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from refiner.core.errors import DataError, OutputError
from refiner.core.files import check_apart
from refiner.data.labels.angles import Angles
from refiner.gaze.networks.file import EstimatorFile, load_estimator, save_estimator
from refiner.gaze.prediction import GazeEstimator, predict_all


class BiasCorrection(NamedTuple):
    """What was done.

    Attributes:
        photographs: whose answers were averaged.
        rejected: id and reason of each that could not be used.
        moved: by what all answers are moved, (2,), pitch and yaw in radians.
    """

    real: int
    rejected: dict[str, str]
    moved: Angles


def correct_bias(
    path: Path,
    real: Path,
    destination: Path,
    *,
    device: str = "auto",
    report: Callable[[int, int], None] = lambda done, total: None,
) -> BiasCorrection:
    """Write the centred estimator beside the one there is.

    Args:
        path: the estimator, file or run folder.
        photographs: folder or file of any known layout; with head poses, where the estimator is told them.
        destination: the new file, ``.safetensors``.
        device: ``auto``, ``cpu`` or ``cuda``.
        report: told how many of how many photographs are done.

    Raises:
        DataError: the estimator or the photographs cannot be used.
        OutputError: the file cannot be written there.
    """
    check_apart(real, destination)
    check_apart(path, destination)
    if destination.suffix != ".safetensors":
        raise OutputError(f"{destination}: the centred estimator is a file; end its name with .safetensors")
    if destination.is_dir():
        raise OutputError(f"{destination}: is a folder; name a file for the centred estimator")
    file = load_estimator(path)
    found = predict_all(GazeEstimator(file, device=device), real, report=report)
    return BiasCorrection(len(found.ids), found.rejected, save_corrected(destination, file, found.gaze))


def save_corrected(destination: Path, file: EstimatorFile, answers: Angles) -> Angles:
    """Write ``file`` with its last constant moved so that ``answers``, (N, 2), would have had the mean of its labels.

    Returns:
        The move, (2,), pitch and yaw in radians; the file notes it as ``centred_by``, with earlier ones.

    Raises:
        DataError: it looks up nearest neighbours, which have no constant.
    """
    moved: Angles = np.asarray(file.metadata["mean_gaze"]) - answers.mean(axis=0)
    weights, training = file.network.state_dict(), file.metadata["training"]
    if "last.bias" not in weights:
        raise DataError(f"{destination}: nearest neighbours have no constant to move; centre another network")
    constant = weights["last.bias"].cpu()
    save_estimator(
        destination,
        {**weights, "last.bias": constant + torch.from_numpy(moved).to(constant.dtype)},
        architecture=file.metadata["architecture"],
        equalize=file.metadata["equalize"],
        mean_gaze=tuple(file.metadata["mean_gaze"]),
        training={**training, "bias_correction": (moved + training.get("bias_correction", 0)).tolist()},
    )
    return moved
