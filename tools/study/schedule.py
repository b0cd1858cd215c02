"""Tasks on several processes, each as soon as its inputs are there; one that fails does not stop the others."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_objects
from pathlib import Path

from refiner.core.errors import OutputError, RefinerError
from tools.study.tasks import Place, Task

log = logging.getLogger(__name__)

Report = Callable[[Task, float | str], None]
"""Told of each task that ended: the seconds it took, or why it failed."""


def run_tasks(tasks: Sequence[Task], place: Place, *, workers: int, report: Report) -> int:
    """Do all tasks, the first of those that can be done first.

    Args:
        tasks: each after its inputs; inputs that are not among them are there.
        place: where.
        workers: processes, of one thread each; 0 works in this process.
        report: told of each.

    Returns:
        How many failed or could not be begun.

    Raises:
        OutputError: a worker process died.
    """
    schedule = _Schedule(tasks)
    if not workers:
        while task := schedule.next():
            schedule.end(task, report, _outcome(task, place))
        return schedule.failures(report)
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    log_file = place.out / "study.log"
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(log_file,))
    running: dict[Future[float | str], Task] = {}
    try:
        while True:
            while len(running) < workers and (task := schedule.next()):
                running[pool.submit(_outcome, task, place)] = task
            if not running:
                return schedule.failures(report)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                schedule.end(running.pop(future), report, future.result())
    except BrokenProcessPool as error:
        raise OutputError(
            "a worker process was killed, perhaps for want of memory; the same command goes on, try fewer --workers"
        ) from error
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():
            process.terminate()  # training saves a checkpoint
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class _Schedule:
    """Which tasks wait for which."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._waiting = {task.digest: task for task in tasks}
        self._ended: dict[str, bool] = {}  # whether it went well
        self._own = set(self._waiting)

    def next(self) -> Task | None:
        """The first task whose inputs are all there, which is then no longer waiting."""
        for digest, task in self._waiting.items():
            needed = [entry.digest for entry in task.inputs.values() if entry.digest in self._own]
            if all(self._ended.get(entry) for entry in needed):
                return self._waiting.pop(digest)
        return None

    def end(self, task: Task, report: Report, outcome: float | str) -> None:
        """Note what came of a task."""
        self._ended[task.digest] = not isinstance(outcome, str)
        report(task, outcome)

    def failures(self, report: Report) -> int:
        """How many tasks failed, with those that waited for them."""
        for task in self._waiting.values():
            report(task, "not begun, for what it needs has failed")
        return len(self._waiting) + sum(not well for well in self._ended.values())


def _outcome(task: Task, place: Place) -> float | str:
    """Seconds, or why it failed in one sentence."""
    from tools.study.products.stages import perform

    log.info("%s: begun", task)
    try:
        seconds = perform(task, place)
    except RefinerError as error:
        log.error("%s: %s", task, error)
        return str(error)
    except Exception as error:
        log.exception("%s", task)
        return f"{type(error).__name__}: {error}; its traceback is in study.log"
    log.info("%s: done in %.0f s", task, seconds)
    return seconds


def _start(log_file: Path) -> None:
    """Make a process a worker: one thread, its own log, and no life after its parent's."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers it
    threading.Thread(target=_die_with_parent, daemon=True).start()
    logging.basicConfig(filename=log_file, format="%(asctime)s %(process)d %(name)s %(message)s", level=logging.INFO)


def _die_with_parent() -> None:
    """A worker whose parent was killed would go on writing where the next run writes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_objects([parent.sentinel])
        os._exit(1)
