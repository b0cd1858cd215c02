"""Randomness as a function of (seed, purpose, position), so that a resumed run has almost nothing to restore.

Every random choice in the toolkit draws from a generator made for it here. Two runs that reach the same
position draw the same numbers, whatever happened before; global generators are only captured for the sake of
libraries that use them.
"""

import hashlib
import random
from typing import NamedTuple

import numpy as np
import torch


class BatchSlice(NamedTuple):
    """Some rows of a batch for which random choices are drawn as a whole.

    Attributes:
        first, number: of them.
        batch: rows of the whole batch.
    """

    first: int
    number: int
    batch: int

    @property
    def slice(self) -> slice:
        """Where they stand."""
        return slice(self.first, self.first + self.number)


def derived_seed(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit seed for one purpose at one position.

    SHA-256 of the arguments: the same on every machine and in every process, unlike Python's ``hash``.
    """
    text = "/".join([str(seed), purpose, *map(str, position)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def torch_generator(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A torch CPU generator for one purpose at one position, for example ``(7, "history", step)``."""
    return torch.Generator().manual_seed(derived_seed(seed, purpose, *position))


def numpy_generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """A NumPy generator for one purpose at one position."""
    return np.random.default_rng(derived_seed(seed, purpose, *position))


def seed_globals(seed: int) -> None:
    """Seed Python, NumPy and torch: for libraries (and dropout) that draw from the global generators."""
    random.seed(derived_seed(seed, "python"))
    np.random.seed(derived_seed(seed, "numpy") % 2**32)  # noqa: NPY002 (libraries draw from it)
    torch.manual_seed(derived_seed(seed, "torch"))


def capture_globals() -> dict[str, torch.Tensor]:
    """The state of torch's global generators (CPU and every CUDA device), as tensors for a checkpoint."""
    state = {"cpu": torch.get_rng_state()}
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        state[f"cuda{index}"] = torch.cuda.get_rng_state(index)
    return state


def restore_globals(state: dict[str, torch.Tensor]) -> None:
    """Undo :func:`capture_globals`; states of devices that are absent here are ignored."""
    torch.set_rng_state(state["cpu"])
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if f"cuda{index}" in state:
            torch.cuda.set_rng_state(state[f"cuda{index}"], index)
