"""How good a refiner is without a label, cheap enough to be asked during training; and the best weights so far."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from refiner.core.rng import numpy_generator
from refiner.data.domains import ImageDomain
from refiner.images.registration import score_drift
from refiner.metrics.distances import sliced_wasserstein

IMAGES = 256
"""Of each domain, the same at every step."""

Weights = dict[str, Tensor]


class CheckpointSelector:
    """Scores the same renders against the same photographs, and keeps the weights of the lowest score.

    The score is the sliced Wasserstein distance to the photographs as a share of that of the raw renders, plus the mean
    square of the drift score in pixels of a 36x60 patch: a refiner that does nothing is at 1, and so is one that
    reaches the photographs and moves everything by a pixel. Squared, since any refiner moves labels by a tenth, which
    matters little.

    Args:
        images: ``synthetic`` and ``real``, (N, C, H, W), float32, in [-1, 1], equally many.
        seed: of the patches that are compared.

    Attributes:
        step: of the best weights; -1 before there are any.
        weights: the best weights, on the CPU; empty before there are any.
    """

    def __init__(self, images: Mapping[str, Tensor], *, seed: int) -> None:
        self.synthetic, self.real, self.seed = images["synthetic"], images["real"], seed
        self.step, self.score = -1, float("inf")
        self.weights: Weights = {}
        self._plain: float | None = None

    def judge(self, refined: Tensor, weights: Weights, *, step: int) -> dict[str, float]:
        """Score refined images of the renders, and keep the weights if nothing was better.

        Args:
            refined: of ``synthetic``.
            weights: that made them; copied.
            step: at which.

        Returns:
            ``score``, ``score_distance`` and ``score_drift``, whose sum it is; lower is better.
        """
        if self._plain is None:
            self._plain = self._distance(self.synthetic)
        distance = self._distance(refined) / max(self._plain, 1e-6)
        drift = float(np.square(score_drift(self.synthetic, refined).scores).mean())
        if distance + drift < self.score:
            self.step, self.score = step, distance + drift
            self.weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
        return {"score": distance + drift, "score_distance": distance, "score_drift": drift}

    def _distance(self, images: Tensor) -> float:
        return sliced_wasserstein(images, self.real, seed=self.seed)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs; images and their distance follow from the data."""
        return {"step": self.step, "score": self.score, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.step, self.score, self.weights = state["step"], state["score"], dict(state["weights"])


def scored_images(domains: Mapping[str, ImageDomain], seed: int) -> dict[str, Tensor]:
    """Equally many renders and photographs, drawn once for all."""
    count = min(IMAGES, *map(len, domains.values()))
    return {
        name: domain.batch(np.sort(numpy_generator(seed, f"scored-{name}").permutation(len(domain))[:count]))
        for name, domain in domains.items()
    }
