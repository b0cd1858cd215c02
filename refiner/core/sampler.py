"""Endless shuffled batches, in an order that follows from (seed, epoch) alone."""

from typing import Any

import numpy as np

from refiner.core.rng import numpy_generator


class Sampler:
    """Endless shuffled batches of indices; every image once per epoch, whatever the batch size.

    Args:
        count: number of images.
        batch_size: indices in a batch; may exceed ``count``.
        seed, purpose: what the order follows from, together with the epoch.
    """

    def __init__(self, count: int, batch_size: int, *, seed: int, purpose: str) -> None:
        self.count, self.batch_size, self.seed, self.purpose = count, batch_size, seed, purpose
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def batch(self, position: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The indices of batch number ``position``, counted from 0; any order of calls gives the same."""
        start = position * self.batch_size
        parts, end = [], start + self.batch_size
        while start < end:
            epoch, offset = divmod(start, self.count)
            part = self._permutation(epoch)[offset : offset + end - start]
            parts.append(part)
            start += len(part)
        return np.concatenate(parts)

    def _permutation(self, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        if epoch != self._epoch:
            self._order = numpy_generator(self.seed, self.purpose, epoch).permutation(self.count)
            self._epoch = epoch
        return self._order
