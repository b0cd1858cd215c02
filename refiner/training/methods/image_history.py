"""The history buffer: refined images of past steps, so that the discriminator does not forget them.

Source: arXiv:1612.07828, section 2.3. Half of the discriminator's refined batch is fresh, half comes from the
buffer; then half of the fresh images replace random entries.
"""

from typing import TypedDict

import torch
from torch import Tensor


class HistoryState(TypedDict):
    """What a checkpoint keeps: the filled part of the buffer."""

    images: Tensor


class ImageHistory:
    """A buffer of refined images of past steps.

    Until it holds half a batch the discriminator sees fresh images only (the paper is silent about the start);
    it fills by appending and, once full, replaces entries chosen at random, each at most once a step. Its cost
    does not grow with its capacity.

    Args:
        capacity: number of images it can hold; 0 switches it off.
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
        """The images held, (len, C, H, W), or None before the first; a view, not a copy."""
        return None if self._buffer is None else self._buffer[: self._count]

    def mix(self, fresh: Tensor, generator: torch.Generator) -> Tensor:
        """The refined half of a discriminator step: fresh and old images mixed; the buffer is renewed.

        Args:
            fresh: (N, C, H, W), refined just now; detached here.
            generator: source of the random choices, on the CPU.

        Returns:
            (N, C, H, W): the first N - N // 2 fresh images and N // 2 old ones; ``fresh`` while the buffer
            holds fewer than N // 2.
        """
        fresh = fresh.detach()
        half = fresh.shape[0] // 2
        mixed = fresh
        if half and self._buffer is not None and self._count >= half:
            drawn = _choose(self._count, half, generator).to(fresh.device)
            mixed = torch.cat([fresh[: fresh.shape[0] - half], self._buffer[drawn]])
        self._push(fresh[fresh.shape[0] - half :], generator)
        return mixed

    def _push(self, images: Tensor, generator: torch.Generator) -> None:
        images = images[: self.capacity]
        if not len(images):
            return
        if self._buffer is None:
            self._buffer = images.new_empty((self.capacity, *images.shape[1:]))
        appended = min(len(images), self.capacity - self._count)
        replaced = len(images) - appended
        if replaced:
            slots = _choose(self._count, replaced, generator).to(images.device)
            self._buffer[slots] = images[appended:]
        self._buffer[self._count : self._count + appended] = images[:appended]
        self._count += appended

    def state_dict(self) -> HistoryState:
        """The filled part, (len, C, H, W); (0,) while empty."""
        return {"images": torch.empty(0) if self._buffer is None else self._buffer[: self._count].clone()}

    def load_state_dict(self, state: HistoryState, device: torch.device | str = "cpu") -> None:
        """Take over the images of :meth:`state_dict`.

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
    """``count`` distinct numbers below ``population``, in time that depends on ``count`` alone.

    Floyd's algorithm; a permutation of the whole population would make every step pay for the capacity.
    """
    chosen: dict[int, None] = {}
    for last in range(population - count, population):
        candidate = int(torch.randint(last + 1, (1,), generator=generator))
        chosen[last if candidate in chosen else candidate] = None
    return torch.tensor(list(chosen))
