"""Which paths name a store; known before h5py is imported."""

from pathlib import Path

STORE_SUFFIXES = (".h5", ".hdf5")


def is_store_name(path: Path) -> bool:
    """Whether a path names a store rather than a folder."""
    return path.suffix.lower() in STORE_SUFFIXES
