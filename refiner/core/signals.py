"""Ctrl-C and SIGTERM as a request: the program finishes and saves its current step before it stops."""

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Context manager that records the first Ctrl-C or SIGTERM instead of stopping the program.

    The first signal sets ``requested``. A second one has its usual effect, because the previous handlers are
    restored. Outside the main thread the context manager does nothing, since Python delivers no signals there.

    Attributes:
        requested: whether a signal has arrived; the loop checks it after each step.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._request) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        log.warning("stopping after the current step; press Ctrl-C again to stop at once")
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
