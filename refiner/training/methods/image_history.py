"""The history buffer: refined images of past steps, which keep the discriminator from forgetting them.

Source: arXiv:1612.07828, section 2.3. Half of the discriminator's refined batch is fresh, and half comes from
the buffer. Then half of the fresh images replace random entries.
"""

from typing import TypedDict

import torch
from torch import Tensor


class HistoryState(TypedDict):
    """Filled part of the buffer, as a checkpoint keeps it."""

    images: Tensor


class ImageHistory:
    """A buffer of refined images of past steps.

    The discriminator sees fresh images alone until the buffer holds half a batch; the paper does not describe the
    start. The buffer is filled by appending. Once it is full, random entries are replaced, each at most once a step.
    The cost of a step does not depend on the capacity.

    Args:
        capacity: largest number of images; 0 disables the buffer.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 0:
            raise ValueError(f"capacity is {capacity}, expected 0 or more")
        self.capacity = capacity
        self._buffer: Tensor | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def images(self) -> Tensor | None:
        """Images in the buffer, (len, C, H, W), or None before the first; a view, not a copy."""
        return None if self._buffer is None else self._buffer[: self._count]

    def mix(self, fresh: Tensor, generator: torch.Generator) -> Tensor:
        """Mix fresh and old images for an update of the discriminator, and renew the buffer.

        Args:
            fresh: (N, C, H, W), images refined by the current weights; detached here.
            generator: random source, on the CPU.

        Returns:
            (N, C, H, W): the first N - N // 2 fresh images and N // 2 old ones, or ``fresh`` while the buffer holds
            fewer than N // 2.
        """
        fresh = fresh.detach()
        # Replace the second half of the fresh images by old ones.
        half = fresh.shape[0] // 2
        mixed = fresh
        if half and self._buffer is not None and self._count >= half:
            drawn = _choose(self._count, half, generator).to(fresh.device)
            mixed = torch.cat([fresh[: fresh.shape[0] - half], self._buffer[drawn]])
        # Put the fresh images that made room into the buffer.
        self._push(fresh[fresh.shape[0] - half :], generator)
        return mixed

    def _push(self, images: Tensor, generator: torch.Generator) -> None:
        images = images[: self.capacity]
        if not len(images):
            return
        if self._buffer is None:
            self._buffer = images.new_empty((self.capacity, *images.shape[1:]))
        # Append while there is room, then replace random entries.
        appended = min(len(images), self.capacity - self._count)
        replaced = len(images) - appended
        if replaced:
            slots = _choose(self._count, replaced, generator).to(images.device)
            self._buffer[slots] = images[appended:]
        self._buffer[self._count : self._count + appended] = images[:appended]
        self._count += appended

    def state_dict(self) -> HistoryState:
        """Return the filled part, (len, C, H, W); (0,) if it is empty."""
        return {"images": torch.empty(0) if self._buffer is None else self._buffer[: self._count].clone()}

    def load_state_dict(self, state: HistoryState, device: torch.device | str = "cpu") -> None:
        """Restore :meth:`state_dict`.

        Raises:
            ValueError: the state holds more images than fit.
        """
        images = state["images"]
        if len(images) > self.capacity:
            raise ValueError(f"the state holds {len(images)} images, the buffer {self.capacity}")
        self._count = len(images)
        self._buffer = None
        if self._count:
            self._buffer = torch.empty((self.capacity, *images.shape[1:]), dtype=images.dtype, device=device)
            self._buffer[: self._count] = images


def _choose(population: int, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` distinct numbers below ``population``, in time that depends on ``count`` alone.

    Floyd's algorithm. A permutation of the population would make every step pay for the capacity.
    """
    chosen: dict[int, None] = {}
    for last in range(population - count, population):
        candidate = int(torch.randint(last + 1, (1,), generator=generator))
        chosen[last if candidate in chosen else candidate] = None
    return torch.tensor(list(chosen))
