"""Measurement of the peak memory of a process together with its child processes."""

import contextlib
import threading
from typing import Self

import psutil

INTERVAL = 0.1
"""Time between two samples in seconds."""


class PeakMemory:
    """A context manager that samples the memory of a process tree while its block runs.

    Memory is the proportional set size, which counts shared memory once. If the system does not report it, the resident
    set size is used.

    Args:
        pid: process at the root of the tree; None means this process.

    Attributes:
        mib: peak memory so far, in MiB.
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
