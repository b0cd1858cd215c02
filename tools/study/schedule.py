"""Run tasks on several processes, each as soon as its inputs are finished. A failed task does not stop the others."""

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
"""Callback for each task that ended, with the seconds it took or the reason of its failure."""


def run_tasks(tasks: Sequence[Task], place: Place, *, workers: int, report: Report) -> int:
    """Run all tasks, in their order as far as their inputs allow.

    Args:
        tasks: each after its inputs; inputs that are not among them are finished.
        place: paths and device.
        workers: number of processes, of one thread each; 0 runs the tasks in this process.
        report: called for each task that ended.

    Returns:
        Number of tasks that failed or could not start.

    Raises:
        OutputError: a worker process was killed.
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
            # Start as many tasks as there are idle workers.
            while len(running) < workers and (task := schedule.next()):
                running[pool.submit(_outcome, task, place)] = task
            if not running:
                return schedule.failures(report)
            # Wait for at least one of them to end.
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                schedule.end(running.pop(future), report, future.result())
    except BrokenProcessPool as error:
        raise OutputError(
            "a worker process was killed, perhaps because memory ran out; "
            "run the same command with fewer --workers to resume"
        ) from error
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():
            process.terminate()  # training saves a checkpoint
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class _Schedule:
    """The tasks that wait, and the outcome of those that ended."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._waiting = {task.digest: task for task in tasks}
        self._ended: dict[str, bool] = {}  # True if it succeeded
        self._own = set(self._waiting)

    def next(self) -> Task | None:
        """Take the first waiting task whose inputs are all finished; None if there is none."""
        for digest, task in self._waiting.items():
            needed = [entry.digest for entry in task.inputs.values() if entry.digest in self._own]
            if all(self._ended.get(entry) for entry in needed):
                return self._waiting.pop(digest)
        return None

    def end(self, task: Task, report: Report, outcome: float | str) -> None:
        """Record the outcome of a task."""
        self._ended[task.digest] = not isinstance(outcome, str)
        report(task, outcome)

    def failures(self, report: Report) -> int:
        """Count the failed tasks and those that waited for them."""
        for task in self._waiting.values():
            report(task, "was not started, because one of its inputs failed")
        return len(self._waiting) + sum(not succeeded for succeeded in self._ended.values())


def _outcome(task: Task, place: Place) -> float | str:
    """Run a task; return its seconds, or the reason of its failure in one sentence."""
    from tools.study.products.stages import perform

    log.info("%s: started", task)
    try:
        seconds = perform(task, place)
    except RefinerError as error:
        log.error("%s: %s", task, error)
        return str(error)
    except Exception as error:
        log.exception("%s", task)
        return f"{type(error).__name__}: {error}; see study.log for the traceback"
    log.info("%s: done in %.0f s", task, seconds)
    return seconds


def _start(log_file: Path) -> None:
    """Prepare a worker process: one thread, its own log, and an end when its parent ends."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it
    threading.Thread(target=_die_with_parent, daemon=True).start()
    logging.basicConfig(filename=log_file, format="%(asctime)s %(process)d %(name)s %(message)s", level=logging.INFO)


def _die_with_parent() -> None:
    """End this process with its parent: it would otherwise write into the folders of the next run."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_objects([parent.sentinel])
        os._exit(1)
