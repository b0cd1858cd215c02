"""Several processes that train one refiner together, as ``accelerate launch`` starts them.

Each process computes the networks on its slice of every batch. Random choices and the history buffer are those of the
whole batch, equal in every process. So N processes do what one process does, except for the order of additions.

Gradients are averaged after each backward pass, without a wrapper around the networks. The networks are small, and a
wrapper would wait for gradients of the network that is frozen. With a single process, nothing here communicates.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from refiner.core.errors import RefinerError, RunError
from refiner.core.processes import is_main_process
from refiner.core.rng import BatchSlice

Result = TypeVar("Result")


def num_processes() -> int:
    """Return the number of processes that were started together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def end_at_once(status: int) -> None:
    """End this process without tearing down the threads of the collectives, if it is one of several.

    The teardown aborts now and then, and the launcher would report a finished job as failed.
    """
    if num_processes() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


@contextlib.contextmanager
def report_once(shared: Iterable[type[RefinerError]]) -> Iterator[None]:
    """Run a block whose errors of these types occur in every process; only the main process reports them."""
    try:
        yield
    except tuple(shared) as error:
        _end(error)


def _end(error: RefinerError) -> None:
    """Raise an error in the main process; end any other process without a message."""
    if is_main_process():
        raise error
    end_at_once(1)


class Processes:
    """The group of processes that train together, as one of them sees it.

    Args:
        device: ``cpu`` or ``cuda``.

    Attributes:
        num_processes: number of processes.
        process_index: index of this process, from 0.
        device: device of this process.
    """

    def __init__(self, device: str) -> None:
        self.num_processes, self.process_index = num_processes(), int(os.environ.get("RANK", "0"))
        self.device = torch.device(device)
        if self.num_processes > 1:
            from accelerate import PartialState

            self.device = PartialState(cpu=device == "cpu").device

    def wait_for_everyone(self) -> None:
        """Block until every process has reached this call."""
        self.any(False)

    def end_training(self) -> None:
        """Leave the group; without this call, a process that ends first makes the others crash."""
        if self.num_processes > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes files and messages for all."""
        return self.process_index == 0

    def batch_slice(self, batch: int) -> BatchSlice:
        """Return this process's slice of a batch; the number of processes must divide the batch."""
        share = batch // self.num_processes
        return BatchSlice(self.process_index * share, share, batch)

    # --- metrics and gradients -------------------------------------------------------------------------------------

    def gather(self, tensor: Tensor) -> Tensor:
        """Concatenate the rows of all processes in the order of the batch, without gradients.

        Args:
            tensor: (N, ...) of this process.

        Returns:
            (num_processes * N, ...).
        """
        if self.num_processes == 1:
            return tensor.detach()
        from accelerate.utils import gather

        gathered: Tensor = gather(tensor.detach())
        return gathered

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over processes, without gradients."""
        if self.num_processes == 1:
            return values.detach()
        from accelerate.utils import reduce

        mean: Tensor = reduce(values.detach().clone(), reduction="mean")
        return mean

    def average_gradients(self, network: nn.Module) -> None:
        """Give the network of every process the gradients of the whole batch."""
        if self.num_processes == 1:
            return
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        # One message for all weights: a message for each would cost more than the bytes.
        means = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, mean in zip(gradients, means.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        if self.num_processes == 1:
            return flag
        return bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    # --- errors ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def raise_together(self) -> Iterator[None]:
        """Run a block that either all processes complete or none.

        The other processes end without a message.

        Raises:
            RefinerError: in the main process, if any process raised it.
        """
        if self.num_processes == 1:
            yield
            return
        error: RefinerError | None = None
        try:
            yield
        except RefinerError as raised:
            error = raised
        from accelerate.utils import gather_object

        # The first error is raised in the main process; the others end.
        messages: list[str | None] = gather_object([None if error is None else str(error)])
        for index, message in enumerate(messages):
            if message is not None:
                own = error if index == self.process_index else None
                _end(own or RunError(f"process {index}: {message}"))

    def main_process_first(self, work: Callable[[], Result]) -> Result:
        """Call ``work`` in the main process, then in the others, and return its result.

        Raises:
            RefinerError: the main process raised it.
        """
        result: list[Result] = []
        error: RefinerError | None = None
        if self.is_main_process:
            try:
                result.append(work())
            except RefinerError as raised:
                error = raised
        # Every process learns of a failure before it waits for the others.
        if self.any(error is not None):
            raise error or RunError("the main process has failed")
        return result[0] if result else work()
