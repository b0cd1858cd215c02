"""Label-free scores of adapted renders."""

import math

import numpy as np
import pytest

from refiner.core.rng import numpy_generator
from refiner.gaze.data import Patches
from tools.study.products.scores import measure_scores, two_sample_accuracy


def _noise(count: int, low: int, high: int, seed: int) -> Patches:
    return numpy_generator(seed, "test").integers(low, high, (count, 1, 16, 24)).astype(np.uint8)


def test_two_samples_are_told_apart_only_where_they_differ() -> None:
    dark, also_dark, bright = _noise(80, 0, 120, 1), _noise(70, 0, 120, 2), _noise(90, 130, 255, 3)
    assert two_sample_accuracy(dark, bright, steps=30, images=60, seed=0) == 1.0
    assert abs(two_sample_accuracy(dark, also_dark, steps=30, images=60, seed=0) - 0.5) < 0.25


def test_drift_is_that_of_the_pupils() -> None:
    y, x = np.mgrid[:36, :60]
    centres = numpy_generator(0, "test").uniform((24, 14), (36, 22), (12, 2))
    discs = np.stack([np.hypot(x - cx, y - cy) < 5 for cx, cy in centres])
    synthetic = np.where(discs, 40, 180).astype(np.uint8)[:, None]
    moved = np.roll(synthetic, (1, 2), axis=(2, 3))
    scores = measure_scores(synthetic, moved, synthetic, centres, steps=1, images=24, seed=0)
    assert scores.drift == pytest.approx((2, 1), abs=0.05)
    assert scores.drift_distance == pytest.approx(math.sqrt(5), abs=0.05)
    assert measure_scores(synthetic, moved, synthetic, None, steps=1, images=24, seed=0).drift is None
