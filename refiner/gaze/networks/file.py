"""The estimator file: one ``.safetensors`` with weights and metadata; loading it never unpickles anything.

The metadata has one entry, ``estimator``. It is a JSON object with the format version, the architecture, the
preprocessing of images, and a summary of the training. It holds no clock times: equal runs give equal files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from refiner.core.errors import DataError, WrongInputError
from refiner.core.path_kinds import GAZE_RUN, path_kind
from refiner.gaze.networks.estimators import GazeNetwork, build_estimator
from refiner.gaze.networks.knn import NearestNeighbours
from refiner.models.files.weights_file import Array, read_weights, weights_digest, write_weights
from refiner.runs.folder import ESTIMATOR_FILE

FORMAT_VERSION = 2

KIND = "estimator"
"""Name of the metadata entry."""


class EstimatorFile(NamedTuple):
    """A loaded estimator.

    Attributes:
        network: in evaluation mode, on the CPU, with constant weights.
        metadata: ``format_version``, ``architecture``, ``equalize``, ``mean_gaze`` (mean of the training labels, pitch
            and yaw in radians) and ``training``.
    """

    network: GazeNetwork | NearestNeighbours
    metadata: dict[str, Any]

    def digest(self) -> str:
        """Return the SHA-256 of the weights."""
        return weights_digest(to_arrays(self.network.state_dict()))


def save_estimator(
    path: Path,
    weights: Mapping[str, torch.Tensor],
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
        architecture: argument of :func:`refiner.gaze.networks.estimators.build_estimator`.
        equalize: whether images are histogram-equalised before the network sees them.
        mean_gaze: mean of the training labels, pitch and yaw in radians. It is the baseline of every evaluation.
        training: summary of the training: settings and steps, no clock times.

    Raises:
        OutputError: the file cannot be written.
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


def member_path(run: Path, member: int) -> Path:
    """Return the path of an estimator in a run folder.

    Args:
        run: the run folder.
        member: number of the estimator, from 1; a run has several if they were trained together by co-teaching.
    """
    first = run / ESTIMATOR_FILE
    return first if member == 1 else first.with_stem(f"{first.stem}_{member}")


def member_paths(path: Path) -> list[Path]:
    """Return the files of all estimators of a co-taught run; for another run or a file, the path alone.

    Raises:
        DataError: the estimator is missing or damaged.
    """
    if not path.is_dir():
        return [path]
    co_taught = load_estimator(path).metadata["training"].get("co_taught")
    if co_taught is None:
        return [path]
    # A file that is missing fails when it is loaded.
    return [member_path(path, member) for member in range(1, int(co_taught["members"]) + 1)]


def load_estimator(path: Path) -> EstimatorFile:
    """Load an estimator from its file or from the run folder that holds it.

    Raises:
        DataError: the file is missing, damaged, of another kind, of a newer format version, or inconsistent.
    """
    # Find the file of a run folder.
    if path.is_dir():
        file = member_path(path, 1)
        if not file.exists():
            kind = path_kind(path)
            why = f"holds no {ESTIMATOR_FILE} yet" if kind == GAZE_RUN else f"is {kind}, not a gaze estimator"
            raise WrongInputError(
                f"{path} {why}; name the run folder of a gaze estimator, or an estimator file (.safetensors)"
            )
        path = file
    weights, metadata = read_weights(path, KIND, format_version=FORMAT_VERSION)
    try:
        # Bring the metadata to this version and to plain types.
        metadata = upgrade_metadata(metadata)
        metadata = {
            **metadata,
            "equalize": bool(metadata["equalize"]),
            "mean_gaze": [float(angle) for angle in metadata["mean_gaze"]],
            "training": dict(metadata["training"]),
        }
        # Build without memory: sizes in a hostile file must not allocate more than its weights fill.
        with torch.device("meta"):
            network = build_estimator(metadata["architecture"])
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise DataError(f"{path} has estimator metadata that cannot be used ({error})") from error
    # Put the weights of the file into the network, without copying them.
    try:
        network.load_state_dict({name: torch.from_numpy(values) for name, values in weights.items()}, assign=True)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path} is inconsistent: its weights do not fit its architecture ({error})") from error
    if len(metadata["mean_gaze"]) != 2:
        raise DataError(f"{path} has a mean_gaze of {len(metadata['mean_gaze'])} numbers, expected pitch and yaw")
    return EstimatorFile(network.eval().requires_grad_(False), metadata)


def upgrade_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Bring the metadata of an older estimator file to this version; weights and architecture have not changed.

    Version 1 called the offset of a bias correction ``centred_by``.

    Raises:
        KeyError, TypeError, ValueError: the metadata is not that of an estimator.
    """
    if metadata["format_version"] == FORMAT_VERSION:
        return metadata
    training = dict(metadata["training"])
    if "centred_by" in training:
        training["bias_correction"] = training.pop("centred_by")
    return {**metadata, "format_version": FORMAT_VERSION, "training": training}
