"""Colour data are evaluated in colour, and grey data exactly as grey, whatever their files hold."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refiner.data.labels.objects import ImageAnnotations, ObjectLabel
from refiner.data.labels.tables import write_labels
from refiner.evaluation.evaluate import Evaluation, Settings, evaluate
from refiner.evaluation.samples import MAX_VALUES, Sample, common_channels, evaluated_size, read_sample
from refiner.images.io import read_image, write_image
from refiner.metrics.two_sample import WINDOW, classify

COUNT = 64


def write_grey(folder: Path, *, seed: int, noise: float, channels: int) -> Path:
    rng = np.random.default_rng(seed)
    for number in range(COUNT):
        image = np.clip(rng.normal(120, noise, (14, 20)) + 5 * np.arange(20), 0, 255).astype(np.uint8)
        write_image(folder / f"{number:02d}.png", image if channels == 1 else np.dstack([image] * channels))
    return folder


def write_coloured(folder: Path, count: int, *, seed: int, size: tuple[int, int] = (14, 20)) -> Path:
    rng = np.random.default_rng(seed)
    for number in range(count):
        write_image(folder / f"{number:02d}.png", rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    return folder


@pytest.mark.usefixtures("quick_judgement")
def test_grey_images_in_colour_files_have_the_metrics_of_grey_files_bit_by_bit(tmp_path: Path) -> None:
    found: list[Evaluation] = []
    for channels in (1, 3, 4):
        root = tmp_path / str(channels)
        synthetic, refined, real = (
            write_grey(root / name, seed=seed, noise=noise, channels=channels)
            for name, seed, noise in (("synthetic", 0, 4), ("refined", 0, 9), ("real", 1, 10))
        )
        found.append(evaluate(synthetic, refined, real, Settings(device="cpu")))
    expected = np.stack([read_image(tmp_path / "1" / "refined" / f"{n:02d}.png") for n in range(COUNT)])
    assert np.array_equal(found[0].refined.numpy()[:, 0], expected.astype(np.float32) / np.float32(127.5) - 1)
    for other in found[1:]:
        assert torch.equal(other.refined, found[0].refined)
        assert other.metrics == found[0].metrics
        assert other.verdict == found[0].verdict
        assert list(other.drifts.values()) == list(found[0].drifts.values())


def test_colours_are_kept_where_renders_and_real_images_have_them(tmp_path: Path) -> None:
    coloured = write_coloured(tmp_path / "colour", 8, seed=0)
    grey = write_grey(tmp_path / "grey", seed=0, noise=4, channels=3)
    assert common_channels([coloured, coloured]) == 3
    assert common_channels([coloured, grey]) == 1
    (coloured / "broken.png").write_bytes(b"no image")
    assert common_channels([coloured]) == 3
    sample = read_sample(coloured, size=None, most=8, seed=0, channels=3)
    assert sample.images.shape[1:] == (3, 14, 20)
    stored = read_image(coloured / sample.ids[2])  # (H, W, 3) RGB
    assert np.array_equal(np.rint(127.5 * (sample.images[2].numpy() + 1)), stored.transpose(2, 0, 1))
    weights = np.array([0.299, 0.587, 0.114])
    assert np.allclose(127.5 * (sample.grey[2, 0].numpy() + 1), stored @ weights, atol=1e-3)


@pytest.mark.usefixtures("quick_judgement")
def test_an_evaluation_in_colour_sees_a_change_of_colour_that_the_luma_hides(tmp_path: Path) -> None:
    """Red and green grow and fall so that the luma stays: the change is seen, and is no drift."""
    for name in ("synthetic", "refined", "real"):
        rng = np.random.default_rng(0 if name != "real" else 1)
        for number in range(COUNT):
            image = np.clip(rng.normal(120, 20, (14, 20, 3)), 60, 180)
            if name != "synthetic":
                image += np.array([58.7, -29.9, 0])
            write_image(tmp_path / name / f"{number:02d}.png", np.rint(image).astype(np.uint8))
    found = evaluate(tmp_path / "synthetic", tmp_path / "refined", tmp_path / "real", Settings(device="cpu"))
    assert found.synthetic.shape == (COUNT, 3, 14, 20)
    metrics = {metric.key: metric for metric in found.metrics}
    assert metrics["sliced_wasserstein"].gain is not None
    assert metrics["sliced_wasserstein"].gain.low > 0


def test_memory_is_bounded_by_fewer_and_by_smaller_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert evaluated_size((96, 128), 3) == (96, 128)
    assert evaluated_size((480, 640), 3) == (480, 640)
    height, width = evaluated_size((1080, 1920), 3)
    assert 128 * 3 * height * width <= MAX_VALUES
    assert height / width == pytest.approx(1080 / 1920, rel=0.01)
    folder = write_coloured(tmp_path / "colour", 12, seed=0)
    monkeypatch.setattr("refiner.evaluation.samples.MAX_VALUES", 10 * 3 * 14 * 20)
    monkeypatch.setattr("refiner.evaluation.samples.MIN_DRAWN", 5)
    sample = read_sample(folder, size=None, most=12, seed=0, channels=3)
    assert sample.drawn == (10, 12)
    assert sample.size == (14, 20)
    monkeypatch.setattr("refiner.evaluation.samples.MIN_DRAWN", 40)
    smaller = read_sample(folder, size=None, most=12, seed=0, channels=3)
    assert smaller.size == (7, 10)
    assert {original.size for original in smaller.originals} == {(14, 20)}
    assert len(smaller.ids) == 12


def test_the_classifier_sees_windows_of_large_images() -> None:
    """Both sets differ everywhere, so that windows suffice; networks on whole images would take minutes."""
    shape = (24, 3, 2 * WINDOW[0], WINDOW[1] + 7)
    dark, bright = torch.zeros(shape) - 0.3, torch.zeros(shape) + 0.3
    assert classify(dark, bright, seed=0, steps=10).share().value == 1


def test_part_of_a_sample_keeps_what_belongs_together() -> None:
    rows = [{"gaze": np.array([number, 0.0])} for number in range(4)]
    sample = Sample(torch.arange(4.0).reshape(4, 1, 1, 1), list("abcd"), rows, {"x": "is empty"})
    part = replace(sample, originals=[(row, (1, 1)) for row in rows]).only([3, 1])
    assert (part.ids, part.images.flatten().tolist()) == (["d", "b"], [3, 1])
    assert part.labels == [rows[3], rows[1]] == [labels for labels, _ in part.originals]
    assert part.rejected == {"x": "is empty"}


def test_objects_follow_images_that_are_resized(tmp_path: Path) -> None:
    """Images of two sizes are brought to that of the first; the labels of their data set are kept beside."""
    for number, scale in enumerate((1, 3)):
        write_image(tmp_path / f"{number}.png", np.zeros((14 * scale, 20 * scale), np.uint8))
    boxed = {
        f"{n}.png": {"objects": ImageAnnotations((ObjectLabel("1", "cup", box=(2.0 * s, 3.0 * s, 5.0 * s, 4.0 * s)),))}
        for n, s in enumerate((1, 3))
    }
    write_labels(tmp_path / "labels.csv", boxed)
    sample = read_sample(tmp_path, size=None, most=2, seed=0, points=("pupil", "objects"))
    assert [row["objects"].objects[0].box for row in sample.labels] == [(2, 3, 5, 4)] * 2
    assert [(row["objects"].objects[0].box, size) for row, size in sample.originals] == [
        ((2, 3, 5, 4), (14, 20)),
        ((6, 9, 15, 12), (42, 60)),
    ]
