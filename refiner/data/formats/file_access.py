"""The last few files that a reader opened: bounded, safe for threads, and never shared between processes."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Generic, TypeVar

T = TypeVar("T")


class RecentFiles(Generic[T]):
    """What ``load`` made of the last ``count`` files; the one not asked for longest is dropped first.

    A process that was forked from this one, or that was sent a copy, starts empty: open HDF5 files must not be
    shared between processes, and a lock that another thread held at the fork would stay shut for ever.
    """

    def __init__(self, load: Callable[[Path], T], count: int) -> None:
        self._load, self._count = load, count
        self._start_empty()

    def _start_empty(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Path, T] = OrderedDict()
        self._process = os.getpid()

    def __call__(self, path: Path) -> T:
        """What was made of this file; loaded by one thread at a time, an error is not kept."""
        if self._process != os.getpid():
            self._start_empty()
        with self._lock:
            if path not in self._kept:
                while len(self._kept) >= self._count:  # before loading, so that memory holds no more than count
                    self._kept.popitem(last=False)
                self._kept[path] = self._load(path)
            self._kept.move_to_end(path)
            return self._kept[path]

    def __getstate__(self) -> tuple[Callable[[Path], T], int]:
        return self._load, self._count

    def __setstate__(self, state: tuple[Callable[[Path], T], int]) -> None:
        self._load, self._count = state
        self._start_empty()


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
