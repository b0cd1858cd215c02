"""Realism of one source against itself: every metric agrees with its reference."""

import pytest
import torch
from torch.nn import functional

from refiner.core.errors import DataError
from refiner.core.rng import torch_generator
from refiner.evaluation.realism import measure_realism


def images(seed: int, count: int = 400) -> torch.Tensor:
    coarse = torch.rand(count, 1, 6, 10, generator=torch_generator(seed, "scenes")) * 1.6 - 0.8
    return functional.interpolate(coarse, (24, 40), mode="bicubic", align_corners=False).clamp(-1, 1)


def features(batch: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(batch, 6).flatten(1)


def test_one_source_agrees_with_its_reference() -> None:
    """Refined images from the distribution of the real ones: intervals overlap those of real against real."""
    found = measure_realism(images(0) + 0.5, images(1), images(2, 800), features=features, groups=None, seed=0)
    for metric in found:
        if metric.reference is not None:
            assert metric.value.low <= metric.reference.high, metric.key
            assert metric.reference.low <= metric.value.high, metric.key
    c2st = next(metric for metric in found if metric.key == "c2st_accuracy")
    assert c2st.value.low <= 0.5 <= c2st.value.high
    for key in ("sliced_wasserstein", "kernel"):
        metric = next(metric for metric in found if metric.key == key)
        assert metric.gain is not None
        assert metric.gain.low > 0  # renders are brighter


def test_the_same_seed_gives_the_same_metrics() -> None:
    arguments = (images(0, 80), images(1, 80), images(2, 160))
    first, again = (measure_realism(*arguments, features=features, groups=None, seed=3) for _ in range(2))
    assert first == again


def test_groups_are_kept_whole_and_too_few_are_refused() -> None:
    groups = [str(number // 20) for number in range(160)]
    measure_realism(images(0, 80), images(1, 80), images(2, 160), features=features, groups=groups, seed=0)
    with pytest.raises(DataError, match="80 renders and 100 real images are too few for an interval"):
        measure_realism(images(0, 80), images(1, 80), images(2, 100), features=features, groups=None, seed=0)
