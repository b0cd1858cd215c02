"""The largest memory that a process and those it started have taken together."""

import contextlib
import threading
from typing import Self

import psutil

INTERVAL = 0.1
"""Seconds from one look to the next."""


class PeakMemory:
    """Looks at a process tree while a block runs.

    Memory is the proportional set size, in which what processes share counts once; where the system does not tell it,
    the resident set size.

    Args:
        pid: of the process at its root; None is this one.

    Attributes:
        mib: largest so far, in MiB.
    """

    def __init__(self, pid: int | None = None) -> None:
        self.mib = 0.0
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            total = 0
            with contextlib.suppress(psutil.Error):  # the root has ended
                root = psutil.Process(self._pid)
                for process in [root, *root.children(recursive=True)]:
                    with contextlib.suppress(psutil.Error):  # it has just ended
                        memory = process.memory_full_info()
                        total += getattr(memory, "pss", memory.rss)
            self.mib = max(self.mib, total / 2**20)
            if self._stop.wait(INTERVAL):
                return
