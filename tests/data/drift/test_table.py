"""Drift written beside refined images, and images rejected by it: folders, stores and single images."""

import csv
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from refiner.commands import main
from refiner.core.errors import ImageError, OutputError
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.drift.measurement import measure_label_drift
from refiner.data.drift.regions import MASK, UNKNOWN
from refiner.data.drift.scores import degrees_of_gaze, score_drift
from refiner.data.drift.table import DriftLimit, LabelDrift
from refiner.data.output.records_writer import write_folder
from refiner.data.store.reader import Store
from refiner.eyes.records import rendered_records
from refiner.eyes.rendering import render_eyes
from refiner.eyes.scene.parameters import EyeParameters
from refiner.images.io import read_image
from refiner.inference.jobs.refine import Summary, refine_path
from refiner.inference.refiner import Refiner
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork

COUNT, MOVED = 12, (2, 7)


@pytest.fixture
def eyes(tmp_path: Path) -> Path:
    """A folder of labelled eyes."""
    records = rendered_records(EyeParameters(), COUNT, seed=4)
    write_folder(tmp_path / "in", records, COUNT, labelled=True, report=lambda done, total: None)
    return tmp_path / "in"


@pytest.fixture
def shifting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eyes: Path) -> Path:
    """A refiner that moves two of the eyes down by two pixels and leaves the others."""
    architecture: dict[str, Any] = {"features": 4, "blocks": 1, "output": "residual"}
    save_refiner(tmp_path / "r", RefinerNetwork(RefinerArchitecture(**architecture)), training={})
    moved = [read_image(eyes / f"{number:06d}.png").tobytes() for number in MOVED]

    def refine_batch(_: Refiner, planes: Any, **__: Any) -> np.ndarray:
        levels = [np.rint((plane + 1) * 127.5).astype(np.uint8) for plane in planes]
        return np.stack([np.roll(p, 2, axis=1) if v.tobytes() in moved else p for p, v in zip(planes, levels)])

    monkeypatch.setattr(Refiner, "refine_batch", refine_batch)
    return tmp_path / "r"


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as stream:
        return {row["file"]: row for row in csv.DictReader(stream)}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


ALL = [f"{number:06d}.png" for number in range(COUNT)]
BAD = [ALL[number] for number in MOVED]
GOOD = [name for name in ALL if name not in BAD]


def test_drift_is_written_for_every_image(tmp_path: Path, eyes: Path, shifting: Path) -> None:
    assert refine_path(eyes, tmp_path / "out", shifting, device="cpu") == Summary(COUNT, 0, 0, copied=1)
    rows = table(tmp_path / "out" / "drift.csv")
    assert list(rows) == ALL
    for name, row in rows.items():
        pixels, degrees, score = (float(row[key]) for key in ("drift_px", "drift_deg", "score"))
        assert pixels == pytest.approx(2 if name in BAD else 0, abs=0.35)
        assert degrees == pytest.approx(6 if name in BAD else 0, abs=1.1)
        assert score == pytest.approx(2 if name in BAD else 0, abs=0.4)
    text = (tmp_path / "out" / "drift.csv").read_bytes()
    assert refine_path(eyes, tmp_path / "out", shifting, device="cpu") == Summary(0, COUNT, 0, copied=1)
    assert (tmp_path / "out" / "drift.csv").read_bytes() == text  # known from the manifest


def test_a_limit_rejects_and_keeps_what_it_rejects(tmp_path: Path, eyes: Path, shifting: Path) -> None:
    limit = DriftLimit(1.0, tmp_path / "doubtful")
    for _ in range(2):
        refine_path(eyes, tmp_path / "out", shifting, device="cpu", limit=limit)
        assert names(tmp_path / "out") == list(table(tmp_path / "out" / "drift.csv")) == GOOD
        assert names(tmp_path / "doubtful") == BAD
    rejected = table(tmp_path / "out" / "rejected.csv")
    assert list(rejected) == BAD
    assert rejected[BAD[0]]["stage"] == "drift"
    reason = r"the pupil moved by about [12]\.\d px, the gaze by about [567]° \(drift score [12]\.\d\d, limit 1\)"
    assert re.fullmatch(reason, rejected[BAD[0]]["reason"])


def test_a_limit_that_comes_later_removes_what_does_not_pass(tmp_path: Path, eyes: Path, shifting: Path) -> None:
    refine_path(eyes, tmp_path / "out", shifting, device="cpu")
    assert names(tmp_path / "out") == ALL
    summary = refine_path(eyes, tmp_path / "out", shifting, device="cpu", limit=DriftLimit(1.0))
    assert summary == Summary(0, COUNT - 2, 2, copied=1)
    assert names(tmp_path / "out") == GOOD
    assert refine_path(eyes, tmp_path / "out", shifting, device="cpu") == Summary(2, COUNT - 2, 0, copied=1)
    assert names(tmp_path / "out") == ALL
    assert not (tmp_path / "out" / "rejected.csv").exists()


def test_without_labels_the_whole_image_is_scored(tmp_path: Path, eyes: Path, shifting: Path) -> None:
    (eyes / "labels.csv").unlink()
    refine_path(eyes, tmp_path / "out", shifting, device="cpu", limit=DriftLimit(1.0))
    assert names(tmp_path / "out") == GOOD
    row = table(tmp_path / "out" / "drift.csv")[GOOD[0]]
    assert row["drift_deg"] == ""
    assert "the image content moved by about" in table(tmp_path / "out" / "rejected.csv")[BAD[0]]["reason"]


def test_a_store_gets_columns_and_loses_what_does_not_pass(tmp_path: Path, eyes: Path, shifting: Path) -> None:
    convert(eyes, tmp_path / "in.h5", Conversion(), attributes={})
    assert refine_path(tmp_path / "in.h5", tmp_path / "all.h5", shifting, device="cpu") == Summary(COUNT, 0, 0)
    everything = Store(tmp_path / "all.h5")
    drifts = {name: everything.read(name).labels for name in everything.ids}
    assert float(drifts[BAD[0]]["drift_px"]) == pytest.approx(2, abs=0.35)
    limit = DriftLimit(1.0, tmp_path / "doubtful.h5")
    for summary in (Summary(COUNT, 0, 2), Summary(0, COUNT, 2)):
        assert refine_path(tmp_path / "in.h5", tmp_path / "out.h5", shifting, device="cpu", limit=limit) == summary
    passed, doubtful = Store(tmp_path / "out.h5"), Store(tmp_path / "doubtful.h5")
    assert (passed.ids, doubtful.ids) == (GOOD, BAD)
    for store in (passed, doubtful):
        for name in store.ids:
            assert np.array_equal(store.read_image(name), everything.read_image(name))
            labels, before = store.read(name).labels, drifts[name]
            assert labels["gaze"].tolist() == before["gaze"].tolist()
            assert labels["subject"] == before["subject"]
            assert labels["iris_outline"].tolist() == before["iris_outline"].tolist()
    assert list(table(tmp_path / "out.rejected.csv")) == BAD
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["images"].shape[0] == len(GOOD)
    with pytest.raises(OutputError, match="was not written: all 12 images exceed the limit of label drift"):
        refine_path(tmp_path / "in.h5", tmp_path / "none.h5", shifting, device="cpu", limit=DriftLimit(1e-9))
    assert not (tmp_path / "none.h5").exists()


def test_a_single_image_that_does_not_pass_is_not_written(tmp_path: Path, eyes: Path, shifting: Path) -> None:
    with pytest.raises(ImageError, match="the image content moved by about 2"):
        refine_path(eyes / BAD[0], tmp_path / "one.png", shifting, device="cpu", limit=DriftLimit(1.0))
    assert not (tmp_path / "one.png").exists()
    assert refine_path(eyes / GOOD[0], tmp_path / "one.png", shifting, device="cpu") == Summary(1, 0, 0)


def test_the_command_rejects_with_status_4(tmp_path: Path, eyes: Path, shifting: Path) -> None:
    def refine(*options: object) -> Result:
        arguments = [str(eyes), str(tmp_path / "out"), "--refiner", str(shifting), "--device", "cpu"]
        return CliRunner().invoke(main, ["refine", *arguments, *map(str, options)])

    result = refine("--max-drift", 1, "--keep-rejected", tmp_path / "doubtful")
    assert (result.exit_code, result.stdout) == (
        4,
        f"{COUNT - 2} refined, 0 skipped, 2 rejected, 1 other files copied\n",
    )
    assert names(tmp_path / "doubtful") == BAD
    assert refine("--keep-rejected", tmp_path / "doubtful").exit_code == 2
    assert refine("--max-drift", 0).exit_code == 2
    inside = refine("--max-drift", 1, "--keep-rejected", tmp_path / "out" / "doubtful")
    assert inside.exit_code == 2
    assert "must not contain each other" in inside.stderr


def test_someone_s_own_drift_table_is_not_replaced(tmp_path: Path, eyes: Path, shifting: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "drift.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"drift\.csv already exists and was not written by refiner"):
        refine_path(eyes, tmp_path / "out", shifting, device="cpu")
    assert (tmp_path / "out" / "drift.csv").read_text() == "mine"


def test_what_lies_where_rejects_would_go_is_not_replaced(tmp_path: Path, eyes: Path, shifting: Path) -> None:
    convert(eyes, tmp_path / "in.h5", Conversion(), attributes={})
    (tmp_path / "mine.h5").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / BAD[0]).write_text("mine")
    before = (tmp_path / "in.h5").read_bytes()
    for source, out, keep, reason in (
        ("in.h5", "out.h5", "in.h5", "must not contain each other"),
        ("in.h5", "out.h5", "out.h5", "must not contain each other"),
        ("in.h5", "out.h5", "mine.h5", "already exists"),
        ("in", "out", "mine", "was not written by refiner"),
    ):
        with pytest.raises(OutputError, match=reason):
            refine_path(
                tmp_path / source, tmp_path / out, shifting, device="cpu", limit=DriftLimit(1.0, tmp_path / keep)
            )
    assert (tmp_path / "in.h5").read_bytes() == before
    assert (tmp_path / "mine.h5").read_text() == (tmp_path / "mine" / BAD[0]).read_text() == "mine"


# --- the score itself ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted() -> dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Renders, refined images and pupils of what breaks labels, and of a refiner that does not."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    batch = render_eyes(EyeParameters(images_per_person=1), range(300), seed=171)
    synthetic, pupils = batch.images, batch.pupil
    refined = Refiner.load("demo", device="cpu")(synthetic)
    torch.set_num_threads(threads)
    rows, columns = torch.arange(36).view(-1, 1), torch.arange(60)
    near = torch.hypot(columns - pupils[:, 0].view(-1, 1, 1), rows - pupils[:, 1].view(-1, 1, 1))[:, None] < 7
    cases = {
        "good": refined,
        "shifted": refined.roll(2, dims=2),
        "erased": torch.where(near, refined.mean(dim=(2, 3), keepdim=True), refined),
        "swapped": refined.roll(1, dims=0),
        "collapsed": refined[:1].expand_as(refined),
    }
    return {name: (synthetic, images, pupils[:, None]) for name, images in cases.items()}


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("name", ["shifted", "erased", "swapped", "collapsed"])
def test_what_breaks_labels_scores_above_what_does_not(planted: dict, name: str, labelled: bool) -> None:
    """Area under the ROC curve: the share of pairs in which the broken label scores higher."""
    good, bad = (
        score_drift(synthetic, images, points=points if labelled else None).scores
        for synthetic, images, points in (planted["good"], planted[name])
    )
    assert (bad[:, None] > good).mean() > (0.9 if name == "erased" and not labelled else 0.98)


def test_pixels_are_those_of_the_renderer() -> None:
    """Each eye moved by its own known distance, up to 2 pixels: rank correlation, and absolute error below 0.5."""
    parameters = EyeParameters(images_per_person=1)
    still = render_eyes(parameters, range(120), seed=5)
    known, found = [], []
    for step in range(4):
        placement = parameters.placement.model_copy(update={"right_mm": (0.3 * step, 0.3 * step)})
        moved = render_eyes(parameters.model_copy(update={"placement": placement}), range(120), seed=5)
        base = parameters.placement.model_copy(update={"right_mm": (0.0, 0.0)})
        still = render_eyes(parameters.model_copy(update={"placement": base}), range(120), seed=5)
        known.append((moved.pupil - still.pupil).numpy())
        found.append(score_drift(still.images, moved.images, points=still.pupil[:, None]).shifts)
    true, measured = (np.linalg.norm(np.concatenate(shifts), axis=1) for shifts in (known, found))
    ranks = [np.argsort(np.argsort(values)) for values in (true, measured)]
    assert np.corrcoef(*ranks)[0, 1] > 0.8
    assert np.abs(true - measured).mean() < 0.5


def test_larger_images_are_scored_at_the_scale_of_a_patch() -> None:
    batch = render_eyes(EyeParameters(images_per_person=1), range(20), seed=6, size=(108, 180))
    moved = batch.images.roll(6, dims=3)
    scores = score_drift(batch.images, moved, points=batch.pupil[:, None])
    assert scores.shifts.mean(axis=0).tolist() == pytest.approx([6, 0], abs=0.6)
    assert score_drift(batch.images, moved).shifts.mean(axis=0).tolist() == pytest.approx([6, 0], abs=0.6)


def test_points_outside_and_missing_ones_do_not_count() -> None:
    images = render_eyes(EyeParameters(), range(2), seed=6).images
    moved = images.roll(2, dims=2)
    points = torch.tensor([[[30.0, 18.0], [float("nan"), 5.0]], [[-4.0, 5.0], [30.0, 400.0]]])
    scores = score_drift(images, moved, points=points)
    assert np.hypot(*scores.shifts[0]) == pytest.approx(2, abs=0.5)
    assert scores.known.tolist() == [True, False]
    # Without a usable point, the whole image is scored, which moved by 2 pixels.
    assert scores.scores[1] == score_drift(images, moved).scores[1]
    assert scores.shifts[1].tolist() == pytest.approx([0, 2], abs=0.3)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_a_point_counts_up_to_the_edge_of_the_image(factor: int) -> None:
    """The edge is half a pixel beyond the centre of the outermost pixel, at any size."""
    images = render_eyes(EyeParameters(), range(1), seed=6).images.repeat_interleave(factor, 2)
    images = images.repeat_interleave(factor, 3)
    edges = [(-0.5, 18.0), (60 * factor - 0.5, 18.0), (30.0, -0.5), (30.0, 36 * factor - 0.5)]
    beyond = [(-0.6, 18.0), (60 * factor - 0.4, 18.0), (30.0, -0.6), (30.0, 36 * factor - 0.4)]
    assert all(score_drift(images, images, points=np.array([[point]])).known.all() for point in edges)
    assert not any(score_drift(images, images, points=np.array([[point]])).known.any() for point in beyond)


@pytest.mark.parametrize("size", [(36, 60), (72, 120), (108, 180), (144, 240)])
@pytest.mark.parametrize("labelled", [True, False])
def test_the_same_relative_shift_scores_the_same_at_any_size(size: tuple[int, int], labelled: bool) -> None:
    batch = render_eyes(EyeParameters(images_per_person=1), range(20), seed=6, size=size)
    scale = size[0] // 36
    found = score_drift(
        batch.images, batch.images.roll(scale, dims=3), points=batch.pupil[:, None] if labelled else None
    )
    assert np.median(found.shifts[:, 0]) == pytest.approx(scale, abs=0.05 * scale)
    assert np.median(found.scores) == pytest.approx(1, abs=0.05)


def unknown_cases() -> dict[str, Any]:
    return {
        "outside": np.array([500.0, 5.0]),
        "all missing": np.array([[np.nan, 5.0], [3.0, np.nan]]),
        "no texture": np.array([9.0, 9.0]),
    }


@pytest.mark.parametrize("name", [*unknown_cases(), "mask", "declared unknown"])
def test_a_label_that_cannot_be_followed_is_unknown_and_rejected(name: str) -> None:
    """The refined image has nothing to do with its render, which a score of 0 would hide."""
    rng = np.random.default_rng(0)
    before, after = rng.uniform(-1, 1, (2, 1, 1, 40, 64)).astype(np.float32)
    before[..., :20, :20] = 0.25  # a flat corner
    mask = np.zeros((40, 64), np.float32)
    mask[2:18, 2:18] = 1
    watched = {"mask": {MASK: mask}, "declared unknown": {UNKNOWN: None}}.get(name)
    (drift,) = measure_label_drift(before, after, [watched or {"corner": unknown_cases()[name]}])
    (whole,) = measure_label_drift(before, after, [{}])
    assert not drift.known
    assert whole.known
    assert (drift.x, drift.y, drift.score) == (whole.x, whole.y, whole.score)
    assert drift.score > 0.5
    limit = DriftLimit(1000)
    assert limit.rejects(drift)
    assert not limit.rejects(whole)
    assert limit.reason(drift).startswith("its drift is unknown: no labelled point lies in the image")
    assert not DriftLimit().rejects(drift)
    assert LabelDrift.from_line(drift.to_line()) == drift
    assert drift.cells()["known"] == "0"


def test_points_that_can_be_followed_count_and_the_others_do_not() -> None:
    images = render_eyes(EyeParameters(images_per_person=1), range(3), seed=6).images.numpy()
    moved = np.roll(images, 2, axis=2)
    alone = measure_label_drift(images, moved, [{"marks": np.array([[30.0, 18.0]])}] * 3)
    among = [[np.nan, np.nan], [30.0, 18.0], [-9.0, 4.0], [30.0, 99.0]]
    assert measure_label_drift(images, moved, [{"marks": np.array(among)}] * 3) == alone
    assert all(drift.known for drift in alone)


def test_a_score_that_is_no_number_does_not_pass() -> None:
    assert DriftLimit(1.0).rejects(LabelDrift(0.0, 0.0, None, float("nan")))


def test_a_mask_looks_at_its_region_alone() -> None:
    images = render_eyes(EyeParameters(images_per_person=1), range(10), seed=8).images
    half = images.clone()
    half[..., 30:] = images.roll(2, dims=2)[..., 30:]  # the right half moves down
    mask = torch.zeros(10, 36, 60)
    mask[..., :26] = 1
    left, right = (score_drift(images, half, mask=region) for region in (mask, mask.flip(2)))
    assert left.scores.max() < 0.2
    assert np.median(right.shifts[:, 1]) == pytest.approx(2, abs=0.4)


def test_flat_images_have_no_label_to_lose() -> None:
    flat = torch.full((2, 1, 36, 60), 0.2)
    drifts = measure_label_drift(flat, flat + 0.1, [{"pupil": np.array([30.0, 18.0])}, {}])
    assert [drift.score for drift in drifts] == [0, 0]
    assert [drift.known for drift in drifts] == [False, True]  # a labelled pupil should have been there


def test_degrees_are_those_of_the_paper() -> None:
    assert degrees_of_gaze(np.array([1.1]), 55).item() == pytest.approx(3.6, abs=0.05)
    assert degrees_of_gaze(np.array([100.0]), 55).item() == pytest.approx(90)


def test_a_line_gives_back_what_was_written() -> None:
    for drift in (LabelDrift(0.1, -1 / 3, None, 0.25), LabelDrift(0.0, 2.0, 6.0, 2.125)):
        assert LabelDrift.from_line(drift.to_line()) == drift
