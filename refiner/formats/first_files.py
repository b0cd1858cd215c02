"""The first files of a tree, for readers that look whether a folder has their layout."""

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

MAX_FOLDERS = 1000
"""Folders gone through before a search ends."""


def first_files(root: Path, wanted: Callable[[str], bool], count: int = 20) -> list[str]:
    """Up to ``count`` files below a folder whose names are wanted, as relative paths; the upper folders first.

    Names are sorted within each folder, hidden ones left out. Nothing is found in what cannot be read, and the
    search ends early, so that a million files, or as many folders, cost little.
    """
    found: list[str] = []
    for gone, (folder, folders, files) in enumerate(os.walk(root)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = PurePosixPath(Path(folder).relative_to(root).as_posix())
        for name in sorted(name for name in files if not name.startswith(".")):
            if wanted(name):
                found.append((inside / name).as_posix())
                if len(found) == count:
                    return found
        if gone == MAX_FOLDERS:
            break
    return found
