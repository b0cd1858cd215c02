"""Points and masks of the user's own, as what must stay: in folders, stores, single images and evaluation."""

import csv
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

from refiner.commands import main
from refiner.core.errors import ImageError, UsageError
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.drift.regions import MASK, LabelRegion
from refiner.data.labels.tables import write_labels
from refiner.images.io import write_image
from refiner.inference.refiner import Refiner
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork

COUNT, HEIGHT, WIDTH = 6, 40, 64

LEFT, RIGHT = (slice(None), slice(0, 26)), (slice(None), slice(38, WIDTH))


@pytest.fixture
def patterns(tmp_path: Path) -> Path:
    """Images of coarse noise with a labelled point on either side."""
    rng = np.random.default_rng(0)
    labels = {}
    for number in range(COUNT):
        coarse = rng.integers(20, 235, (HEIGHT // 4, WIDTH // 4), np.uint8)
        name = f"{number}.png"
        write_image(tmp_path / "in" / name, np.kron(coarse, np.ones((4, 4), np.uint8)))
        labels[name] = {"left": np.array([[13.0, 20.0], [14.0, 19.0]]), "right": np.array([[50.0, 20.0]])}
    write_labels(tmp_path / "in" / "labels.csv", labels)
    return tmp_path / "in"


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A refiner that moves the right half of everything down by two pixels."""
    architecture: dict[str, Any] = {"features": 4, "blocks": 1, "output": "residual"}
    save_refiner(tmp_path / "r", RefinerNetwork(RefinerArchitecture(**architecture)), training={})

    def refine_batch(_: Refiner, planes: Any, **__: Any) -> np.ndarray:
        moved = np.stack(planes)
        moved[..., WIDTH // 2 :] = np.roll(moved, 2, axis=2)[..., WIDTH // 2 :]
        return moved

    monkeypatch.setattr(Refiner, "refine_batch", refine_batch)
    return tmp_path / "r"


def mask_file(path: Path, where: tuple[slice, slice], size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[where] = 255
    write_image(path, np.asarray(np.kron(mask, np.ones((size[0] // HEIGHT, size[1] // WIDTH), np.uint8))))
    return path


def refine(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["refine", *map(str, arguments)])


def drifts(out: Path) -> list[float]:
    with (out / "drift.csv").open(newline="") as stream:
        return [float(row["drift_px"]) for row in csv.DictReader(stream)]


@pytest.mark.parametrize(("label", "shift"), [("left", 0), ("right", 2)])
def test_points_of_any_name_are_followed(patterns: Path, half: Path, tmp_path: Path, label: str, shift: int) -> None:
    assert refine(patterns, tmp_path / "out", "--refiner", half, "--points", label).exit_code == 0
    assert np.allclose(drifts(tmp_path / "out"), shift, atol=0.3)
    convert(patterns, tmp_path / "in.h5", Conversion())
    assert refine(tmp_path / "in.h5", tmp_path / "out.h5", "--refiner", half, "--points", label).exit_code == 0
    with h5py.File(tmp_path / "out.h5") as store:
        assert np.allclose(store["labels/drift_px"], shift, atol=0.3)


@pytest.mark.parametrize(("where", "shift"), [(LEFT, 0), (RIGHT, 2)])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (2 * HEIGHT, 2 * WIDTH)])
def test_one_mask_for_all(
    patterns: Path, half: Path, tmp_path: Path, where: tuple[slice, slice], shift: int, size: tuple[int, int]
) -> None:
    mask = mask_file(tmp_path / "mask.png", where, size)
    assert refine(patterns, tmp_path / "out", "--refiner", half, "--mask", mask).exit_code == 0
    assert np.allclose(drifts(tmp_path / "out"), shift, atol=0.3)
    convert(patterns, tmp_path / "in.h5", Conversion())
    assert refine(tmp_path / "in.h5", tmp_path / "out.h5", "--refiner", half, "--mask", mask).exit_code == 0
    with h5py.File(tmp_path / "out.h5") as store:
        assert np.allclose(store["labels/drift_px"], shift, atol=0.3)
    image = refine(patterns / "0.png", tmp_path / "0.png", "--refiner", half, "--mask", mask, "--max-drift", 1)
    assert image.exit_code == (1 if shift else 0)


def test_a_mask_for_each_image_and_one_missing(patterns: Path, half: Path, tmp_path: Path) -> None:
    for number in range(COUNT - 2):
        mask_file(tmp_path / "masks" / f"{number}.png", RIGHT if number == 1 else LEFT)
    write_image(tmp_path / "masks" / f"{COUNT - 2}.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    options = ("--refiner", half, "--mask", tmp_path / "masks", "--max-drift", 1)
    assert refine(patterns, tmp_path / "out", *options).exit_code == 4
    with (tmp_path / "out" / "rejected.csv").open(newline="") as stream:
        reasons = {row["file"]: row["reason"] for row in csv.DictReader(stream)}
    assert list(reasons) == ["1.png", "4.png", "5.png"]
    assert "moved by about 2.0 px" in reasons["1.png"]
    assert "is black" in reasons["4.png"]
    assert "its mask" in reasons["5.png"]
    convert(patterns, tmp_path / "in.h5", Conversion())
    failed = refine(tmp_path / "in.h5", tmp_path / "out.h5", *options)
    assert failed.exit_code == 1
    assert "4.png: its mask" in failed.output


def test_another_region_is_measured_anew(patterns: Path, half: Path, tmp_path: Path) -> None:
    for label, shift in (("left", 0), ("right", 2)):
        refine(patterns, tmp_path / "out", "--refiner", half, "--points", label, "--overwrite")
        assert np.allclose(drifts(tmp_path / "out"), shift, atol=0.3)


@pytest.mark.parametrize("store", [False, True])
def test_a_folder_of_masks_with_other_names_is_refused_before_any_work(
    patterns: Path, half: Path, tmp_path: Path, store: bool
) -> None:
    masks, source, out = tmp_path / "masks", patterns, tmp_path / "out"
    masks.mkdir()
    write_image(masks / "other.png", np.full((20, 30), 255, np.uint8))
    if store:
        source, out = tmp_path / "in.h5", tmp_path / "out.h5"
        convert(patterns, source, Conversion())
    failed = refine(source, out, "--refiner", half, "--mask", masks)
    assert failed.exit_code == 2
    assert f"{masks} has no mask for any of the" in failed.output
    assert f"such as {masks / '0.png'}" in failed.output
    assert not out.exists()


def test_a_label_that_is_not_there_is_refused(patterns: Path, half: Path, tmp_path: Path) -> None:
    failed = refine(patterns, tmp_path / "out", "--refiner", half, "--points", "nose")
    assert failed.exit_code == 2
    assert "has no label 'nose' to read points from; its labels: left, right" in failed.output
    assert refine(patterns / "0.png", tmp_path / "0.png", "--refiner", half, "--points", "left").exit_code == 2


def test_what_is_watched(tmp_path: Path) -> None:
    labels = {"pupil": np.array([3.0, 4.0]), "joints": np.array([[1.0, 2.0]]), "age": 3}
    assert list(LabelRegion().watched("a", labels, (8, 12))) == ["pupil"]
    assert list(LabelRegion("joints").watched("a", labels, (8, 12))) == ["joints"]
    assert LabelRegion("age").watched("a", labels, (8, 12)) == {}
    mask = mask_file(tmp_path / "mask.png", LEFT)
    weights = LabelRegion("joints", mask).watched("a", labels, (20, 32))[MASK]
    assert weights.shape == (20, 32)
    assert weights[:, :13].min() == 1
    assert weights[:, 13:].max() == 0
    with pytest.raises(ImageError, match="its mask"):
        LabelRegion(mask=tmp_path).watched("other.png", labels, (8, 12))
    with pytest.raises(UsageError, match="no label 'age'"):
        LabelRegion("age").check(tmp_path, ())


OUTSIDE = {"left": np.array([[-5.0, 20.0]]), "right": np.array([500.0, 20.0])}


@pytest.mark.parametrize("label", ["left", "right"])
def test_labels_outside_the_image_are_unknown_and_pass_no_limit(
    patterns: Path, half: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, label: str
) -> None:
    """One image has a usable point; the others lie outside, are missing, or have no row."""
    labels = {f"{number}.png": dict(OUTSIDE) for number in range(COUNT)}
    labels["0.png"] = {"left": np.array([[13.0, 20.0]]), "right": np.array([13.0, 20.0])}
    labels["1.png"] = {"left": np.array([[np.nan, 20.0]]), "right": np.array([np.nan, np.nan])}
    del labels["2.png"]
    write_labels(patterns / "labels.csv", labels)
    convert(patterns, tmp_path / "in.h5", Conversion())
    options = ("--refiner", half, "--points", label)
    for source, out in ((patterns, tmp_path / "out"), (tmp_path / "in.h5", tmp_path / "out.h5")):
        caplog.clear()
        assert refine(source, out, *options).exit_code == (4 if source.is_dir() else 0)  # a row is missing
        assert "the drift of 5 of 6 images is unknown" in caplog.text
        rejecting = out.with_name(f"limit-{out.name}")
        assert refine(source, rejecting, *options, "--max-drift", 5).exit_code == 4
    with (tmp_path / "out" / "drift.csv").open(newline="") as stream:
        assert [row["known"] for row in csv.DictReader(stream)] == ["1", "0", "0", "0", "0", "0"]
    with h5py.File(tmp_path / "out.h5") as store:
        assert store["labels/drift_known"][:].tolist() == [1, 0, 0, 0, 0, 0]
    for rejected in (tmp_path / "limit-out" / "rejected.csv", tmp_path / "limit-out.rejected.csv"):
        with rejected.open(newline="") as stream:
            reasons = {row["file"]: row["reason"] for row in csv.DictReader(stream)}
        assert list(reasons) == [f"{number}.png" for number in range(1, COUNT)]
        assert all(reason.startswith("its drift is unknown: no labelled point lies") for reason in reasons.values())
    # The same command again measures nothing anew.
    again = refine(patterns, tmp_path / "limit-out", *options, "--max-drift", 5)
    assert again.stdout == "0 refined, 1 skipped, 5 rejected, 1 other files copied\n"


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("age", "holds numbers such as '7'"),
        ("note", "holds text such as 'left'"),
        ("box", "holds numbers such as "),
        ("gaze", "is not in pixels"),
        ("size_mm", "is not in pixels"),
    ],
)
def test_labels_that_are_no_points_are_refused(
    patterns: Path, half: Path, tmp_path: Path, label: str, reason: str
) -> None:
    labels = {
        "gaze": np.array([0.1, 0.2]),
        "size_mm": np.array([1.0, 2.0]),
        "box": np.array([1.0, 2, 3, 4]),
        "age": "7",
        "note": "left",
    }
    write_labels(patterns / "labels.csv", {f"{number}.png": labels for number in range(1, COUNT)})
    convert(patterns, tmp_path / "in.h5", Conversion())
    for source, out in ((patterns, tmp_path / "out"), (tmp_path / "in.h5", tmp_path / "out.h5")):
        failed = refine(source, out, "--refiner", half, "--points", label)
        assert failed.exit_code == 2, failed.output
        assert f"label {label!r} of {source} {reason}" in failed.output
        assert not out.exists()


@pytest.mark.parametrize("shape", ["columns", "depth", "ragged", "whole numbers"])
@pytest.mark.parametrize(("side", "shift"), [("left", 0), ("right", 2)])
def test_points_of_any_form_are_followed(
    patterns: Path, half: Path, tmp_path: Path, shape: str, side: str, shift: int
) -> None:
    x = 13 if side == "left" else 50
    rows = {}
    for number in range(COUNT):
        forms: dict[str, Any] = {
            "columns": {"tip_x": str(x), "tip_y": "20"},
            "depth": {"tip": np.array([[x, 20.0, 700.0], [np.nan, np.nan, 0.0]])},
            "ragged": {"tip": np.array([[x, 20.0]] * (1 + number % 2))},
            "whole numbers": {"tip": np.array([x, 20])},
        }
        rows[f"{number}.png"] = forms[shape]
    write_labels(patterns / "labels.csv", rows)
    convert(patterns, tmp_path / "in.h5", Conversion())
    options = ("--refiner", half, "--points", "tip")
    assert refine(patterns, tmp_path / "out", *options).exit_code == 0
    assert np.allclose(drifts(tmp_path / "out"), shift, atol=0.3)
    assert refine(tmp_path / "in.h5", tmp_path / "out.h5", *options).exit_code == 0
    with h5py.File(tmp_path / "out.h5") as store:
        assert np.allclose(store["labels/drift_px"], shift, atol=0.3)
        assert store["labels/drift_known"][:].all()
