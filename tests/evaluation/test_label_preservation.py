"""Label preservation: what moved is seen, noise beside it is not taken for it."""

import numpy as np
import pytest
import torch

from refiner.data.labels.records import Labels
from refiner.evaluation.label_preservation import measure_preservation
from refiner.eyes import EyeParameters, render_eyes


@pytest.fixture(scope="module")
def eyes() -> tuple[torch.Tensor, list[Labels]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    batch = render_eyes(EyeParameters(images_per_person=1), range(120), seed=9)
    torch.set_num_threads(threads)
    return batch.images, [{"pupil": pupil} for pupil in batch.pupil.numpy().astype(np.float64)]


def estimate(images: torch.Tensor) -> np.ndarray:
    """A gaze that is the mean row and column of darkness, in thousandths."""
    dark = (1 - images[:, 0]) / (1 - images[:, 0]).sum(dim=(1, 2), keepdim=True)
    rows = (dark.sum(dim=2) * torch.arange(images.shape[2])).sum(dim=1)
    columns = (dark.sum(dim=1) * torch.arange(images.shape[3])).sum(dim=1)
    return torch.stack([rows, columns], dim=1).numpy().astype(np.float64) / 100


def test_a_shift_is_seen_by_every_figure(eyes: tuple) -> None:
    renders, labels = eyes
    moved = renders.roll(2, dims=3)
    figures = {f.key: f for f in measure_preservation(renders, moved, labels, estimate=estimate, seed=0)}
    assert figures["moved"].name == "pupil moved by"
    assert figures["moved"].value.mean == pytest.approx(2, abs=0.2)
    assert figures["common_shift"].value.mean == pytest.approx(2, abs=0.2)
    assert figures["score"].value.mean == pytest.approx(figures["moved"].value.mean, abs=0.05)  # all of it is there
    assert figures["gaze_shift"].value.low > 0.1
    assert figures["edges"].value.mean < 0.85


def test_light_moves_nothing(eyes: tuple) -> None:
    renders, labels = eyes
    figures = {f.key: f for f in measure_preservation(renders, 0.7 * renders + 0.1, labels, estimate=None, seed=0)}
    assert figures["moved"].value.mean < 0.15
    assert figures["common_shift"].value.high < 0.1
    assert figures["edges"].value.mean == pytest.approx(1, abs=1e-4)
    assert "gaze_shift" not in figures


def test_noise_of_the_same_size_stands_beside(eyes: tuple) -> None:
    """A refiner that adds noise alone is as good as its control."""
    renders, labels = eyes
    noise = 0.1 * torch.randn(renders.shape, generator=torch.Generator().manual_seed(1))
    noisy = (renders + noise).clamp(-1, 1)
    for figure in measure_preservation(renders, noisy, labels, estimate=estimate, seed=0):
        assert figure.floor is not None
        assert figure.value.mean == pytest.approx(figure.floor.mean, rel=0.3, abs=0.06), figure.key


def test_without_labels_the_image_is_looked_at(eyes: tuple) -> None:
    renders, _ = eyes
    found = measure_preservation(renders, renders.roll(1, dims=2), [{}] * len(renders), estimate=None, seed=0)
    figures = {figure.key: figure for figure in found}
    assert figures["moved"].name == "image moved by"
    assert figures["moved"].value.mean == pytest.approx(1, abs=0.15)
    assert "region" not in figures


def test_the_largest_change_is_that_of_the_region(eyes: tuple) -> None:
    renders, labels = eyes
    spoilt = renders.clone()
    spoilt[:, :, :4, :4] = 1  # a corner, far from every pupil
    figures = {f.key: f for f in measure_preservation(renders, spoilt, labels, estimate=None, seed=0)}
    assert figures["region"].value.mean == 0


def test_a_mask_is_looked_at_instead_of_points(eyes: tuple) -> None:
    renders, _ = eyes
    spoilt = renders.clone()
    spoilt[:, :, :4, :4] = 1
    mask = np.zeros((len(renders), *renders.shape[2:]), np.float32)
    for where, changed in ((np.s_[:, 10:, 20:], False), (np.s_[:, :12, :20], True)):
        masks = mask.copy()
        masks[where] = 1
        watched = [{"mask": one} for one in masks]
        figures = {f.key: f for f in measure_preservation(renders, spoilt, watched, estimate=None, seed=0)}
        assert figures["moved"].name == "masked region moved by"
        assert figures["region"].name == "largest change in the masked region"
        assert (figures["region"].value.mean > 20) == changed
