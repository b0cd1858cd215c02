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

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_on_ray(function: Callable[[Task], Result], tasks: Iterable[Task], *, workers: int) -> Iterator[Result]:
    """Apply a function to tasks on a Ray cluster and yield the results as they become available.

    Args:
        function: must be picklable; each process receives it once.
        tasks: must be picklable; all of them are submitted at once.
        workers: number of processes with a core each; 0 takes the current number of cores of the cluster.

    Raises:
        DeviceError: Ray is not installed, or no cluster answers.
        RefinerError: ``function`` raised this error.
    """
    ray = _connect()
    # Each task carries the function. It is small, and a restarted worker needs no other source for it.
    job = {"function": pickle.dumps(function), "folder": str(Path.cwd())}
    sent = [{**job, "task": pickle.dumps(task)} for task in tasks]
    if not sent:
        return
    pool = ray.data.ActorPoolStrategy(size=min(len(sent), workers or int(ray.cluster_resources().get("CPU", 1))))
    results = ray.data.from_items(sent, override_num_blocks=len(sent)).map(_Worker, compute=pool, num_cpus=1)
    # Yield results, or raise the first error that a worker has returned.
    for row in results.iter_rows():
        result = pickle.loads(row["result"])
        if isinstance(result, RefinerError):
            raise result
        yield result


def _connect() -> Any:
    """Return Ray, connected to the cluster of ``RAY_ADDRESS`` or to a new one on this machine."""
    # Import Ray and keep it quiet.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # it would copy the current folder to all nodes
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise missing_extra("ray") from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Connect to a cluster.
    try:
        ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError) as error:
        where = os.environ.get("RAY_ADDRESS", "this machine")
        raise DeviceError(f"no Ray cluster answers at {where} ({error}); start one, or set RAY_ADDRESS") from error
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


class _Worker:
    """Worker process of the cluster; it keeps the function, with its open files and models."""

    def __init__(self) -> None:
        self.function: Callable[[Any], Any] | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, bytes]:
        if self.function is None:
            os.chdir(row["folder"])  # relative paths refer to the folder of the driver
            self.function = pickle.loads(row["function"])
        try:
            result = self.function(pickle.loads(row["task"]))
        except RefinerError as error:  # repeating the task would raise the same error
            result = error
        return {"result": pickle.dumps(result)}
