"""Pairs of renders and refined images: what is missing is counted, and swapped arguments are named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from refiner.core.errors import DataError, UsageError
from refiner.data.drift.table import write_drift
from refiner.data.labels.tables import read_labels, write_labels, write_rejected
from refiner.evaluation.pairs.arguments import check_apart_from_real, suspicion
from refiner.evaluation.pairs.missing import Missing
from refiner.evaluation.pairs.refined import refined_pairs
from refiner.evaluation.samples import Sample, read_sample
from refiner.images.io import read_image, write_image

SIZE = (16, 24)


def pairs(synthetic: Path, refined: Path, real: Path) -> tuple[Sample, Tensor, Missing]:
    raw = read_sample(synthetic, size=None, most=1000, seed=0)
    return refined_pairs(synthetic, raw, refined, real, points=("pupil",), max_score=1.0, device="cpu")[:3]


@pytest.fixture
def refined(gazes: Path, tmp_path: Path) -> Path:
    """The pictures, a little brighter, with their labels, as refining writes them."""
    folder = tmp_path / "refined"
    for path in sorted(gazes.glob("*.png")):
        write_image(folder / path.name, np.clip(read_image(path).astype(int) + 9, 0, 255).astype(np.uint8))
    shutil.copy(gazes / "labels.csv", folder)
    write_drift(folder / "drift.csv", [])
    return folder


def test_rejected_images_are_left_out_and_counted(gazes: Path, refined: Path, other_gazes: Path) -> None:
    for name in ("003.png", "004.png", "005.png", "006.png", "007.png"):
        (refined / name).unlink()
    write_image(refined / "extra.png", np.zeros(SIZE, np.uint8))
    rejected = [
        ("003.png", "drift", "the pupil moved by about 2.1 px (drift score 2.10, limit 0.5)"),
        ("004.png", "drift", "the pupil moved by about 0.6 px (drift score 0.60, limit 0.5)"),
        ("005.png", "drift", "no labelled point lies in the image"),
        ("006.png", "read", "is empty"),
    ]
    write_rejected(refined / "rejected.csv", rejected)
    raw, images, missing = pairs(gazes, refined, other_gazes)
    assert missing == Missing(renders=60, by_drift=3, doubtful=2, otherwise=1, unexplained=("007.png",), orphans=1)
    assert missing.sentences() == [
        "5 of 60 renders (8.3%) have no refined image: --max-drift rejected 3, 1 could not be refined, no reason is "
        "known for 1, such as 007.png. All metrics hold for the others.",
        "1 refined images have no render of the same name and are left out.",
    ]
    names = [f"{number:03d}.png" for number in range(60) if not 3 <= number <= 7]
    assert raw.ids == names
    for image, name in zip(images, names, strict=True):
        assert torch.allclose(image[0], torch.from_numpy(read_image(refined / name) / 127.5 - 1).float())
    assert raw.labels[3]["subject"] == "s0"  # of 008.png
    assert len(raw.images) == 55


def test_nothing_is_missing_from_a_whole_folder(gazes: Path, refined: Path, other_gazes: Path) -> None:
    assert pairs(gazes, refined, other_gazes)[2].sentences() == []


@pytest.mark.parametrize("marked", [True, False])
def test_swapped_folders_are_named(gazes: Path, refined: Path, other_gazes: Path, marked: bool) -> None:
    """All three have the same names. The drift table gives them away, or else their labels do."""
    if not marked:
        (refined / "drift.csv").unlink()
    if marked:
        with pytest.raises(UsageError, match="--synthetic and --refined are swapped"):
            pairs(refined, gazes, other_gazes)
    words = "--real and --refined are swapped" if marked else "show that --refined and --real are swapped"
    with pytest.raises(UsageError, match=words):
        pairs(gazes, other_gazes, refined)
    with pytest.raises(UsageError, match="show that --synthetic and --real are swapped; exchange them"):
        pairs(other_gazes, refined, gazes)
    with pytest.raises(UsageError, match="--synthetic and --real are both"):
        pairs(gazes, refined, gazes)
    with pytest.raises(UsageError, match="--refined and --real are both"):
        pairs(gazes, refined, refined)


def test_names_give_swapped_folders_away(gazes: Path, refined: Path, other_gazes: Path) -> None:
    for path in sorted(other_gazes.glob("*.png")):
        path.rename(path.with_name(f"real{path.name}"))
    (other_gazes / "labels.csv").unlink()
    (refined / "drift.csv").unlink()
    with pytest.raises(UsageError, match=r"and none of --synthetic .*; --synthetic and --real are swapped"):
        pairs(other_gazes, refined, gazes)
    with pytest.raises(UsageError, match="has none of them; --refined and --real are swapped"):
        pairs(gazes, other_gazes, refined)
    shutil.rmtree(refined)
    write_image(refined / "other.png", np.zeros(SIZE, np.uint8))
    with pytest.raises(DataError, match=r"has no image under the name of a render, such as 000\.png"):
        pairs(gazes, refined, other_gazes)


def test_a_changed_label_is_refused(gazes: Path, refined: Path, other_gazes: Path) -> None:
    labels = read_labels(refined / "labels.csv")
    labels["007.png"]["gaze"] = labels["007.png"]["gaze"] + [0, 1e-3]
    write_labels(refined / "labels.csv", labels)
    with pytest.raises(
        DataError, match=r"the label gaze of 007\.png is not that of the render in .* for 1 of 60 images"
    ):
        pairs(gazes, refined, other_gazes)


@pytest.mark.parametrize("change", ["changed", "emptied"])
def test_a_changed_or_lost_text_is_refused(gazes: Path, refined: Path, other_gazes: Path, change: str) -> None:
    labels = read_labels(refined / "labels.csv")
    if change == "changed":
        labels["007.png"]["subject"] = "someone"
    else:
        del labels["007.png"]["subject"]
    write_labels(refined / "labels.csv", labels)
    with pytest.raises(DataError, match=r"the label subject of 007\.png is not that .* for 1 of 60 images"):
        pairs(gazes, refined, other_gazes)


def test_equal_pixels_and_missing_labels_are_suspicious(gazes: Path, other_gazes: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(gazes, copy)
    (copy / "labels.csv").unlink()
    labelled, plain, other = (read_sample(path, size=SIZE, most=50, seed=0) for path in (gazes, copy, other_gazes))
    with pytest.raises(UsageError, match="hold the same images, pixel by pixel"):
        check_apart_from_real(gazes, labelled, copy, plain)
    check_apart_from_real(gazes, labelled, other_gazes, other)
    assert suspicion(labelled, plain) is suspicion(labelled, other) is None
    assert "The real images have labels (gaze, head_pose)" in str(suspicion(plain, other))
