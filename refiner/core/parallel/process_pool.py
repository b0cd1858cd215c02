"""The same function over many tasks, on several processes, results in order."""

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

_function: Callable[[Any], Any] | None = None  # of a worker process


def map_in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], *, workers: int, ahead: int = 2
) -> Iterator[Result]:
    """Results of ``function`` over ``tasks``, in their order, a bounded number ahead.

    Args:
        function: picklable when ``workers`` > 1; it is sent to each process once, so it may keep things open.
        tasks: picklable too.
        workers: processes; 1 computes here.
        ahead: tasks given out for each worker before the first result is taken.

    Raises:
        OutputError: a worker process died, as when memory ran out.
    """
    if workers <= 1:
        yield from map(function, tasks)
        return
    pool = ProcessPoolExecutor(workers, _context(function), initializer=_start, initargs=(function,))
    pending: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            pending.append(pool.submit(_call, task))
            if len(pending) >= workers * ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise OutputError("a worker process was killed, perhaps for want of memory; try fewer --workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


def begin_imports(*modules: str) -> None:
    """Have the modules that workers will need imported by another process, while this one does something else.

    Where processes do not start from such a one, nothing happens.
    """
    if sys.platform != "linux":
        return
    from multiprocessing import forkserver, resource_tracker  # not everywhere

    multiprocessing.set_forkserver_preload(list(modules))
    resource_tracker.ensure_running()  # else it is begun below, and gives interrupts free again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # what is begun now never hears of them
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _context(function: Callable[[Any], Any]) -> multiprocessing.context.BaseContext:
    """How processes start: from one that has imported what the function needs, so that they share its memory.

    A fork of this process, with its threads, may hang; and one of a process with Apple's libraries may crash.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    begin_imports(getattr(function, "__module__", type(function).__module__))
    return multiprocessing.get_context("forkserver")


def _start(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers it
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A worker whose parent was killed would wait for ever, and might write where the next run writes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _call(task: Any) -> Any:
    assert _function is not None
    return _function(task)
