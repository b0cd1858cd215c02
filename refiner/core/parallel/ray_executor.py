"""Tasks on the cluster that Ray finds: each is done again where the process or the machine that did it died.

Whatever a task writes must therefore be the same when it is written twice, and appear at once: files under their names,
parts of stores. All machines see the same files under the same paths, and have this package.
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
    """Results of ``function`` over ``tasks``, as they come.

    Args:
        function: picklable; sent to each process once.
        tasks: picklable; all of them are given out at once.
        workers: processes, a core each; 0 takes the cores of the cluster as it is now.

    Raises:
        DeviceError: Ray is not installed, or no cluster answers.
        RefinerError: what ``function`` raised.
    """
    ray = _connect()
    job = {"function": pickle.dumps(function), "folder": str(Path.cwd())}  # small, and no argument that could be lost
    sent = [{**job, "task": pickle.dumps(task)} for task in tasks]
    if not sent:
        return
    pool = ray.data.ActorPoolStrategy(size=min(len(sent), workers or int(ray.cluster_resources().get("CPU", 1))))
    results = ray.data.from_items(sent, override_num_blocks=len(sent)).map(_Worker, compute=pool, num_cpus=1)
    for row in results.iter_rows():
        result = pickle.loads(row["result"])
        if isinstance(result, RefinerError):
            raise result
        yield result


def _connect() -> Any:
    """Ray, with the cluster of ``RAY_ADDRESS``, or one of this machine alone."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # it would copy the folder one stands in to all nodes
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise missing_extra("ray") from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError) as error:
        where = os.environ.get("RAY_ADDRESS", "this machine")
        raise DeviceError(
            f"--engine ray: no cluster answers at {where} ({error}); start one, or set RAY_ADDRESS"
        ) from error
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


class _Worker:
    """A process of the cluster, which keeps the function, and what that keeps open."""

    def __init__(self) -> None:
        self.function: Callable[[Any], Any] | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, bytes]:
        if self.function is None:
            os.chdir(row["folder"])  # where the driver stands, for relative paths
            self.function = pickle.loads(row["function"])
        try:
            result = self.function(pickle.loads(row["task"]))
        except RefinerError as error:  # the same again would meet the same
            result = error
        return {"result": pickle.dumps(result)}
