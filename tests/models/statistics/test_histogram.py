"""Histogram matching, against ranks and NumPy's interpolation."""

import numpy as np
import pytest
import torch

from refiner.models.statistics.architecture import HistogramArchitecture
from refiner.models.statistics.histogram import HistogramRefiner, distribution, match_values


def test_a_render_without_ties_takes_the_values_of_the_real_image_by_rank() -> None:
    rng = np.random.default_rng(1)
    real, image = rng.random((9, 6)), rng.permutation(54).reshape(6, 9).astype(float)
    matched = match_values(torch.from_numpy(image), *distribution(torch.from_numpy(real), 256)).numpy()
    np.testing.assert_allclose(matched, np.sort(real, axis=None)[image.astype(int)], atol=1e-12)


@pytest.mark.parametrize("levels", [5, 200])
def test_ties_and_few_levels_are_interpolated(levels: int) -> None:
    rng = np.random.default_rng(2)
    real, image = rng.random((7, 11)), rng.integers(0, 6, (7, 11)).astype(float)
    values, shares = (tensor.numpy() for tensor in distribution(torch.from_numpy(real), levels))
    ranks = np.arange(1, 78) if levels == 200 else np.array([1, 20, 39, 58, 77])
    np.testing.assert_allclose(values[: len(ranks)], np.sort(real, axis=None)[ranks - 1])
    np.testing.assert_allclose(shares[: len(ranks)], ranks / 77)
    matched = match_values(torch.from_numpy(image), torch.from_numpy(values), torch.from_numpy(shares)).numpy()
    up_to = np.array([(image <= value).mean() for value in image.flat])
    expected = np.interp(up_to, ranks / 77, np.sort(real, axis=None)[ranks - 1])
    np.testing.assert_allclose(matched.ravel(), expected, atol=1e-12)


def test_channels_are_matched_apart_and_blended() -> None:
    rng = np.random.default_rng(3)
    refiners = [HistogramRefiner(HistogramArchitecture(3, blend=(blend, blend))) for blend in (1.0, 0.25)]
    real = torch.from_numpy(rng.uniform(-1, 1, (1, 3, 8, 12))).float() * torch.tensor([0.1, 0.5, 1])[:, None, None]
    image = torch.from_numpy(rng.uniform(-1, 1, (2, 3, 5, 7))).float()
    for refiner in refiners:
        refiner.fit(0, real)
    matched, blended = (refiner(image) for refiner in refiners)
    for channel in range(3):
        assert matched[:, channel].max() == real[0, channel].max()
        assert matched[:, channel].min() >= real[0, channel].min()
    np.testing.assert_allclose(blended, 0.75 * image + 0.25 * matched, atol=1e-6)
    assert torch.equal(matched[1:], refiners[0](image[1:]))
