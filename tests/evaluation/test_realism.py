"""Realism of one source against itself: every metric agrees with its reference."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from refiner.core.errors import DataError
from refiner.core.rng import torch_generator
from refiner.data.drift.regions import LabelRegion
from refiner.evaluation.blocks import Blocks
from refiner.evaluation.features import load_features
from refiner.evaluation.realism import blockwise, measure_realism, reference_note
from refiner.evaluation.samples import Sample
from refiner.images.arrays import luma
from refiner.metrics.distances import kernel_distance, sliced_wasserstein
from refiner.metrics.two_sample import classify


def images(seed: int, count: int = 400) -> torch.Tensor:
    coarse = torch.rand(count, 1, 6, 10, generator=torch_generator(seed, "scenes")) * 1.6 - 0.8
    return functional.interpolate(coarse, (24, 40), mode="bicubic", align_corners=False).clamp(-1, 1)


def features(batch: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(batch, 6).flatten(1)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classifiers that hardly train."""
    monkeypatch.setattr("refiner.evaluation.realism.classify", functools.partial(classify, steps=3))


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


def test_the_same_seed_gives_the_same_metrics(quick: None) -> None:
    arguments = (images(0, 80), images(1, 80), images(2, 160))
    first, again = (measure_realism(*arguments, features=features, groups=None, seed=3) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("people", [2, 3, 4])
def test_few_people_have_no_reference_but_a_reason(people: int, quick: None) -> None:
    """Two or three people cannot be compared with two others each; everything else is measured."""
    groups = [str(number % people) for number in range(96)]
    found = measure_realism(images(0, 80), images(1, 80), images(2, 96), features=features, groups=groups, seed=0)
    assert [metric.key for metric in found] == [
        *("c2st_accuracy", "sliced_wasserstein", "kernel", "spectrum", "diversity", "copies")
    ]
    for metric in found[:-1]:
        assert (metric.reference is None) == (people < 4), metric.key
    note = reference_note(found, groups)
    assert (f"--real has {people} groups" in "".join(note)) == (people < 4)
    # One test person says nothing about others.
    accuracy = found[0].value
    assert ((accuracy.low, accuracy.high) == (0, 1)) == (people == 2)


def test_a_person_with_nearly_all_images_is_no_hindrance(quick: None) -> None:
    groups = ["a"] * 93 + ["b", "c", "d"]
    found = measure_realism(images(0, 80), images(1, 80), images(2, 96), features=features, groups=groups, seed=0)
    assert found[0].reference is None
    assert found[1].reference is not None  # of blocks that mix the people


PEOPLE, EACH, REDRAWS = 16, 8, 120


def test_the_gain_covers_zero_when_people_are_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renders are as much too bright as refined images are too dark: the true gain is 0, whoever is photographed.

    The brightness of the people differs. Blocks of whole people cover the 0; blocks of mixed images do not.
    """
    monkeypatch.setattr("refiner.metrics.distances.PATCHES", 8)
    monkeypatch.setattr("refiner.metrics.distances.PROJECTIONS", 16)
    generator = torch_generator(0, "people")
    groups = [str(number // EACH) for number in range(PEOPLE * EACH)]
    covered = {True: 0, False: 0}
    widths: list[float] = []
    gains: list[float] = []
    for _ in range(REDRAWS):
        bright, dark, real = (0.2 * torch.randn(PEOPLE * EACH, 1, 8, 12, generator=generator) for _ in range(3))
        real = real + 0.25 * torch.randn(PEOPLE, 1, 1, 1, generator=generator).repeat_interleave(EACH, dim=0)
        for whole in covered:
            blocks = Blocks(bright + 0.3, dark - 0.3, real, groups if whole else None, seed=0)
            sides = [blocks.refined, blocks.synthetic, blocks.real]
            gain = blockwise(
                "sliced_wasserstein", lambda one, other, _: sliced_wasserstein(one, other, seed=0), sides
            ).gain
            assert gain is not None
            covered[whole] += gain.low <= 0 <= gain.high
            if whole:
                widths.append(gain.high - gain.low)
                gains.append(gain.mean)
    assert covered[True] / REDRAWS >= 0.93  # nominal: 0.975
    assert covered[False] / REDRAWS < 0.75
    # The interval of 7 degrees of freedom at 97.5 % is 2 x 2.84 standard errors wide.
    assert np.mean(widths) < 1.25 * 2 * 2.84 * np.std(gains)


def test_the_distances_that_may_decide_share_the_chance_of_an_error(quick: None) -> None:
    """Two chances of 2.5 % each: the gain of both is an interval of 97.5 %."""
    found = {m.key: m for m in measure_realism(*few(), features=features, groups=None, seed=0)}
    blocks = Blocks(*few(), None, seed=0)
    gains = [
        kernel_distance(features(raw), features(real)) - kernel_distance(features(refined), features(real))
        for raw, refined, real in zip(blocks.synthetic, blocks.refined, blocks.real, strict=True)
    ]
    kernel = found["kernel"].gain
    assert kernel is not None
    half = stats.t.ppf(1 - 0.025 / 2, 7) * np.std(gains, ddof=1) / 8**0.5
    assert kernel == pytest.approx((np.mean(gains), np.mean(gains) - half, np.mean(gains) + half), rel=1e-5)


def few() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return images(0, 80), images(1, 80), images(2, 80)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(DataError, match="80 renders and 60 real images are too few for an interval; give at least 64"):
        measure_realism(images(0, 80), images(1, 80), images(2, 60), features=features, groups=None, seed=0)


@pytest.mark.parametrize("size", [(24, 40), (96, 64)])
def test_features_of_things_are_their_own_in_colour(size: tuple[int, int]) -> None:
    """A tint that the luma hides is a distance; images of one source have none; the pretrained network is for eyes."""
    generator = torch.Generator().manual_seed(0)
    images = functional.interpolate(torch.rand(300, 3, 6, 8, generator=generator) - 0.5, size, mode="bilinear")
    tint = torch.tensor([0.299, 0.587, 0.114]).reciprocal() * torch.tensor([0.02, -0.03, 0.01])
    assert abs(float(luma(tint.view(1, 3, 1, 1)))) < 1e-6
    raw, same, tinted = images[:100], images[100:200], images[200:] + tint.view(3, 1, 1)
    sides = [Sample(some, [str(number) for number in range(100)], [{}] * 100, {}) for some in (raw, tinted)]
    features, estimate = load_features(*sides, region=LabelRegion(), seed=0)
    assert estimate is None
    described = [features(some).double() for some in (raw, same, tinted)]
    assert torch.cat([described[0], described[2]]).var(dim=0).numpy() == pytest.approx(1, abs=0.02)
    assert kernel_distance(described[0], described[2]) > 10 * abs(kernel_distance(described[0], described[1]))
    eyes = replace(sides[0], labels=[{"pupil": np.zeros(2)}] * 100)
    assert load_features(eyes, sides[1], region=LabelRegion(), seed=0)[1] is not None
