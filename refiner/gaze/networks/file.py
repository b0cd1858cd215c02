"""The estimator file: one ``.safetensors`` that says what it is; loading it never unpickles anything.

Its metadata has one entry, ``estimator``, a JSON object with the format version, the architecture, what is done to
images before the network sees them, and a summary of the training without clock times: equal runs give equal files.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch

from refiner.core.errors import DataError
from refiner.core.files import check_regular, write_bytes
from refiner.gaze.networks.estimators import GazeNetwork, build_estimator
from refiner.gaze.networks.knn import NearestNeighbours
from refiner.runs.folder import ESTIMATOR_FILE

FORMAT_VERSION = 1


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
        total = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            total.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return total.hexdigest()


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
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    metadata = {
        "format_version": FORMAT_VERSION,
        "architecture": architecture,
        "equalize": equalize,
        "mean_gaze": list(mean_gaze),
        "training": training,
    }
    # One entry only: safetensors writes several in an order that varies from process to process.
    whole = safetensors.torch.save(tensors, {"estimator": json.dumps(metadata, sort_keys=True)})
    write_bytes(path, whole, durable=True)


def load_estimator(path: Path) -> EstimatorFile:
    """Load an estimator from its file or from the run folder that holds it.

    Raises:
        DataError: there is none, it is damaged, no estimator, or of a newer format.
    """
    if path.is_dir():
        if not (path / ESTIMATOR_FILE).exists():
            raise DataError(f"{path}: holds no {ESTIMATOR_FILE}; expected an estimator file or the folder of a run")
        path = path / ESTIMATOR_FILE
    try:
        check_regular(path)
        with safetensors.safe_open(path, framework="pt") as file:
            entry = (file.metadata() or {}).get("estimator")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (OSError, safetensors.SafetensorError) as error:
        raise DataError(f"{path}: cannot be read as an estimator file ({error})") from error
    if entry is None:
        raise DataError(f"{path}: is a safetensors file, but no estimator; expected one of refiner gaze train")
    try:
        metadata = json.loads(entry)
        if metadata["format_version"] > FORMAT_VERSION:
            version = metadata["format_version"]
            raise DataError(f"{path}: has format version {version}, newer than {FORMAT_VERSION}; update simgan-refiner")
        metadata = {
            **metadata,
            "equalize": bool(metadata["equalize"]),
            "mean_gaze": [float(angle) for angle in metadata["mean_gaze"]],
            "training": dict(metadata["training"]),
        }
        with torch.device("meta"):  # sizes in the file must not make us allocate what its weights do not fill
            network = build_estimator(metadata["architecture"])
        network.load_state_dict(tensors, assign=True)
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise DataError(f"{path}: its weights do not fit its architecture ({error})") from error
    if len(metadata["mean_gaze"]) != 2 or not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise DataError(f"{path}: holds weights that are not finite; its training went wrong, take another")
    return EstimatorFile(network.eval().requires_grad_(False), metadata)
