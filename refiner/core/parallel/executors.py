"""Where the tasks of a job are computed: in this process, on several processes, or on a Ray cluster."""

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
    """What computes the tasks of a job.

    Attributes:
        name: one of :data:`ENGINES`.
        workers: processes; with ``ray`` on the whole cluster.
    """

    name: str = "local"
    workers: int = 1

    @property
    def threads(self) -> int | None:
        """Threads of a process, so that all of them share the cores; None leaves them as they are."""
        if self.name == "ray":
            return 1
        return None if self.workers == 1 else max(1, processor()["cores"] // self.workers)

    def prepare(self, *modules: str) -> None:
        """Have what other processes on this machine will need imported, while this one sorts out what is to do."""
        if self.name == "local" and self.workers > 1:
            begin_imports(*modules)

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Results as they come, a bounded number ahead of whoever takes them.

        Args:
            function: picklable beyond one process; sent to each once, so that it may keep things open.
            tasks: picklable, too.

        Raises:
            OutputError: a worker process died.
            DeviceError: Ray is asked for and not installed.
        """
        if self.name == "ray":
            from refiner.core.parallel.ray_executor import map_on_ray

            return map_on_ray(function, tasks, workers=self.workers)
        return map_in_order(function, tasks, workers=self.workers)
