"""Label-free scores of adapted renders: their realism, and the drift of their pupils."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from refiner.core.rng import numpy_generator
from refiner.data.drift.scores import measure_drift
from refiner.gaze.data import Patches
from refiner.images.arrays import to_float
from refiner.metrics.distances import sliced_wasserstein
from refiner.models.regressor import SmallRegressor, fit_regressor, predict
from refiner.training.selection import IMAGES_PER_DOMAIN, CheckpointSelector


@dataclass(frozen=True)
class Scores:
    """Label-free scores of adapted renders.

    Attributes:
        c2st_accuracy: accuracy of a classifier two-sample test between adapted renders and real images: 0.5 is
            chance, 1 means that the two look different.
        drift: mean shift (x, y) of the pupils by the adaptation, in pixels; None if the renders have no pupils.
        drift_distance: mean length of that shift.
        distance: sliced Wasserstein distance of the adapted renders to the real images.
        synthetic_distance: the same distance of the renders before adaptation.
        score: the score that chooses a checkpoint in training, see :mod:`refiner.training.selection`.
    """

    c2st_accuracy: float
    drift: tuple[float, float] | None
    drift_distance: float | None
    distance: float
    synthetic_distance: float
    score: float


def measure_scores(
    synthetic: Patches, adapted: Patches, real: Patches, pupils: Any, *, steps: int, images: int, seed: int
) -> Scores:
    """Measure the scores of adapted renders.

    Args:
        synthetic, adapted: (N, 1, H, W), uint8, pair by pair.
        real: (M, 1, H, W), uint8.
        pupils: (N, 2), x and y in pixels of the renders, or None.
        steps, images: see ``tools.study.configuration.ScoresSection``.
        seed: seed of all random choices.
    """
    # Realism: a classifier, a distance, and the score that training uses.
    c2st_accuracy = two_sample_accuracy(adapted, real, steps=steps, images=images, seed=seed)
    count = min(len(synthetic), len(real), images)
    after, before = (to_float(torch.from_numpy(pixels[:count])) for pixels in (adapted, synthetic))
    real_levels = to_float(torch.from_numpy(real[np.linspace(0, len(real) - 1, count).astype(int)]))
    metrics = [sliced_wasserstein(pixels, real_levels, seed=seed) for pixels in (after, before)]
    few = {
        "synthetic": before[:IMAGES_PER_DOMAIN],
        "real": real_levels[numpy_generator(seed, "few").permutation(count)[:IMAGES_PER_DOMAIN]],
    }
    metrics.append(CheckpointSelector(few, seed=seed).update(after[:IMAGES_PER_DOMAIN], {}, step=0)["score"])
    # Label preservation: the drift of the pupils.
    if pupils is None:
        return Scores(c2st_accuracy, None, None, *metrics)
    before, after, points = (torch.from_numpy(values[: images // 2]) for values in (synthetic, adapted, pupils))
    drift = measure_drift(to_float(before), to_float(after), points.float())
    return Scores(c2st_accuracy, drift.vector, drift.distance, *metrics)


def two_sample_accuracy(first: Patches, second: Patches, *, steps: int, images: int, seed: int) -> float:
    """Return the accuracy of a classifier two-sample test: a small network, trained on half of both samples.

    Both samples are of equal size, so that chance is 0.5.
    """
    count = min(len(first), len(second), images) // 2 * 2
    rng = numpy_generator(seed, "two-sample")
    samples = [to_float(torch.from_numpy(pixels[rng.permutation(len(pixels))[:count]])) for pixels in (first, second)]
    sides = np.repeat([-1.0, 1.0], count // 2)
    known, unseen = (_joined(samples, part) for part in (slice(None, count // 2), slice(count // 2, None)))
    build = partial(SmallRegressor, outputs=1)
    network = fit_regressor(build, known, sides[:, None], steps=steps, seed=seed)
    return float(np.mean(np.sign(predict(network, unseen)[:, 0]) == sides))


def _joined(samples: Sequence[torch.Tensor], part: slice) -> torch.Tensor:
    return torch.cat([sample[part] for sample in samples])
