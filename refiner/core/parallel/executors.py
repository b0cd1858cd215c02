"""Execution of a job's tasks in this process, in several processes, or on a Ray cluster."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from refiner.core.environment import processor
from refiner.core.parallel.process_pool import begin_imports, map_in_order

Task = TypeVar("Task")
Result = TypeVar("Result")

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Engine:
    """Executor of the tasks of a job.

    Attributes:
        name: one of :data:`ENGINES`.
        workers: number of worker processes; with ``ray``, of the whole cluster.
    """

    name: str = "local"
    workers: int = 1

    @property
    def threads(self) -> int | None:
        """Threads of each worker process, so that all workers share the cores; None keeps the default."""
        if self.name == "ray":
            return 1
        return None if self.workers == 1 else max(1, processor()["cores"] // self.workers)

    def prepare(self, *modules: str) -> None:
        """Import modules for the worker processes in the background, while this process prepares the tasks."""
        if self.name == "local" and self.workers > 1:
            begin_imports(*modules)

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Apply a function to tasks and yield the results; with ``local`` in the order of the tasks.

        Args:
            function: must be picklable if there are several processes. Each process receives it once, so that it may
                keep files or models open.
            tasks: must be picklable if there are several processes.

        Raises:
            OutputError: a worker process died.
            DeviceError: the engine is ``ray``, but Ray is not installed or no cluster answers.
        """
        if self.name == "ray":
            from refiner.core.parallel.ray_executor import map_on_ray

            return map_on_ray(function, tasks, workers=self.workers)
        return map_in_order(function, tasks, workers=self.workers)
