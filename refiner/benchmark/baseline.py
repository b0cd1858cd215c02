"""The paper's network as PyTorch computes it as it comes: the benchmark's yardstick, in a process of its own.

Where more than this is computed, the C library comes to keep the memory that is freed, by chance or because it is told
to (:func:`refiner.core.devices.keep_freed_memory`), and the same network is up to a third faster than in a program that
does nothing else.
"""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import torch

from refiner.core.errors import OutputError
from refiner.models.refiner import RefinerNetwork


class PlainNetwork:
    """A process that computes a batch whenever it is asked to; it ends with this one.

    Args:
        shape: of the batch, (N, 1, H, W).
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, shape: tuple[int, ...], device: str) -> None:
        command = [sys.executable, "-m", "refiner.benchmark.baseline", device, *map(str, shape)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self) -> int:
        """Have a batch computed, and give its number of images.

        Raises:
            OutputError: the process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(file=self._process.stdin, flush=True)
            return int(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            raise OutputError("the process with the plain network has ended, perhaps for want of memory") from error


def plain_work(shape: tuple[int, ...], device: str) -> Callable[[], int]:
    """The same in this process: computes a batch, from and to the memory of the processor."""
    network = RefinerNetwork().to(device).eval()
    images = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)

    @torch.inference_mode()
    def compute() -> int:
        return len(network(torch.from_numpy(images).to(device)).cpu().numpy())

    return compute


def main(device: str, *shape: str) -> None:
    """Compute a batch for each line that comes in."""
    compute = plain_work(tuple(map(int, shape)), device)
    for _ in sys.stdin:
        print(compute(), flush=True)  # noqa: T201 it is what the other process reads


if __name__ == "__main__":
    main(*sys.argv[1:])
