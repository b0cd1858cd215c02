"""CUT's game: a place of a refined image must be nearer to the same place of its render than to its other places.

Near in what the refiner's own layers see, behind a small head for each. No way back is needed.

Source: Park et al. 2020, arXiv:2007.15651, equations 2 to 5.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from refiner.config.training import TrainingConfiguration
from refiner.core.rng import derived_seed
from refiner.game import Figures, Game
from refiner.models.refiner import RefinerNetwork
from refiner.players import Player, make_optimizer

PLACES = 256
"""Of an image that are compared in each layer, at most."""

TEMPERATURE = 0.07
"""By which similarities are divided."""

WIDTH = 256
"""Of the heads."""


def contrastive_loss(queries: Tensor, keys: Tensor) -> Tensor:
    """Cross-entropy of finding each query's key among all keys of its image.

    Args:
        queries: (N, S, F), of unit length, of S places; gradients flow through them.
        keys: the same of the renders, place by place.

    Returns:
        Scalar tensor: ln S where everything looks alike.
    """
    similarity = queries @ keys.transpose(1, 2) / TEMPERATURE  # (N, S, S)
    places = torch.arange(similarity.shape[1], device=similarity.device).expand(len(similarity), -1)
    return functional.cross_entropy(similarity.flatten(0, 1), places.flatten())


class ContrastHeads(nn.Module):
    """Two dense layers for each layer of the refiner, from its features to vectors of unit length."""

    def __init__(self, layers: int, features: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(features, WIDTH), nn.ReLU(inplace=True), nn.Linear(WIDTH, WIDTH))
            for _ in range(layers)
        )

    def forward(self, maps: Sequence[Tensor], places: Tensor) -> list[Tensor]:
        """(N, F, h, w) of each layer, at chosen places (S,) of the flat map, to (N, S, WIDTH)."""
        chosen = (features.flatten(2)[:, :, places].transpose(1, 2) for features in maps)
        return [functional.normalize(head(vectors), dim=2) for head, vectors in zip(self.heads, chosen, strict=True)]


class ContrastGame(Game):
    """The game with contrast; see :class:`refiner.game.Game`."""

    needs_photographs = True

    def __init__(self, configuration: TrainingConfiguration, **options: Any) -> None:
        super().__init__(configuration, **options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(configuration.seed, "contrast"))
            heads = ContrastHeads(1 + configuration.refiner.blocks, configuration.refiner.features)
        heads = heads.to(self.processes.device)
        self.heads = Player(heads, make_optimizer(heads, configuration.refiner_optimizer))

    def tie(
        self, refined: Tensor, synthetic: Tensor, real: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Figures]:
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
