"""CUT's game: a place of a refined image must be nearer to the same place of its render than to its other places.

Near in what the refiner's own layers see, behind a small head for each. No way back is needed.

Source: Park et al. 2020, arXiv:2007.15651, equations 2 to 5.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from refiner.config.training import TrainingConfiguration
from refiner.core.rng import derived_seed
from refiner.losses.patch_nce import PLACES, ContrastHeads, contrastive_loss
from refiner.models.refiner import RefinerNetwork
from refiner.training.methods.build import Player, make_optimizer
from refiner.training.methods.simgan import Metrics, SimGAN


class CUT(SimGAN):
    """The game with contrast; see :class:`refiner.training.methods.simgan.SimGAN`."""

    needs_real = True

    def __init__(self, configuration: TrainingConfiguration, **options: Any) -> None:
        super().__init__(configuration, **options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(configuration.seed, "contrast"))
            heads = ContrastHeads(1 + configuration.refiner.blocks, configuration.refiner.features)
        heads = heads.to(self.processes.device)
        self.heads = Player(heads, make_optimizer(heads, configuration.refiner_optimizer))

    def extra_losses(
        self, refined: Tensor, synthetic: Tensor, real: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Metrics]:
        """Contrast between renders and refined images, and between photographs and what refining makes of them."""
        assert real is not None
        refiner = self.refiner
        terms = {
            "contrast": self._contrast(refiner, refined, synthetic, generator),
            "contrast_real": self._contrast(refiner, refiner(real), real, generator),
        }
        return self.configuration.correspondence_weight * (terms["contrast"] + terms["contrast_real"]), terms

    def _contrast(self, refiner: RefinerNetwork, after: Tensor, before: Tensor, generator: torch.Generator) -> Tensor:
        maps_after, maps_before = refiner.encode(after), refiner.encode(before)
        count = maps_after[0].shape[2] * maps_after[0].shape[3]
        places = torch.randperm(count, generator=generator)[:PLACES].to(after.device)
        queries = self.heads.network(maps_after, places)
        keys = self.heads.network(maps_before, places)
        losses = [contrastive_loss(query, key.detach()) for query, key in zip(queries, keys, strict=True)]
        return torch.stack(losses).mean()

    @property
    def partners(self) -> Sequence[Player]:
        """The heads."""
        return (self.heads,)

    def state_dict(self) -> dict[str, Any]:
        """With the heads."""
        return {**super().state_dict(), "heads": self.heads.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        super().load_state_dict(state)
        self.heads.load_state_dict(state["heads"])
