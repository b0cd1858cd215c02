"""The refiner file: one ``.safetensors`` that says what it is; loading it never unpickles anything, nor needs torch.

Its metadata has one entry, ``refiner``, a JSON object with the format version, the architecture, the value
range and a summary of the training without clock times: equal runs give equal files, byte for byte.
"""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import safetensors
import safetensors.numpy

from refiner.core.errors import DataError
from refiner.core.files import check_regular, write_bytes
from refiner.models.architecture import RefinerArchitecture
from refiner.models.lookup import find_refiner

if TYPE_CHECKING:
    from refiner.models.refiner import RefinerNetwork

FORMAT_VERSION = 1

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class RefinerFile:
    """A loaded refiner.

    Attributes:
        architecture: of its network.
        weights: by name, on the CPU.
        metadata: ``format_version``, ``architecture``, ``value_range``, ``training``.
    """

    architecture: RefinerArchitecture
    weights: Mapping[str, Array] = field(repr=False)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, network: "RefinerNetwork") -> Self:
        """What a file of a network would hold, but for metadata."""
        return cls(network.architecture, _weights(network))

    def network(self) -> "RefinerNetwork":
        """A network with these weights, built anew: in evaluation mode, on the CPU."""
        import torch

        from refiner.models.refiner import RefinerNetwork

        with torch.device("meta"):  # no random weights first, which would advance the user's random state
            network = RefinerNetwork(self.architecture)
        weights = {name: torch.tensor(values, dtype=torch.float32) for name, values in self.weights.items()}
        network.load_state_dict(weights, assign=True)
        return network.eval()

    def digest(self) -> str:
        """SHA-256 of the weights."""
        total = hashlib.sha256()
        for name, values in sorted(self.weights.items()):
            total.update(name.encode() + values.tobytes())
        return total.hexdigest()


def refiner_digest(path: Path) -> str:
    """SHA-256 of a refiner file, or that of a run folder, by which a manifest knows it."""
    return hashlib.sha256(find_refiner(path).read_bytes()).hexdigest()


def save_refiner(path: Path, network: "RefinerNetwork", *, training: dict[str, Any]) -> None:
    """Write a refiner file atomically.

    Args:
        path: the file, usually ``refiner.safetensors``.
        network: whose weights are saved.
        training: summary of the training: settings and steps, no clock times.
    """
    metadata = {
        "format_version": FORMAT_VERSION,
        "architecture": dataclasses.asdict(network.architecture),
        "value_range": [-1, 1],
        "training": training,
    }
    # One entry only: safetensors writes several in an order that varies from process to process.
    entries = {"refiner": json.dumps(metadata, sort_keys=True)}
    write_bytes(path, safetensors.numpy.save(_weights(network), entries), durable=True)


def load_refiner(path: Path) -> RefinerFile:
    """Load a refiner from what :func:`find_refiner` takes.

    Raises:
        DataError: there is none, it is damaged, no refiner, or of a newer format.
    """
    path = find_refiner(path)
    try:
        check_regular(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            entry = (file.metadata() or {}).get("refiner")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (OSError, TypeError, safetensors.SafetensorError) as error:
        raise DataError(f"{path}: cannot be read as a refiner file ({error})") from error
    if entry is None:
        raise DataError(f"{path}: is a safetensors file, but no refiner; expected one written by refiner train")
    try:
        metadata = json.loads(entry)
        if metadata["format_version"] > FORMAT_VERSION:
            version = metadata["format_version"]
            raise DataError(f"{path}: has format version {version}, newer than {FORMAT_VERSION}; update simgan-refiner")
        architecture = RefinerArchitecture(**metadata["architecture"])
        _check_shapes(architecture, weights)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: its weights do not fit its architecture ({error})") from error
    if not all(np.isfinite(values).all() for values in weights.values()):
        raise DataError(f"{path}: holds weights that are not finite; its training went wrong, take another checkpoint")
    return RefinerFile(architecture, weights, metadata)


def _check_shapes(architecture: RefinerArchitecture, weights: Mapping[str, Array]) -> None:
    found = {name: values.shape for name, values in weights.items()}
    expected = dict(itertools.islice(architecture.shapes(), len(found) + 1))  # a file may ask for a billion of them
    for name in {**expected, **found}:
        if expected.get(name) != found.get(name):
            raise ValueError(f"{name} is {found.get(name, 'missing')}, expected {expected.get(name, 'none')}")


def _weights(network: "RefinerNetwork") -> dict[str, Array]:
    return {name: value.detach().cpu().contiguous().numpy() for name, value in network.state_dict().items()}
