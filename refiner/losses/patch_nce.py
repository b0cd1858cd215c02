"""PatchNCE, the contrastive loss of CUT: each place of a refined image resembles the same place of its render.

Source: Park et al. 2020, arXiv:2007.15651, equations 2 to 5.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

PLACES = 256
"""Largest number of places that are compared in each layer of an image."""

TEMPERATURE = 0.07
"""Divisor of the similarities."""

WIDTH = 256
"""Length of the vectors that are compared."""


def patch_nce_loss(queries: Tensor, keys: Tensor) -> Tensor:
    """Cross-entropy of finding the key of each query among all keys of its image.

    Args:
        queries: (N, S, F), unit vectors of S places of refined images; gradients flow through them.
        keys: (N, S, F), unit vectors of the same places of the renders.

    Returns:
        Scalar tensor; ln S if all vectors are alike.
    """
    similarity = queries @ keys.transpose(1, 2) / TEMPERATURE  # (N, S, S)
    # The key of a query is the one at its own place.
    places = torch.arange(similarity.shape[1], device=similarity.device).expand(len(similarity), -1)
    return functional.cross_entropy(similarity.flatten(0, 1), places.flatten())


class PatchHeads(nn.Module):
    """Two dense layers for each layer of the refiner, from its features to unit vectors.

    Args:
        layers: number of feature maps.
        features: channels of each map.
    """

    def __init__(self, layers: int, features: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(features, WIDTH), nn.ReLU(inplace=True), nn.Linear(WIDTH, WIDTH))
            for _ in range(layers)
        )

    def forward(self, maps: Sequence[Tensor], places: Tensor) -> list[Tensor]:
        """Return the unit vectors of chosen places.

        Args:
            maps: (N, F, h, w) of each layer.
            places: (S,), indices into the flattened map.

        Returns:
            (N, S, WIDTH) for each layer.
        """
        chosen = (features.flatten(2)[:, :, places].transpose(1, 2) for features in maps)
        return [functional.normalize(head(vectors), dim=2) for head, vectors in zip(self.heads, chosen, strict=True)]
