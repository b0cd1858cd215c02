"""CUT: each place of a refined image must resemble the same place of its render more than its other places.

Places are compared by features of the refiner's own layers, through a small head for each layer. CUT needs no second
refiner.

Source: Park et al. 2020, arXiv:2007.15651, equations 2 to 5.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from refiner.config.training import TrainingConfiguration
from refiner.core.rng import derived_seed
from refiner.losses.patch_nce import PLACES, PatchHeads, patch_nce_loss
from refiner.training.methods.base import Metrics
from refiner.training.methods.build import OptimizedNetwork, make_optimizer
from refiner.training.methods.simgan import SimGAN


class CUT(SimGAN):
    """SimGAN with the PatchNCE loss; see :class:`refiner.training.methods.base.Method` for the arguments."""

    needs_real = True

    def __init__(self, configuration: TrainingConfiguration, **options: Any) -> None:
        super().__init__(configuration, **options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(configuration.seed, "contrast"))
            heads = PatchHeads(1 + configuration.refiner.blocks, configuration.refiner.features)
        heads = heads.to(self.processes.device)
        self.heads = OptimizedNetwork(heads, make_optimizer(heads, configuration.refiner_optimizer))

    def extra_losses(
        self, refined: Tensor, synthetic: Tensor, real: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Metrics]:
        """Return the PatchNCE losses of renders and of real images, each against its refined image."""
        assert real is not None
        terms = {
            "patch_nce": self._patch_nce(refined, synthetic, generator),
            "patch_nce_real": self._patch_nce(self.refiner(real), real, generator),
        }
        return self.configuration.cut.patch_nce_weight * (terms["patch_nce"] + terms["patch_nce_real"]), terms

    def _patch_nce(self, refined: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
        """Compare refined images with the images they were made of, at random places, layer by layer."""
        # Encode both images by the layers of the refiner.
        refined_maps, maps = self.refiner.encode(refined), self.refiner.encode(images)
        count = refined_maps[0].shape[2] * refined_maps[0].shape[3]
        # Compare the same random places in every layer.
        places = torch.randperm(count, generator=generator)[:PLACES].to(refined.device)
        queries = self.heads.network(refined_maps, places)
        keys = self.heads.network(maps, places)
        # Keys have no gradient, so that renders do not move towards refined images.
        losses = [patch_nce_loss(query, key.detach()) for query, key in zip(queries, keys, strict=True)]
        return torch.stack(losses).mean()

    @property
    def networks_of_refiner(self) -> Sequence[OptimizedNetwork]:
        """The refiner and the heads."""
        return (*super().networks_of_refiner, self.heads)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of SimGAN and of the heads."""
        return {**super().state_dict(), "heads": self.heads.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        super().load_state_dict(state)
        self.heads.load_state_dict(state["heads"])
