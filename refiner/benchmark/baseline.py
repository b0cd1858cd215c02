"""The baseline of the benchmark: the paper's network in plain PyTorch, in a process of its own.

In a process that computes other things, too, the C library keeps freed memory, by chance or because of
:func:`refiner.core.devices.keep_freed_memory`. The same network is then up to a third faster than in a program that
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
    """A process that computes one batch for each call; it ends with the calling process.

    Args:
        shape: shape of the batch, (N, 1, H, W).
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, shape: tuple[int, ...], device: str) -> None:
        command = [sys.executable, "-m", "refiner.benchmark.baseline", device, *map(str, shape)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self) -> int:
        """Compute a batch, and return its number of images.

        Raises:
            OutputError: the process has ended, for example because memory ran out.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(file=self._process.stdin, flush=True)
            return int(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            raise OutputError(
                "the process of the plain network has ended; perhaps memory ran out: try a smaller --size"
            ) from error


def plain_workload(shape: tuple[int, ...], device: str) -> Callable[[], int]:
    """Return a function that computes the same batch in this process, from CPU memory to CPU memory."""
    network = RefinerNetwork().to(device).eval()
    images = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)

    @torch.inference_mode()
    def compute() -> int:
        return len(network(torch.from_numpy(images).to(device)).cpu().numpy())

    return compute


def main(device: str, *shape: str) -> None:
    """Compute a batch for each line of standard input, and print its number of images."""
    compute = plain_workload(tuple(map(int, shape)), device)
    for _ in sys.stdin:
        print(compute(), flush=True)  # noqa: T201 the other process reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
