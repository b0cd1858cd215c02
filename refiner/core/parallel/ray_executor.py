"""Parallel map over a Ray cluster, which repeats a task if its process or machine dies.

A task may run twice. Its output must therefore be the same each time and must appear atomically, as files under their
final names or chunks of stores do. All machines must see the same files under the same paths, and must have this
package installed.
"""

import logging
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from refiner.core.errors import DeviceError, RefinerError, missing_extra

_AHEAD = 2  # submitted tasks for each core of the cluster

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_on_ray(function: Callable[[Task], Result], tasks: Iterable[Task], *, workers: int) -> Iterator[Result]:
    """Apply a function to tasks on a Ray cluster and yield the results as they become available.

    Args:
        function: must be picklable; each process receives it once.
        tasks: must be picklable; only a bounded number of them is submitted in advance.
        workers: largest number of tasks that are computed at the same time, with a core each; 0 takes all cores of the
            cluster, also of nodes that join later.

    Raises:
        DeviceError: Ray is not installed, or no cluster answers.
        RefinerError: ``function`` raised this error.
    """
    ray = _connect()
    call = ray.remote(num_cpus=1, max_retries=-1)(refine_task)
    job = ray.put((pickle.dumps(function), str(Path.cwd())))  # small, but every task needs it
    pending: list[Any] = []
    # Keep a bounded queue of submitted tasks, and yield results as soon as they come.
    for task in tasks:
        pending.append(call.remote(job, pickle.dumps(task)))
        while len(pending) >= max(1, workers or _AHEAD * int(ray.cluster_resources().get("CPU", 1))):
            done, pending = ray.wait(pending)
            yield _result(ray.get(done[0]))
    while pending:
        done, pending = ray.wait(pending)
        yield _result(ray.get(done[0]))


def _result(pickled: bytes) -> Any:
    """Return the result of a task, or raise the error that it returned."""
    result = pickle.loads(pickled)
    if isinstance(result, RefinerError):
        raise result
    return result


def _connect() -> Any:
    """Return Ray, connected to the cluster of ``RAY_ADDRESS`` or to a new one on this machine."""
    # Import Ray and keep it quiet.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # it would copy the current folder to all nodes
    try:
        import ray
    except ImportError as error:
        raise missing_extra("ray") from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Connect to a cluster.
    try:
        ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError) as error:
        where = os.environ.get("RAY_ADDRESS", "this machine")
        raise DeviceError(f"no Ray cluster answers at {where} ({error}); start one, or set RAY_ADDRESS") from error
    return ray


_opened: tuple[bytes, Callable[[Any], Any]] | None = None  # in a worker process: the function with its open files


def refine_task(job: tuple[bytes, str], task: bytes) -> bytes:
    """Apply the function of a job to a task, in a process of the cluster; the process keeps the function open."""
    global _opened
    pickled, folder = job
    if _opened is None or _opened[0] != pickled:
        os.chdir(folder)  # relative paths refer to the folder of the driver
        _opened = pickled, pickle.loads(pickled)
    try:
        result = _opened[1](pickle.loads(task))
    except RefinerError as error:  # repeating the task would raise the same error
        result = error
    return pickle.dumps(result)
