"""Label preservation: shifts are measured, and added noise does not count as a shift."""

import numpy as np
import pytest
import torch

from refiner.data.drift.measurement import measure_label_drift
from refiner.data.labels.objects import ObjectLabel
from refiner.data.labels.records import Labels
from refiner.evaluation.label_preservation import measure_preservation
from refiner.evaluation.verdict import reach_verdict
from refiner.eyes.rendering import render_eyes
from refiner.eyes.scene.parameters import EyeParameters


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


def test_a_shift_is_seen_by_every_metric(eyes: tuple) -> None:
    synthetic, labels = eyes
    moved = synthetic.roll(2, dims=3)
    metrics = {f.key: f for f in measure_preservation(synthetic, moved, labels, estimate=estimate, seed=0)}
    assert metrics["moved"].name == "shift of the pupil"
    assert metrics["moved"].value.mean == pytest.approx(2, abs=0.2)
    assert metrics["common_shift"].value.mean == pytest.approx(2, abs=0.2)
    assert metrics["score"].value.mean == pytest.approx(metrics["moved"].value.mean, abs=0.05)  # all of it is there
    assert metrics["gaze_shift"].value.low > 0.1
    assert metrics["edges"].value.mean < 0.85


@pytest.mark.parametrize(("shift", "refused"), [(1, True), (0, False)])
def test_the_same_relative_shift_is_judged_alike_at_any_size(shift: int, refused: bool) -> None:
    """Below a limit, in the verdict's rules, at 36x60 and at twice and three times that size."""
    reasons = []
    for factor in (1, 2, 3):
        batch = render_eyes(EyeParameters(images_per_person=1), range(40), seed=9, size=(36 * factor, 60 * factor))
        labels = [{"pupil": pupil} for pupil in batch.pupil.numpy().astype(np.float64)]
        moved = batch.images.roll(shift * factor, dims=3)
        metrics = {
            metric.key: metric for metric in measure_preservation(batch.images, moved, labels, estimate=None, seed=0)
        }
        assert metrics["moved"].value.mean == pytest.approx(shift * factor, abs=0.1 * factor)
        assert metrics["score"].value.mean == pytest.approx(shift, abs=0.1)
        assert metrics["common_shift"].value.mean == pytest.approx(shift, abs=0.1)
        assert metrics["common_shift"].unit == "px at 36x60"
        drifts = measure_label_drift(batch.images.numpy(), moved.numpy(), labels)
        verdict = reach_verdict(list(metrics.values()), drifts, change=10)
        reasons.append(any("in the same direction in all images" in reason for reason in verdict.reasons))
    assert reasons == [refused] * 3


def test_light_moves_nothing(eyes: tuple) -> None:
    synthetic, labels = eyes
    metrics = {f.key: f for f in measure_preservation(synthetic, 0.7 * synthetic + 0.1, labels, estimate=None, seed=0)}
    assert metrics["moved"].value.mean < 0.15
    assert metrics["common_shift"].value.high < 0.1
    assert metrics["edges"].value.mean == pytest.approx(1, abs=1e-4)
    assert "gaze_shift" not in metrics


def test_noise_of_the_same_size_is_the_reference(eyes: tuple) -> None:
    """A refiner that only adds noise is as good as its control."""
    synthetic, labels = eyes
    noise = 0.1 * torch.randn(synthetic.shape, generator=torch.Generator().manual_seed(1))
    noisy = (synthetic + noise).clamp(-1, 1)
    for metric in measure_preservation(synthetic, noisy, labels, estimate=estimate, seed=0):
        assert metric.reference is not None
        assert metric.value.mean == pytest.approx(metric.reference.mean, rel=0.3, abs=0.06), metric.key


def test_without_labels_the_image_is_looked_at(eyes: tuple) -> None:
    synthetic, _ = eyes
    found = measure_preservation(synthetic, synthetic.roll(1, dims=2), [{}] * len(synthetic), estimate=None, seed=0)
    metrics = {metric.key: metric for metric in found}
    assert metrics["moved"].name == "shift of the image"
    assert metrics["moved"].value.mean == pytest.approx(1, abs=0.15)
    assert "region" not in metrics


def test_the_largest_change_is_that_of_the_region(eyes: tuple) -> None:
    synthetic, labels = eyes
    spoilt = synthetic.clone()
    spoilt[:, :, :4, :4] = 1  # a corner, far from every pupil
    metrics = {f.key: f for f in measure_preservation(synthetic, spoilt, labels, estimate=None, seed=0)}
    assert metrics["region"].value.mean == 0


def test_a_mask_is_looked_at_instead_of_points(eyes: tuple) -> None:
    synthetic, _ = eyes
    spoilt = synthetic.clone()
    spoilt[:, :, :4, :4] = 1
    mask = np.zeros((len(synthetic), *synthetic.shape[2:]), np.float32)
    for where, changed in ((np.s_[:, 10:, 20:], False), (np.s_[:, :12, :20], True)):
        masks = mask.copy()
        masks[where] = 1
        watched = [{"mask": one} for one in masks]
        metrics = {f.key: f for f in measure_preservation(synthetic, spoilt, watched, estimate=None, seed=0)}
        assert metrics["moved"].name == "shift of the masked region"
        assert metrics["region"].name == "largest change in the masked region"
        assert (metrics["region"].value.mean > 20) == changed


def test_annotated_objects_are_looked_at_one_by_one(eyes: tuple) -> None:
    """The eye as an object with a box moves by two pixels; a render without objects has a drift, too."""
    synthetic, _ = eyes
    box = ObjectLabel("1", "eye", box=(18.0, 8.0, 24.0, 20.0))
    watched = [{"objects": (box,)}] * (len(synthetic) - 1) + [{"objects": ()}]
    metrics = {
        f.key: f for f in measure_preservation(synthetic, synthetic.roll(2, dims=3), watched, estimate=None, seed=0)
    }
    assert metrics["moved"].name == "shift of the worst object"
    assert metrics["moved"].value.mean == pytest.approx(2, abs=0.2)
    assert metrics["moved"].reference.mean < 0.2
    assert "region" not in metrics


def test_the_share_of_lost_objects_is_that_of_the_erased_ones() -> None:
    """Two objects in each of 40 images; the first one is erased in ten of them."""
    rng = np.random.default_rng(3)
    synthetic = torch.zeros(40, 3, 48, 80)
    for left in (8, 48):
        cells = torch.from_numpy(rng.uniform(-0.9, 0.9, (40, 3, 4, 4)).astype(np.float32))
        synthetic[:, :, 12:36, left : left + 24] = cells.repeat_interleave(6, 2).repeat_interleave(6, 3)
    refined = 0.8 * synthetic + 0.1
    refined[:10, :, 12:36, 8:32] = 0.1
    objects = (ObjectLabel("1", box=(8, 12, 24, 24)), ObjectLabel("2", box=(48, 12, 24, 24)))
    found = measure_preservation(synthetic, refined, [{"objects": objects}] * 40, estimate=None, seed=0)
    lost = {metric.key: metric for metric in found}["objects_lost"]
    assert lost.value.mean == pytest.approx(10 / 80)
    assert lost.reference is not None
    assert lost.reference.mean == 0
