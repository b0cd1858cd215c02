"""The same function over many tasks, on several processes, results in order."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, TypeVar

from refiner.errors import OutputError

Task = TypeVar("Task")
Result = TypeVar("Result")

BEGUN_HERE = 64
"""Tasks under way, at most, while processes start."""

_function: Callable[[Any], Any] | None = None  # of a worker process


def map_in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], *, workers: int, ahead: int = 2
) -> Iterator[Result]:
    """Results of ``function`` over ``tasks``, in their order, a bounded number ahead.

    Processes take seconds to start; what is beyond their first tasks is begun here meanwhile.

    Args:
        function: picklable when ``workers`` > 1; it is sent to each process once, so it may keep things open.
        tasks: picklable too.
        workers: processes; 1 computes here.
        ahead: tasks given out for each worker before the first result is taken, but for those that are done here.

    Raises:
        OutputError: a worker process died, as when memory ran out.
    """
    if workers <= 1:
        yield from map(function, tasks)
        return
    pool = ProcessPoolExecutor(workers, _context(function), initializer=_start, initargs=(function,))
    feeder = ThreadPoolExecutor(1)  # handing over the first task waits for the processes
    pending: deque[Callable[[], Result]] = deque()
    handed: Future[Future[Result]] | None = None
    try:
        for task in tasks:
            if len(pending) >= workers * ahead:
                if handed and not handed.done() and len(pending) < BEGUN_HERE:
                    pending.append(_done(function, task).result)
                    continue
                yield pending.popleft()()
            handing = feeder.submit(pool.submit, _call, task)
            handed = handed or handing
            pending.append(lambda handing=handing: handing.result().result())  # type: ignore[misc]
        while pending:
            yield pending.popleft()()
    except BrokenProcessPool as error:
        raise OutputError("a worker process was killed, perhaps for want of memory; try fewer --workers") from error
    finally:
        feeder.shutdown(cancel_futures=True)
        pool.shutdown(cancel_futures=True)


def _done(function: Callable[[Task], Result], task: Task) -> Future[Result]:
    """A task that is done at once; its error is raised when its turn comes."""
    future: Future[Result] = Future()
    try:
        future.set_result(function(task))
    except Exception as error:
        future.set_exception(error)
    return future


def _context(function: Callable[[Any], Any]) -> multiprocessing.context.BaseContext:
    """How processes start: from one that has imported what the function needs, so that they share its memory.

    A fork of this process, with its threads, may hang; and one of a process with Apple's libraries may crash.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([getattr(function, "__module__", type(function).__module__)])
    return context


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
