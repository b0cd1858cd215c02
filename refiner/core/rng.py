"""Random numbers as a function of (seed, purpose, position), so that a resumed run has little state to restore.

Every random choice in the toolkit uses a generator made here. Two runs at the same position draw the same numbers,
whatever happened before. The global generators are seeded for libraries that use them; only
those of torch are also saved and restored.
"""

import hashlib
import random
from typing import NamedTuple

import numpy as np
import torch


class BatchSlice(NamedTuple):
    """Rows of a batch that one process works on.

    Every process draws the random numbers of the whole batch and uses those of its own rows. Results therefore do
    not depend on the number of processes.

    Attributes:
        start: index of the first row in the batch.
        size: number of rows in the slice.
        batch_size: number of rows in the whole batch.
    """

    start: int
    size: int
    batch_size: int

    @property
    def slice(self) -> slice:
        """Python slice that selects the rows from the whole batch."""
        return slice(self.start, self.start + self.size)


def derived_digest(seed: int, purpose: str, *position: int) -> bytes:
    """Return 32 random bytes for one purpose at one position.

    They are a SHA-256 of the arguments. Unlike Python's ``hash`` it is the same on every machine and in every process.
    """
    # Another text would change every random number of the toolkit.
    text = "/".join([str(seed), purpose, *map(str, position)])
    return hashlib.sha256(text.encode()).digest()


def derived_seed(seed: int, purpose: str, *position: int) -> int:
    """Return a 63-bit seed for one purpose at one position: a part of :func:`derived_digest`."""
    return int.from_bytes(derived_digest(seed, purpose, *position)[:8], "little") >> 1


def torch_generator(seed: int, purpose: str, *position: int) -> torch.Generator:
    """Return a torch CPU generator for one purpose at one position, for example ``(7, "history", step)``."""
    return torch.Generator().manual_seed(derived_seed(seed, purpose, *position))


def numpy_generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """Return a NumPy generator for one purpose at one position."""
    return np.random.default_rng(derived_seed(seed, purpose, *position))


def seed_globals(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch, which libraries and dropout use."""
    random.seed(derived_seed(seed, "python"))
    np.random.seed(derived_seed(seed, "numpy") % 2**32)  # noqa: NPY002 (libraries draw from it)
    torch.manual_seed(derived_seed(seed, "torch"))


def capture_globals() -> dict[str, torch.Tensor]:
    """Return the state of torch's global generators (CPU and every CUDA device) as tensors for a checkpoint."""
    state = {"cpu": torch.get_rng_state()}
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        state[f"cuda{index}"] = torch.cuda.get_rng_state(index)
    return state


def restore_globals(state: dict[str, torch.Tensor]) -> None:
    """Restore the state from :func:`capture_globals`; states of devices that this machine lacks are ignored."""
    # States of devices are optional: a run may be resumed on another machine.
    torch.set_rng_state(state["cpu"])
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if f"cuda{index}" in state:
            torch.cuda.set_rng_state(state[f"cuda{index}"], index)
