"""The refiner file: one ``.safetensors`` that says what it is; loading it never unpickles anything.

Its metadata has one entry, ``refiner``, a JSON object with the format version, the architecture, the value
range and a summary of the training without clock times: equal runs give equal files, byte for byte.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch

from refiner.errors import DataError
from refiner.files import check_regular, write_bytes
from refiner.networks import RefinerNetwork
from refiner.refiner_names import find_refiner

FORMAT_VERSION = 1


class RefinerFile(NamedTuple):
    """A loaded refiner.

    Attributes:
        network: in evaluation mode, on the CPU.
        metadata: ``format_version``, ``architecture``, ``value_range``, ``training``.
    """

    network: RefinerNetwork
    metadata: dict[str, Any]

    def digest(self) -> str:
        """SHA-256 of the weights."""
        return _weights_digest(self.network).hexdigest()


def network_digest(network: RefinerNetwork) -> str:
    """SHA-256 of everything that a network's answers follow from: weights and architecture."""
    digest = _weights_digest(network)
    settings = {name: value for name, value in vars(network).items() if isinstance(value, str | int | float)}
    digest.update(json.dumps([str(network), settings], sort_keys=True).encode())
    return digest.hexdigest()


def _weights_digest(network: RefinerNetwork) -> "hashlib._Hash":
    total = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        total.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return total


def refiner_digest(path: Path) -> str:
    """SHA-256 of a refiner file, or that of a run folder, by which a manifest knows it."""
    return hashlib.sha256(find_refiner(path).read_bytes()).hexdigest()


def save_refiner(
    path: Path, network: RefinerNetwork, *, architecture: dict[str, Any], training: dict[str, Any]
) -> None:
    """Write a refiner file atomically.

    Args:
        path: the file, usually ``refiner.safetensors``.
        network: whose weights are saved.
        architecture: the arguments that build ``network``.
        training: summary of the training: settings and steps, no clock times.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    metadata = {
        "format_version": FORMAT_VERSION,
        "architecture": architecture,
        "value_range": [-1, 1],
        "training": training,
    }
    # One entry only: safetensors writes several in an order that varies from process to process.
    write_bytes(path, safetensors.torch.save(tensors, {"refiner": json.dumps(metadata, sort_keys=True)}), durable=True)


def load_refiner(path: Path) -> RefinerFile:
    """Load a refiner from what :func:`find_refiner` takes.

    Raises:
        DataError: there is none, it is damaged, no refiner, or of a newer format.
    """
    path = find_refiner(path)
    try:
        check_regular(path)
        with safetensors.safe_open(path, framework="pt") as file:
            entry = (file.metadata() or {}).get("refiner")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (OSError, safetensors.SafetensorError) as error:
        raise DataError(f"{path}: cannot be read as a refiner file ({error})") from error
    if entry is None:
        raise DataError(f"{path}: is a safetensors file, but no refiner; expected one written by refiner train")
    try:
        metadata = json.loads(entry)
        if metadata["format_version"] > FORMAT_VERSION:
            version = metadata["format_version"]
            raise DataError(f"{path}: has format version {version}, newer than {FORMAT_VERSION}; update simgan-refiner")
        network = RefinerNetwork(**metadata["architecture"])
        network.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: its weights do not fit its architecture ({error})") from error
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise DataError(f"{path}: holds weights that are not finite; its training went wrong, take another checkpoint")
    return RefinerFile(network.eval(), metadata)
