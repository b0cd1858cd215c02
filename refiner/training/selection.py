"""Label-free scores during training, and the weights with the best score."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from refiner.core.rng import numpy_generator
from refiner.data.domains import ImageDomain
from refiner.data.drift.scores import score_drift
from refiner.metrics.distances import sliced_wasserstein
from refiner.training.inputs import PURPOSES

IMAGES_PER_DOMAIN = 256
"""Number of images of each domain that are scored, the same at every step."""

Weights = dict[str, Tensor]


class CheckpointSelector:
    """Scores refined images of the same renders at several steps, and keeps the weights with the lowest score.

    The score adds two parts. The first is the sliced Wasserstein distance to the real images, as a share of that of the
    unrefined renders. The second is the mean square of the drift score, in pixels of a 36x60 patch. So a refiner that
    does nothing scores 1, and so does one that matches the real images but moves every label by one pixel. The square
    makes small drift cheap: every refiner moves labels by about a tenth of a pixel, which matters little.

    Args:
        images: ``synthetic`` and ``real``, (N, C, H, W), float32, in [-1, 1], equally many.
        seed: of the patches that are compared.

    Attributes:
        synthetic, real: the images that are scored.
        step: step of the best weights; -1 before the first score.
        score: the lowest score so far.
        weights: the best weights, on the CPU; empty before the first score.
    """

    def __init__(self, images: Mapping[str, Tensor], *, seed: int) -> None:
        self.synthetic, self.real, self.seed = images["synthetic"], images["real"], seed
        self.step, self.score = -1, float("inf")
        self.weights: Weights = {}
        self._unrefined: float | None = None

    def update(self, refined: Tensor, weights: Weights, *, step: int) -> dict[str, float]:
        """Score refined images, and keep the weights if the score is the lowest so far.

        Args:
            refined: refined images of ``synthetic``.
            weights: weights of the refiner; copied.
            step: step of the weights.

        Returns:
            ``score`` and its two parts, ``score_distance`` and ``score_drift``; lower is better.
        """
        # Distance to the real images, as a share of that of the unrefined renders.
        if self._unrefined is None:
            self._unrefined = self._distance(self.synthetic)
        distance = self._distance(refined) / max(self._unrefined, 1e-6)
        # Label drift, squared so that small drift is cheap.
        drift = float(np.square(score_drift(self.synthetic, refined).scores).mean())
        # Keep the weights with the lowest score.
        if distance + drift < self.score:
            self.step, self.score = step, distance + drift
            self.weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
        return {"score": distance + drift, "score_distance": distance, "score_drift": drift}

    def _distance(self, images: Tensor) -> float:
        return sliced_wasserstein(images, self.real, seed=self.seed)

    def state_dict(self) -> dict[str, Any]:
        """Return the best score and weights; the images follow from the data."""
        return {"step": self.step, "score": self.score, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.step, self.score, self.weights = state["step"], state["score"], dict(state["weights"])


def scored_images(domains: Mapping[str, ImageDomain], seed: int) -> dict[str, Tensor]:
    """Draw equally many renders and real images for :class:`CheckpointSelector`."""
    count = min(IMAGES_PER_DOMAIN, *map(len, domains.values()))
    return {
        name: domain.batch(np.sort(numpy_generator(seed, f"scored-{PURPOSES[name]}").permutation(len(domain))[:count]))
        for name, domain in domains.items()
    }
