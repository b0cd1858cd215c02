"""File suffixes of a store, in a module that does not import h5py."""

from pathlib import Path

STORE_SUFFIXES = (".h5", ".hdf5")
"""Suffixes of a store's file name, in lower case."""


def is_store_name(path: Path) -> bool:
    """Return whether a path names a store rather than a folder."""
    return path.suffix.lower() in STORE_SUFFIXES
