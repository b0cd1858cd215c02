"""The estimator file: one ``.safetensors`` that says what it is; loading it never unpickles anything.

Its metadata has one entry, ``estimator``, a JSON object with the format version, the architecture, what is done to
images before the network sees them, and a summary of the training without clock times: equal runs give equal files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from refiner.core.errors import DataError
from refiner.gaze.networks.estimators import GazeNetwork, build_estimator
from refiner.gaze.networks.knn import NearestNeighbours
from refiner.models.weights_file import Array, read_weights, weights_digest, write_weights
from refiner.runs.folder import ESTIMATOR_FILE

FORMAT_VERSION = 1

KIND = "estimator"
"""Name of the metadata entry."""


class EstimatorFile(NamedTuple):
    """A loaded estimator.

    Attributes:
        network: in evaluation mode, on the CPU.
        metadata: ``format_version``, ``architecture``, ``equalize``, ``mean_gaze`` (of the training labels, pitch and
            yaw in radians) and ``training``.
    """

    network: GazeNetwork | NearestNeighbours
    metadata: dict[str, Any]

    def digest(self) -> str:
        """SHA-256 of the weights."""
        return weights_digest(to_arrays(self.network.state_dict()))


def save_estimator(
    path: Path,
    weights: dict[str, torch.Tensor],
    *,
    architecture: dict[str, Any],
    equalize: bool,
    mean_gaze: tuple[float, float],
    training: dict[str, Any],
) -> None:
    """Write an estimator file atomically.

    Args:
        path: the file, usually ``estimator.safetensors``.
        weights: state of the network.
        architecture: the arguments of :func:`refiner.gaze.networks.estimators.build_estimator`.
        equalize: whether images are equalised before the network sees them.
        mean_gaze: of the training labels, pitch and yaw in radians: the baseline of every test.
        training: summary of the training: settings and steps, no clock times.
    """
    metadata = {
        "format_version": FORMAT_VERSION,
        "architecture": architecture,
        "equalize": equalize,
        "mean_gaze": list(mean_gaze),
        "training": training,
    }
    write_weights(path, KIND, to_arrays(weights), metadata)


def to_arrays(weights: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    """Return weights as contiguous arrays in the processor's memory."""
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in weights.items()}


def load_estimator(path: Path) -> EstimatorFile:
    """Load an estimator from its file or from the run folder that holds it.

    Raises:
        DataError: there is none, it is damaged, no estimator, or of a newer format.
    """
    if path.is_dir():
        if not (path / ESTIMATOR_FILE).exists():
            raise DataError(f"{path}: holds no {ESTIMATOR_FILE}; expected an estimator file or the folder of a run")
        path = path / ESTIMATOR_FILE
    weights, metadata = read_weights(path, KIND, format_version=FORMAT_VERSION)
    try:
        metadata = {
            **metadata,
            "equalize": bool(metadata["equalize"]),
            "mean_gaze": [float(angle) for angle in metadata["mean_gaze"]],
            "training": dict(metadata["training"]),
        }
        with torch.device("meta"):  # sizes in the file must not make us allocate what its weights do not fill
            network = build_estimator(metadata["architecture"])
        network.load_state_dict({name: torch.from_numpy(values) for name, values in weights.items()}, assign=True)
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise DataError(f"{path}: its weights do not fit its architecture ({error})") from error
    if len(metadata["mean_gaze"]) != 2:
        raise DataError(f"{path}: its mean_gaze has {len(metadata['mean_gaze'])} numbers, expected pitch and yaw")
    return EstimatorFile(network.eval().requires_grad_(False), metadata)
