"""Batches of both domains, in orders that follow from the seed alone."""

from typing import Any

import torch
from torch import Tensor

from refiner.config.training import TrainingConfiguration
from refiner.core.sampler import Sampler
from refiner.models.adapted import Adaptation
from refiner.models.draws import draws_at
from refiner.runs.distributed import Processes
from refiner.training.inputs import PURPOSES, TrainingInputs

REAL_FOR_REFINER = "real for refiner"
"""Order of the real images that updates of the refiner use, if the method needs them."""

ADAPTATION = "adaptation"
"""Purpose of the draws by which renders are adapted; the word is part of the random stream."""

_ORDERS = {**PURPOSES, REAL_FOR_REFINER: "tied photographs"}  # the words are part of the random stream


class BatchSource:
    """Source of this process's slice of each batch, augmented; renders are adapted afterwards.

    Args:
        inputs: images of both domains.
        configuration: of the run.
        processes: the processes that share each batch.
        adaptation: adaptation of the renders, on the CPU; None leaves them as they are.

    Attributes:
        batches_seen: number of batches drawn in each order: the position in the data.
    """

    def __init__(
        self,
        inputs: TrainingInputs,
        configuration: TrainingConfiguration,
        processes: Processes,
        adaptation: Adaptation | None = None,
    ) -> None:
        self._seed, self._adaptation = configuration.seed, adaptation
        self._domains, self._augmentations = inputs.domains, inputs.augmentations
        self._slice = processes.batch_slice(configuration.batch_size)
        self._samplers = {
            order: Sampler(
                len(self._domains["synthetic" if order == "synthetic" else "real"]),
                configuration.batch_size,
                seed=configuration.seed,
                purpose=purpose,
            )
            for order, purpose in _ORDERS.items()
        }
        self.batches_seen = dict.fromkeys(self._samplers, 0)

    def draw(self, domain: str, order: str | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the next batch of a domain.

        Args:
            domain: ``synthetic`` or ``real``.
            order: order in which the images come; None takes the domain's own.

        Returns:
            Images (N, C, H, W) in [-1, 1], and their conditions: ``gaze`` and ``mask``, if training uses them.
        """
        order = order or domain
        # Every process knows the whole batch and reads its own slice.
        numbers = self._samplers[order].batch(self.batches_seen[order])[self._slice.slice]
        images, conditions = self._domains[domain].batch(numbers), self._domains[domain].conditions(numbers)
        # Random numbers are drawn for the whole batch, so the slice must know its position.
        if domain in self._augmentations:
            position = (self.batches_seen[order],)
            images = self._augmentations[domain].planes(images, position=position, first=self._slice.start)
        if domain == "synthetic" and self._adaptation is not None:
            images = self._adapted(images, self._adaptation, self.batches_seen[order])
        self.batches_seen[order] += 1
        return images, conditions

    @torch.no_grad()
    def _adapted(self, images: Tensor, adaptation: Adaptation, position: int) -> Tensor:
        """Adapt renders by draws of the whole batch: each depends on its place in it, not on the processes."""
        draws = draws_at(self._seed, ADAPTATION, position, self._slice.batch_size)
        adapted: Tensor = adaptation(images, draws[self._slice.slice])
        return adapted

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the data."""
        return dict(self.batches_seen)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.batches_seen = dict(state)
