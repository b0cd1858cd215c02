"""Several processes that train one refiner together, as ``accelerate launch`` starts them.

Each computes the networks on its share of every batch. What is drawn at random and the history buffer are those of the
whole batch, alike in every process, so that N processes do what one would do, but for the order of additions. Gradients
are averaged after each backward pass, without a wrapper around the networks: they are small, and a wrapper would wait
for the gradients of the player that is frozen. One process alone does nothing of this.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from refiner.core.errors import RefinerError, RunError
from refiner.core.rng import BatchSlice

Result = TypeVar("Result")


def is_main_process() -> bool:
    """Whether this is the process that speaks and writes for all."""
    return os.environ.get("RANK", "0") == "0"


def process_count() -> int:
    """How many were started together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def end_at_once(status: int) -> None:
    """End this process, where it is one of several, without tearing down the threads of the collectives.

    That aborts now and then, and the launcher would take a job that is done for one that failed.
    """
    if process_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class Processes:
    """One of the processes that train together.

    Args:
        device: ``cpu`` or ``cuda``.

    Attributes:
        count: of processes.
        rank: of this one, from 0.
        device: where this one computes.
    """

    def __init__(self, device: str) -> None:
        self.count, self.rank, self.device = process_count(), int(os.environ.get("RANK", "0")), torch.device(device)
        if self.count > 1:
            from accelerate import PartialState

            self.device = PartialState(cpu=device == "cpu").device

    def wait(self) -> None:
        """Until every process has come as far as this."""
        self.any(False)

    def end_training(self) -> None:
        """Part from the others; without it a process that ends first makes the others crash."""
        if self.count > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    @property
    def is_main_process(self) -> bool:
        """Whether this one writes."""
        return self.rank == 0

    def rows(self, batch: int) -> BatchSlice:
        """The share that this one has of a batch, which the number of processes divides."""
        share = batch // self.count
        return BatchSlice(self.rank * share, share, batch)

    # --- figures and gradients -------------------------------------------------------------------------------------

    def gather(self, tensor: Tensor) -> Tensor:
        """The rows of all processes, (N, ...) to (count * N, ...), in the order of the batch; without gradients."""
        if self.count == 1:
            return tensor.detach()
        from accelerate.utils import gather

        gathered: Tensor = gather(tensor.detach())
        return gathered

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes, without gradients."""
        if self.count == 1:
            return values.detach()
        from accelerate.utils import reduce

        mean: Tensor = reduce(values.detach().clone(), reduction="mean")
        return mean

    def average_gradients(self, network: nn.Module) -> None:
        """Give every process the gradients of the whole batch."""
        if self.count == 1:
            return
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        means = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, mean in zip(gradients, means.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process."""
        return flag if self.count == 1 else bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    # --- errors ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def errors_of_any_process(self) -> Iterator[None]:
        """A block that every process gets through, or none.

        Raises:
            RefinerError: in the first process, that of any.

        The others end without a word.
        """
        if self.count == 1:
            yield
            return
        error: RefinerError | None = None
        try:
            yield
        except RefinerError as raised:
            error = raised
        from accelerate.utils import gather_object

        told: list[str | None] = gather_object([None if error is None else str(error)])
        for rank, message in enumerate(told):
            if message is not None:
                self._end(error if rank == self.rank and error else RunError(f"process {rank}: {message}"))

    def main_process_first(self, work: Callable[[], Result]) -> Result:
        """What ``work`` gives: the first process does it, then the others.

        Raises:
            RefinerError: of the first.
        """
        result: list[Result] = []
        error: RefinerError | None = None
        if self.is_main_process:
            try:
                result.append(work())
            except RefinerError as raised:
                error = raised
        if self.any(error is not None):
            raise error or RunError("the first process has failed")
        return result[0] if result else work()

    @contextlib.contextmanager
    def errors_of_main_process(self, shared: Iterable[type[RefinerError]]) -> Iterator[None]:
        """A block whose errors of these types meet every process, and are told by the first."""
        try:
            yield
        except tuple(shared) as error:
            self._end(error)

    def _end(self, error: RefinerError) -> None:
        if self.is_main_process:
            raise error
        end_at_once(1)
