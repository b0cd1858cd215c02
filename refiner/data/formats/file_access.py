"""File access that readers share: a bounded search for the first files of a folder, and a cache of opened files."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from refiner.data.folders.listing import FolderWalk

T = TypeVar("T")

MAX_FOLDERS = 1000
"""Largest number of folders that :func:`first_files` visits."""


def first_files(root: Path, wanted: Callable[[str], bool], count: int = 20) -> list[str]:
    """Return the first files below a folder whose names are wanted, upper folders first.

    The search visits at most ``MAX_FOLDERS`` folders, so it is fast in a folder of a million files. Names are sorted
    within each folder. Hidden files and folders, and folders that cannot be read, are skipped. Linked folders come
    last.

    Args:
        root: the folder.
        wanted: function that accepts a file name.
        count: largest number of files.

    Returns:
        Paths relative to ``root``, with forward slashes.
    """
    found: list[str] = []
    if not root.is_dir():
        return found
    for visited, (inside, names) in enumerate(FolderWalk(root)):
        for name in filter(wanted, names):
            found.append(f"{inside}/{name}" if inside else name)
            if len(found) == count:
                return found
        if visited == MAX_FOLDERS:
            break
    return found


class RecentFiles(Generic[T]):
    """Cache of the values that ``load`` returned for the last ``count`` files; the least recently used is dropped.

    Several threads may use it. A forked process and a pickled copy start with an empty cache: open HDF5 files must not
    be shared between processes, and a lock that another thread held during the fork would never be released.

    Args:
        load: function from a path to the value, such as an open file.
        count: largest number of values in memory.
    """

    def __init__(self, load: Callable[[Path], T], count: int) -> None:
        self._load, self._count = load, count
        self._start_empty()

    def _start_empty(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Path, T] = OrderedDict()
        self._process = os.getpid()

    def __call__(self, path: Path) -> T:
        """Return the value of a file. One thread loads at a time; errors of ``load`` pass through and are not kept."""
        if self._process != os.getpid():
            self._start_empty()
        with self._lock:
            if path not in self._kept:
                while len(self._kept) >= self._count:  # before loading, so that no more than count are in memory
                    self._kept.popitem(last=False)
                self._kept[path] = self._load(path)
            self._kept.move_to_end(path)
            return self._kept[path]

    def __getstate__(self) -> tuple[Callable[[Path], T], int]:
        return self._load, self._count

    def __setstate__(self, state: tuple[Callable[[Path], T], int]) -> None:
        self._load, self._count = state
        self._start_empty()
