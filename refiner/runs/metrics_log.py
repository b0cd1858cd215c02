"""Running means of what updates measure, written to ``metrics.jsonl`` and TensorBoard."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from accelerate.tracking import TensorBoardTracker
from torch import Tensor

from refiner.runs.folder import RunFolder


class MetricsLog:
    """Metrics of a run since the last line that was written.

    Args:
        folder: the run folder.
        batch_size: images of a step, for the rate.
        writes: False in processes that only add metrics.
    """

    def __init__(self, folder: RunFolder, *, batch_size: int, writes: bool = True) -> None:
        self._folder, self._batch_size, self._writes = folder, batch_size, writes
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._tracker: TensorBoardTracker | None = None
        self._first_step, self._start = 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return sums and counts of the metrics that are not written yet."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])

    @contextlib.contextmanager
    def open(self, step: int) -> Iterator[None]:
        """Open the log at a step for a block. Lines after the step are dropped: those steps are measured again."""
        self._first_step, self._start = step, time.perf_counter()
        if not self._writes:
            yield
            return
        # Both logs are cut back to the checkpoint's step.
        self._folder.cut_metrics(step)
        self._tracker = TensorBoardTracker("", str(self._folder.path), purge_step=step + 1)
        self._tracker.start()
        try:
            yield
        finally:
            self._tracker.finish()

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Add the scalars that one update measured."""
        for name, value in metrics.items():
            value = value.detach().double()  # added where it is: copying would wait for a GPU at every step
            self._sums[name] = self._sums[name].to(value.device) + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def write(self, step: int, further: Mapping[str, float]) -> dict[str, float]:
        """Write one line: the mean of each metric over the updates that measured it, and further metrics.

        Returns:
            The metrics of the line, without the clock columns.
        """
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()} | dict(further)
        self._sums, self._counts = {}, {}
        if self._tracker is not None:
            # Clock columns differ between equal runs, and are not in TensorBoard.
            seconds = time.perf_counter() - self._start
            clock = {
                "seconds": seconds,
                "images_per_second": (step - self._first_step) * self._batch_size / seconds,
            }
            rounded = {name: float(f"{value:.6g}") for name, value in {**means, **clock}.items()}
            self._folder.log_metrics({"step": step, **rounded})
            self._tracker.log(means, step=step)
        return means
