"""Endless shuffled batches whose order depends only on the seed, the purpose and the epoch."""

from typing import Any

import numpy as np

from refiner.core.rng import numpy_generator


class Sampler:
    """Endless shuffled batches of indices. Each epoch holds every index once, whatever the batch size.

    Args:
        count: number of images.
        batch_size: number of indices in a batch; may exceed ``count``.
        seed: seed of the run.
        purpose: name that separates this order from other orders of the same seed.
    """

    def __init__(self, count: int, batch_size: int, *, seed: int, purpose: str) -> None:
        self.count, self.batch_size, self.seed, self.purpose = count, batch_size, seed, purpose
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def batch(self, position: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the indices of batch number ``position``, counted from 0.

        A batch does not depend on earlier calls, so that a resumed run needs no sampler state.
        """
        start = position * self.batch_size
        chunks, end = [], start + self.batch_size
        # A batch may span the end of an epoch, or several epochs if the data set is small.
        while start < end:
            epoch, offset = divmod(start, self.count)
            chunk = self._permutation(epoch)[offset : offset + end - start]
            chunks.append(chunk)
            start += len(chunk)
        return np.concatenate(chunks)

    def _permutation(self, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        # Keep the order of the current epoch only; it can always be drawn again.
        if epoch != self._epoch:
            self._order = numpy_generator(self.seed, self.purpose, epoch).permutation(self.count)
            self._epoch = epoch
        return self._order
