"""Ordered parallel map over worker processes."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, TypeVar

from refiner.core.errors import OutputError

Task = TypeVar("Task")
Result = TypeVar("Result")

_function: Callable[[Any], Any] | None = None  # set in each worker process


def map_in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], *, workers: int, ahead: int = 2
) -> Iterator[Result]:
    """Apply a function to tasks and yield the results in order, computing only a bounded number in advance.

    Args:
        function: must be picklable if ``workers`` > 1. Each process receives it once, so that it may keep files or
            models open.
        tasks: must be picklable if ``workers`` > 1.
        workers: number of processes; 1 computes in this process.
        ahead: tasks submitted for each worker before the first result is taken.

    Raises:
        OutputError: a worker process died, for example because memory ran out.
    """
    if workers <= 1:
        yield from map(function, tasks)
        return
    # The function travels once to each worker; tasks then carry only their own data.
    pool = ProcessPoolExecutor(workers, _context(function), initializer=_start, initargs=(function,))
    pending: deque[Future[Result]] = deque()
    try:
        # Keep a bounded queue of submitted tasks, and yield the oldest result when it is full.
        for task in tasks:
            pending.append(pool.submit(_call, task))
            if len(pending) >= workers * ahead:
                yield pending.popleft().result()
        # Yield the remaining results.
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise OutputError("a worker process was killed, perhaps because memory ran out; use fewer --workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


def begin_imports(*modules: str) -> None:
    """Start the fork server and let it import the modules of the workers in the background.

    The function does nothing on platforms without a fork server.
    """
    if sys.platform != "linux":
        return
    from multiprocessing import forkserver, resource_tracker  # not available on every platform

    # Block Ctrl-C while the helper processes start, so that only this process reacts to it.
    multiprocessing.set_forkserver_preload(list(modules))
    resource_tracker.ensure_running()  # otherwise it starts below and unblocks interrupts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the server inherits the blocked Ctrl-C
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _context(function: Callable[[Any], Any]) -> multiprocessing.context.BaseContext:
    """Return a start method whose workers share the memory of imported modules.

    Forking this process is avoided: its threads may make a fork hang, and Apple's libraries may make it crash.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    begin_imports(getattr(function, "__module__", type(function).__module__))
    return multiprocessing.get_context("forkserver")


def _start(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """End the worker when its parent is killed, before it can write where the next run writes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _call(task: Any) -> Any:
    assert _function is not None
    return _function(task)
