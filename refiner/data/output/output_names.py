"""Names in an output: which are safe to write, and where the state of a job lies."""

import os
from pathlib import Path, PurePosixPath

from refiner.data.labels.tables import LABELS_FILE, REJECTED_FILE
from refiner.data.store.store_names import is_store_name

STATE_FOLDER = ".refiner"
"""Name of the state folder in an output folder."""

MAX_NAME_BYTES = 255
"""Longest name of a file or folder, in bytes."""


def state_folder(output: Path) -> Path:
    """Return the state folder of an output: ``.refiner`` in a folder, ``OUT.h5.parts`` beside a store."""
    return output.with_name(f"{output.name}.parts") if is_store_name(output) else output / STATE_FOLDER


def leads_out(name: str) -> bool:
    """Return whether a name cannot be used in an output folder.

    Such a name is empty, leads out of the folder, or leads into the state folder or below a table.
    """
    parts = PurePosixPath(name).parts
    return leads_away(name) or (len(parts) > 1 and parts[0] in (LABELS_FILE, REJECTED_FILE))


def leads_away(name: str) -> bool:
    """Return whether a name is empty, leads out of the folder, or leads into the state folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or not path.name:
        return True
    return len(path.parts) > 1 and path.parts[0] == STATE_FOLDER


def is_too_long(name: str) -> bool:
    """Return whether a component of a name is too long for a file system, as ``x.jpg.png`` can be."""
    return any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in PurePosixPath(name).parts)
