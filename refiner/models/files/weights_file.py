"""Safetensors files with weights and one JSON object of metadata.

The metadata entry has the name of the file's kind, ``refiner`` or ``estimator``. Loading never unpickles anything and
needs no torch. Equal weights and metadata give equal files, byte for byte.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from refiner.core.errors import DataError, WrongInputError
from refiner.core.files import check_regular, write_bytes
from refiner.core.path_kinds import missing_bytes, path_kind

Array = np.ndarray[Any, Any]


def write_weights(path: Path, kind: str, weights: Mapping[str, Array], metadata: Mapping[str, Any]) -> None:
    """Write a weights file atomically.

    Args:
        path: the file.
        kind: kind of the file, the name of its metadata entry.
        weights: contiguous arrays by name.
        metadata: plain values without clock times, so that equal runs give equal files.

    Raises:
        OutputError: the file cannot be written.
    """
    # One entry only: safetensors writes several in an order that varies from process to process.
    entry = {kind: json.dumps(metadata, sort_keys=True)}
    write_bytes(path, safetensors.numpy.save(dict(weights), entry), durable=True)


def read_weights(path: Path, kind: str, *, format_version: int) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read the weights and the metadata of a weights file.

    Args:
        path: the file.
        kind: kind of the file, the name of its metadata entry.
        format_version: newest format version that can be read.

    Returns:
        Arrays by name, and the metadata.

    Raises:
        DataError: the file is missing, damaged, of another kind, or of a newer format version.
    """
    # Read the file without interpreting it.
    try:
        check_regular(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            entry = (file.metadata() or {}).get(kind)
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, TypeError, safetensors.SafetensorError) as error:
        raise _reading_error(path, kind, error) from error
    # Check its kind, its version and its values.
    if entry is None:
        raise WrongInputError(f"{path} is {path_kind(path)}, not {_article(kind)} file as this package writes it")
    try:
        metadata = dict(json.loads(entry))
        version = int(metadata["format_version"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} has {kind} metadata that cannot be read: {error}") from error
    if version > format_version:
        raise DataError(
            f"{path} has format version {version}, which is newer than {format_version}; update simgan-refiner"
        )
    if not all(np.isfinite(values).all() for values in weights.values()):
        raise DataError(
            f"{path} holds weights that are not finite; train again with a smaller learning rate, or use another file"
        )
    return weights, metadata


def _reading_error(path: Path, kind: str, error: Exception) -> DataError:
    """Return the error for a file that the library cannot read, in words that tell what to do."""
    wanted = f"{_article(kind)} file (.safetensors)"
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        return DataError(f"{path} cannot be read: {error.strerror or error}")
    missing = missing_bytes(path)
    if missing is None and path.suffix == ".safetensors" and path.exists():
        return DataError(f"{path} is damaged: its first bytes are not those of a weights file; copy it again")
    if missing is None:
        return WrongInputError(f"{path} is {path_kind(path)}, not {wanted}")
    problem = f"the last {missing:,} bytes are missing" if missing else "its content does not match its header"
    return DataError(f"{path} is damaged: {problem}; copy {wanted} that is whole, or train again")


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def read_kind(path: Path) -> str | None:
    """Return the kind of a weights file, or None for a file that has none or cannot be read."""
    try:
        check_regular(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            return next(iter(file.metadata() or {}), None)
    except (OSError, TypeError, safetensors.SafetensorError):
        return None


def weights_digest(weights: Mapping[str, Array]) -> str:
    """Return the SHA-256 of weights, by name and value."""
    total = hashlib.sha256()
    for name, values in sorted(weights.items()):
        total.update(name.encode() + values.tobytes())
    return total.hexdigest()
