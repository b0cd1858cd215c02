"""Description of what a path leads to, for the messages about paths of the wrong kind.

The description comes from the first bytes of a file, or from the names in a folder. Nothing is decoded.
"""

import json
import os
import re
from pathlib import Path

from refiner.core.files import check_regular

REFINER = "a refiner file"
ESTIMATOR = "an estimator file"
REFINER_RUN = "the run folder of a refiner"
GAZE_RUN = "the run folder of a gaze estimator"

_KINDS = {"refiner": REFINER, "estimator": ESTIMATOR}

_SIGNATURES = {
    b"\x89HDF": "an HDF5 file",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"II*\0": "an image",
    b"MM\0*": "an image",
    b"RIFF": "an image",
    b"BM": "an image",
    b"GIF8": "an image",
    b"P5": "an image",
    b"P6": "an image",
    b"PK": "an archive (unpack it first)",
    b"\x1f\x8b": "an archive (unpack it first)",
}

_RUN_FILES = ("metrics.jsonl", "environment.json", "checkpoints")

_HEADER_LIMIT = 2**24


def path_kind(path: Path) -> str:
    """Describe a path in a few words that follow "is", as in "a refiner file" or "an empty folder"."""
    try:
        if path.is_dir():
            return _folder_kind(path)
        if not path.exists():
            return "missing"
        size = check_regular(path)
        with path.open("rb") as stream:
            start = stream.read(64)
    except OSError:
        return "not readable"
    if not size:
        return "an empty file"
    if (entry := _safetensors_entry(path)) is not None:
        return _KINDS.get(entry, "a safetensors file of another program")
    for signature, kind in _SIGNATURES.items():
        if start.startswith(signature):
            return kind
    return f"a {path.suffix.lower()} file" if path.suffix else "a file of another type"


def is_network(kind: str) -> bool:
    """Return whether a description of :func:`path_kind` is that of a refiner, an estimator, or a run folder."""
    return kind in (REFINER, ESTIMATOR, REFINER_RUN, GAZE_RUN)


def is_gaze_run(path: Path) -> bool:
    """Check a run folder for the result of gaze training, or before that for its settings."""
    if (path / "estimator.safetensors").exists():
        return True
    try:
        check_regular(path / "config.yaml")
        return re.search(rb"^neighbours:", (path / "config.yaml").read_bytes(), re.MULTILINE) is not None
    except OSError:
        return False


def missing_bytes(path: Path) -> int | None:
    """Return how many bytes are missing at the end of a safetensors file; None if it does not begin as one."""
    try:
        header = _safetensors_header(path)
        size = check_regular(path)
    except OSError:
        return None
    if header is None:
        return None
    length, entries = header
    ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
    return max(0, 8 + length + max(ends, default=0) - size)


def _folder_kind(path: Path) -> str:
    with os.scandir(path) as entries:
        names = {entry.name for _, entry in zip(range(10_000), entries, strict=False)}
    if not names:
        return "an empty folder"
    if "estimator.safetensors" in names or ("config.yaml" in names and names.intersection(_RUN_FILES)):
        return GAZE_RUN if is_gaze_run(path) else REFINER_RUN
    return "a folder"


def _safetensors_entry(path: Path) -> str | None:
    """Return the name of the first metadata entry of a safetensors file; empty if it has none, None for other files."""
    try:
        header = _safetensors_header(path)
    except OSError:
        return None
    if header is None:
        return None
    metadata = header[1].get("__metadata__")
    return next(iter(metadata), "") if isinstance(metadata, dict) else ""


def _safetensors_header(path: Path) -> tuple[int, dict[str, dict[str, list[int]]]] | None:
    """Return the length of the header of a safetensors file, and the header; None for other files."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= _HEADER_LIMIT:
            return None
        try:
            header = json.loads(stream.read(length))
        except (ValueError, RecursionError):
            return None
    return (length, header) if isinstance(header, dict) else None
