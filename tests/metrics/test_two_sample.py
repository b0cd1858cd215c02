"""C2ST accuracy: chance for one source, near 1 for two, and no person in both halves."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from refiner.core.rng import torch_generator
from refiner.metrics.two_sample import Classified, Share, c2st_accuracy

SIZE = (12, 20)


def images(seed: int, count: int = 400) -> torch.Tensor:
    coarse = torch.rand(count, 1, 3, 5, generator=torch_generator(seed, "scenes")) * 1.6 - 0.8
    return functional.interpolate(coarse, SIZE, mode="bicubic", align_corners=False).clamp(-1, 1)


def test_one_source_gives_chance_accuracy() -> None:
    """The intervals of ten repeats hold 1/2, but for one or two."""
    shares = [c2st_accuracy(images(2 * seed), images(2 * seed + 1), seed=seed, steps=60) for seed in range(10)]
    assert sum(share.low <= 0.5 <= share.high for share in shares) >= 8
    assert 0.45 < np.mean([share.value for share in shares]) < 0.55


def test_two_sources_are_distinguished() -> None:
    share = c2st_accuracy(images(0), (images(1) + 0.4).clamp(-1, 1), seed=0, steps=100)
    assert share.low > 0.9
    assert share.images == 400


def test_a_face_seen_in_training_does_not_help() -> None:
    """Ten pictures of each of 40 people: a network that knows the people would know who is on which side."""
    people = [torch.cat([images(side, 40).repeat_interleave(10, dim=0)]) for side in (0, 1)]
    noise = torch_generator(3, "noise")
    people = [some + 0.05 * torch.randn(some.shape, generator=noise) for some in people]
    names = [str(number // 10) for number in range(400)]
    leaking = c2st_accuracy(*people, seed=0, steps=150)
    apart = c2st_accuracy(*people, seed=0, steps=150, groups=(names, names))
    assert leaking.value > 0.75
    assert apart.value < 0.65


def test_the_smaller_side_sets_the_count() -> None:
    assert c2st_accuracy(images(0, 30), images(1, 400), seed=0, steps=5).images == 30
    with pytest.raises(ValueError, match="3 images of 3 groups cannot be halved"):
        c2st_accuracy(images(0, 3), images(1), seed=0)
    with pytest.raises(ValueError, match="400 images of 1 groups"):
        c2st_accuracy(images(0), images(1), seed=0, groups=(None, ["a"] * 400))


def test_a_share_has_the_interval_of_wilson() -> None:
    """By hand: 8 of 10, z = 1.96."""
    share = Share.of(8, 10)
    z, n, p = 1.959964, 10, 0.8
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert share[:3] == pytest.approx((0.8, centre - half, centre + half), abs=1e-6)
    assert str(share) == "80.0% [49.0%, 94.3%]"


def test_the_accuracy_covers_its_mean_when_people_are_redrawn() -> None:
    """Ten test people, of whom each is recognised in another share of the images; 60 % on average."""
    rng = np.random.default_rng(0)
    names = [str(number // 40) for number in range(400)]
    covered, alone, widths, means = 0, 0, [], []
    for _ in range(400):
        shares = np.repeat(rng.beta(3, 2, 10), 40)
        correct = rng.random(400) < 0.6, rng.random(400) < shares
        share = Classified(correct, (None, names)).share()
        covered += share.low <= 0.6 <= share.high
        widths.append(share.high - share.low)
        means.append(share.value)
        independent = Classified(correct, (None, None)).share()
        alone += independent.low <= 0.6 <= independent.high
    assert 0.92 <= covered / 400 <= 0.99
    assert alone / 400 < 0.75
    assert np.mean(widths) < 1.3 * 3.92 * np.std(means)


def test_an_accuracy_of_one_person_holds_for_nobody_else() -> None:
    correct = np.array([True, False] * 20), np.array([True] * 40)
    assert Classified(correct, (None, ["a"] * 40)).share() == (0.75, 0, 1, 80)


def test_the_gain_pairs_the_same_images() -> None:
    """Of four images of each set, one render and one real image become harder; by hand, per set and per image."""
    before = Classified((np.ones(4, bool), np.ones(4, bool)), (None, None))
    after = Classified((np.array([0, 1, 1, 1], bool), np.array([1, 1, 1, 0], bool)), (None, None))
    gain = before.gain(after)
    variance = 2 * (0.25 / 4) / 4  # of a mean of 1, 0, 0, 0 on each side
    assert gain.mean == 0.25
    assert gain.high - 0.25 == pytest.approx(stats.t.ppf(0.975, 6) * variance**0.5)
