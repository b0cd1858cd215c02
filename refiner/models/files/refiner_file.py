"""Refiner files: a ``.safetensors`` file with the weights, or the statistics of real images, and their description.

The metadata has one entry, ``refiner``: a JSON object with the format version, the architecture, the value range and
a summary of the training. It contains no clock times, so that equal runs give equal files, byte for byte. Loading
never unpickles anything and needs no torch.
"""

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from refiner.core.errors import DataError
from refiner.models.architecture import Architecture, RefinerArchitecture, architecture_settings, parse_architecture
from refiner.models.files.lookup import find_refiner
from refiner.models.files.weights_file import Array, read_weights, weights_digest, write_weights

if TYPE_CHECKING:
    from refiner.models.modules import RefinerModule

FORMAT_VERSION = 3
"""Version of the metadata of networks, which :func:`save_refiner` writes."""

STATISTICS_VERSION = 4
"""Version of the metadata of refiners with statistics, the newest: packages that know only networks refuse it."""

KIND = "refiner"
"""Name of the metadata entry of a refiner file."""


@dataclass(frozen=True)
class RefinerFile:
    """Content of a refiner file.

    Attributes:
        architecture: settings of the network, of the statistics, or of both.
        weights: arrays by name.
        metadata: ``format_version``, ``architecture``, ``value_range``, ``training``.
    """

    architecture: Architecture
    weights: Mapping[str, Array] = field(repr=False)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, network: "RefinerModule") -> Self:
        """Return the content of a file for a network, without metadata."""
        return cls(network.architecture, _weights(network))

    def network(self) -> "RefinerModule":
        """Build a new module with these weights, on the CPU and in evaluation mode."""
        import torch

        from refiner.models.modules import build_module

        # Skip the random initial weights, which would advance the caller's random state.
        with torch.device("meta"):
            network = build_module(self.architecture)
        weights = {name: torch.tensor(values, dtype=torch.float32) for name, values in self.weights.items()}
        network.load_state_dict(weights, assign=True)
        return network.eval()

    def digest(self) -> str:
        """Return the SHA-256 of the weights."""
        return weights_digest(self.weights)


def refiner_digest(path: Path) -> str:
    """Return the SHA-256 of a refiner file or of a run folder's refiner file; manifests identify a refiner by it."""
    return hashlib.sha256(find_refiner(path).read_bytes()).hexdigest()


def save_refiner(path: Path, network: "RefinerModule", *, training: dict[str, Any]) -> None:
    """Write a refiner file atomically.

    Args:
        path: the file, usually ``refiner.safetensors``.
        network: network, statistics, or both in sequence, to save.
        training: summary of the training: settings and steps, without clock times.

    Raises:
        OutputError: the file cannot be written.
    """
    is_network = isinstance(network.architecture, RefinerArchitecture)
    metadata = {
        "format_version": FORMAT_VERSION if is_network else STATISTICS_VERSION,
        "architecture": architecture_settings(network.architecture),
        "value_range": [-1, 1],
        "training": training,
    }
    write_weights(path, KIND, _weights(network), metadata)


def load_refiner(path: Path) -> RefinerFile:
    """Load a refiner.

    Args:
        path: a refiner file, a run folder, or the name of a pretrained refiner; see :func:`find_refiner`.

    Raises:
        DataError: the file is missing, damaged, not a refiner file, or of a newer format version.
    """
    path = find_refiner(path)
    weights, metadata = read_weights(path, KIND, format_version=STATISTICS_VERSION)
    # Check the metadata, then the weights.
    try:
        metadata = upgrade_metadata(metadata)
        architecture = parse_architecture(metadata["architecture"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} has refiner metadata that cannot be used ({error})") from error
    try:
        _check_shapes(architecture, weights)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} cannot be loaded: its weights do not fit its architecture ({error})") from error
    return RefinerFile(architecture, weights, metadata)


def kept_step(training: Mapping[str, Any]) -> str:
    """Describe which weights a refiner file holds, as in "step 350 of 800, the lowest score".

    Args:
        training: the summary of the training in the metadata of the file.

    Returns:
        The step and the number of steps, pre-training included; empty if the file does not record them.
    """
    step, configuration = training.get("step"), training.get("configuration")
    if not isinstance(step, int) or not isinstance(configuration, Mapping):
        return ""
    pretraining = configuration.get("pretraining") or {}
    parts = [
        configuration.get("steps"),
        *(pretraining.get(f"{name}_steps", 0) for name in ("refiner", "discriminator")),
    ]
    if not all(isinstance(part, int) for part in parts):
        return f"step {step:,}"
    why = "the lowest score" if configuration.get("score_every") else "the last weights"
    return f"step {step:,} of {sum(parts):,}, {why}"


# Format version 1 has other words for the methods and the domains. Existing files contain these words.
_METHODS_OF_VERSION_1 = {"none": "simgan", "cycle": "cyclegan", "contrast": "cut"}


def upgrade_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Convert the metadata of an older file of a network to version 3; the weights stay unchanged.

    Version 1 has a key ``correspondence`` instead of ``method``, and calls the domains ``renders`` and ``photographs``.
    Versions 1 and 2 have no key ``padding``: their networks pad with zeros.

    Raises:
        KeyError, TypeError, ValueError: the metadata is not that of a refiner file.
    """
    version = metadata["format_version"]
    if version >= FORMAT_VERSION:
        return metadata
    architecture, training = {"padding": "zeros", **metadata["architecture"]}, dict(metadata.get("training", {}))
    if "configuration" in training:
        settings = dict(training["configuration"])
        if version == 1:
            settings = _settings_of_version_1(settings)
        for section in ("refiner", "discriminator"):
            settings[section] = {"padding": "zeros", **settings.get(section, {})}
        training["configuration"] = settings
    return {**metadata, "format_version": FORMAT_VERSION, "architecture": architecture, "training": training}


def _settings_of_version_1(settings: dict[str, Any]) -> dict[str, Any]:
    """Give the method and the domains of the augmentation their names of version 2."""
    settings = dict(settings)
    method = _METHODS_OF_VERSION_1[settings.pop("correspondence", "none")]
    weight = settings.pop("correspondence_weight", 1.0)
    settings["method"] = method
    if method == "cyclegan":
        settings["cyclegan"] = {"cycle_weight": weight, "identity_weight": 0.5}
    elif method == "cut":
        settings["cut"] = {"patch_nce_weight": weight}
    if "augmentation" in settings:
        old = settings["augmentation"]
        settings["augmentation"] = {"synthetic": old.get("renders", []), "real": old.get("photographs", [])}
    return settings


def _check_shapes(architecture: Architecture, weights: Mapping[str, Array]) -> None:
    found = {name: values.shape for name, values in weights.items()}
    # Stop early: a damaged or hostile file may name a billion layers.
    expected = dict(itertools.islice(architecture.shapes(), len(found) + 1))
    for name in {**expected, **found}:
        if expected.get(name) != found.get(name):
            raise ValueError(f"{name} is {found.get(name, 'missing')}, expected {expected.get(name, 'none')}")


def _weights(network: "RefinerModule") -> dict[str, Array]:
    return {name: value.detach().cpu().contiguous().numpy() for name, value in network.state_dict().items()}
