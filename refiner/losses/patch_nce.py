"""PatchNCE, the loss of CUT: a place of a refined image resembles the same place of its render.

Source: Park et al. 2020, arXiv:2007.15651, equations 2 to 5.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

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
