"""The refiner file: one ``.safetensors`` that says what it is; loading it never unpickles anything, nor needs torch.

Its metadata has one entry, ``refiner``, a JSON object with the format version, the architecture, the value
range and a summary of the training without clock times: equal runs give equal files, byte for byte.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from refiner.core.errors import DataError
from refiner.models.architecture import RefinerArchitecture
from refiner.models.lookup import find_refiner
from refiner.models.weights_file import Array, read_weights, weights_digest, write_weights

if TYPE_CHECKING:
    from refiner.models.refiner import RefinerNetwork

FORMAT_VERSION = 2

KIND = "refiner"
"""Name of the metadata entry."""


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
        return weights_digest(self.weights)


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
    write_weights(path, KIND, _weights(network), metadata)


def load_refiner(path: Path) -> RefinerFile:
    """Load a refiner from what :func:`find_refiner` takes.

    Raises:
        DataError: there is none, it is damaged, no refiner, or of a newer format.
    """
    path = find_refiner(path)
    weights, metadata = read_weights(path, KIND, format_version=FORMAT_VERSION)
    try:
        metadata = upgrade_metadata(metadata)
        architecture = RefinerArchitecture(**metadata["architecture"])
        _check_shapes(architecture, weights)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: its weights do not fit its architecture ({error})") from error
    return RefinerFile(architecture, weights, metadata)


_METHODS = {"none": "simgan", "cycle": "cyclegan", "contrast": "cut"}  # by the words of version 1


def upgrade_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Bring the metadata of an older refiner file to this version; weights and architecture have not changed.

    Version 1 called the method ``correspondence``, and the domains ``synthetic`` and ``real``.

    Raises:
        KeyError, TypeError, ValueError: it is no such metadata.
    """
    if metadata["format_version"] == FORMAT_VERSION:
        return metadata
    training = dict(metadata["training"])
    if "configuration" in training:
        settings = dict(training["configuration"])
        method = _METHODS[settings.pop("method", "none")]
        weight = settings.pop("correspondence_weight", 1.0)
        settings["method"] = method
        if method == "cyclegan":
            settings["cyclegan"] = {"cycle_weight": weight, "identity_weight": 0.5}
        elif method == "cut":
            settings["cut"] = {"patch_nce_weight": weight}
        if "augmentation" in settings:
            old = settings["augmentation"]
            settings["augmentation"] = {"synthetic": old.get("synthetic", []), "real": old.get("real", [])}
        training["configuration"] = settings
    return {**metadata, "format_version": FORMAT_VERSION, "training": training}


def _check_shapes(architecture: RefinerArchitecture, weights: Mapping[str, Array]) -> None:
    found = {name: values.shape for name, values in weights.items()}
    expected = dict(itertools.islice(architecture.shapes(), len(found) + 1))  # a file may ask for a billion of them
    for name in {**expected, **found}:
        if expected.get(name) != found.get(name):
            raise ValueError(f"{name} is {found.get(name, 'missing')}, expected {expected.get(name, 'none')}")


def _weights(network: "RefinerNetwork") -> dict[str, Array]:
    return {name: value.detach().cpu().contiguous().numpy() for name, value in network.state_dict().items()}
