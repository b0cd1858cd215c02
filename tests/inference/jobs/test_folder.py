"""Refining a folder: names, kinds and trees are kept, work resumes, and bad inputs are listed."""

import csv
import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from refiner.core import files
from refiner.core.errors import DataError, ImageError, OutputError
from refiner.core.files import TEMPORARY_PREFIX
from refiner.core.parallel.shards import Shard
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.drift.regions import ANYTHING, LabelRegion
from refiner.data.drift.table import DriftLimit
from refiner.images.io import LOSSLESS, encode_image, read_image, read_picture, write_image
from refiner.inference.jobs.refine import Summary, refine_path
from refiner.inference.refiner import Refiner
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.lookup import REFINER_FILE
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork


def save(path: Path, *, channels: int = 1, unshuffle: int = 1, seed: int | None = None, shift: float = 0.0) -> Path:
    """Save a tiny refiner: the identity, one that adds ``shift`` to everything, or one of random weights."""
    architecture: dict[str, Any] = {"channels": channels, "features": 4, "blocks": 1, "unshuffle": unshuffle}
    architecture["output"] = "residual"
    torch.manual_seed(seed or 0)
    network = RefinerNetwork(RefinerArchitecture(**architecture))
    if seed is not None:
        torch.nn.init.normal_(network.head.weight, std=0.3)
    network.head.bias.data.fill_(float(np.arctanh(shift / 2)))
    save_refiner(path, network, training={})
    return path


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    return save(tmp_path / "identity.safetensors")


@pytest.fixture
def random_refiner(tmp_path: Path) -> Path:
    return save(tmp_path / "random.safetensors", seed=1)


def noise(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    image = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
    image.flat[0], image.flat[1 % image.size] = np.iinfo(dtype).max, 0
    return image


def fill(folder: Path, count: int, shape: tuple[int, ...] = (8, 12)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        write_image(folder / f"{number:03d}.png", noise(shape, seed=number))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Read every file of an output but the manifest and drift.csv, which tests/data/labels/test_drift.py checks."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".refiner" not in path.parts and path != folder / "drift.csv"
    }


def rejected(folder: Path) -> dict[str, str]:
    with (folder / "rejected.csv").open(newline="") as stream:
        return {row["file"]: row["reason"] for row in csv.DictReader(stream)}


KINDS = [
    *((f"{dtype} {len(shape)} {shape[2:]}{suffix}", shape, dtype)
      for suffix in (".png", ".tif") for dtype in ("uint8", "uint16") for shape in ((5, 9), (5, 9, 3), (5, 9, 4))),
    *((f"{shape[2:]}.bmp", shape, "uint8") for shape in ((5, 9), (5, 9, 3), (5, 9, 4))),
    ("lossless.webp", (5, 9, 3), "uint8"),
    ("8.pgm", (5, 9), "uint8"),
    ("16.pgm", (5, 9), "uint16"),
    ("8.ppm", (5, 9, 3), "uint8"),
    ("pixel.png", (1, 1), "uint8"),
    ("row.png", (1, 17), "uint16"),
    ("column.png", (17, 1, 3), "uint8"),
]  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3])
def test_the_identity_keeps_every_kind_of_file(tmp_path: Path, channels: int) -> None:
    refiner = save(tmp_path / "r", channels=channels)
    for name, shape, dtype in KINDS:
        write_image(tmp_path / "in" / name, noise(shape, dtype), quality=LOSSLESS)
    summary = refine_path(tmp_path / "in", tmp_path / "out", refiner, device="cpu")
    assert summary == Summary(len(KINDS), 0, 0)
    for name, shape, dtype in KINDS:
        refined = read_image(tmp_path / "out" / name)
        assert refined.dtype == dtype, name
        assert np.array_equal(refined, noise(shape, dtype)), name
        assert (tmp_path / "out" / name).read_bytes()[:4] == (tmp_path / "in" / name).read_bytes()[:4]


def test_a_jpeg_stays_a_jpeg_of_the_same_size_and_channels(tmp_path: Path, identity: Path) -> None:
    smooth = np.add.outer(np.arange(16) * 5, np.arange(24) * 4).astype(np.uint8)
    write_image(tmp_path / "in" / "grey.jpg", smooth)
    write_image(tmp_path / "in" / "colour.JPEG", np.stack([smooth, smooth // 2, 255 - smooth], axis=-1))
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    for name in ("grey.jpg", "colour.JPEG"):
        before, after = read_image(tmp_path / "in" / name), read_image(tmp_path / "out" / name)
        assert after.shape == before.shape
        assert np.abs(after.astype(int) - before).max() <= 6


@pytest.mark.parametrize("extra", [0, 1, -1, 2, 3])
def test_as_many_files_come_out_as_went_in(tmp_path: Path, identity: Path, extra: int) -> None:
    size = Refiner.load(identity, device="cpu").batch_size(36, 60)
    count = {0: size, 1: size + 1, -1: size - 1, 2: 1, 3: 2 * size}[extra]
    fill(tmp_path / "in", count, (36, 60))
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu") == Summary(count, 0, 0)
    assert contents(tmp_path / "out").keys() == contents(tmp_path / "in").keys()


def test_a_folder_without_images_is_a_clear_error(tmp_path: Path, identity: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match=r"in holds no images; expected \.png"):
        refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")


def test_names_and_tree_are_kept(tmp_path: Path, identity: Path) -> None:
    names = [
        "a.jpg",
        "a.png",
        "a.jpeg",
        "sub/a.png",
        "with space/é ü 眼.png",
        "x.png/inside.png",
        "a.b.c.PNG",
        "-n.png",
    ]
    for name in names:
        write_image(tmp_path / "in" / name, noise((5, 9)))
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu").refined == len(names)
    assert sorted(contents(tmp_path / "out")) == sorted(names)


def test_names_that_are_no_utf8_are_kept(tmp_path: Path, identity: Path) -> None:
    good, bad = os.fsdecode(b"\xe9ye.png"), os.fsdecode(b"b\xe4d.png")
    try:
        write_image(tmp_path / "in" / good, noise((5, 9)))
    except OutputError:
        pytest.skip("this file system takes UTF-8 names only")
    (tmp_path / "in" / bad).touch()
    for expected in (Summary(1, 0, 1), Summary(0, 1, 1)):
        assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu") == expected
    assert (tmp_path / "out" / good).exists()
    assert b"b\xe4d.png,read,is empty" in (tmp_path / "out" / "rejected.csv").read_bytes()


def test_mixed_sizes_go_through_in_one_run(tmp_path: Path, identity: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And in tasks that end before a batch is full."""
    monkeypatch.setattr("refiner.inference.jobs.folder_job.TASK_IMAGES", 9)
    shapes = [(1 + i % 7, 1 + i // 7) for i in range(40)]
    for number, shape in enumerate(shapes):
        write_image(tmp_path / "in" / f"{number}.png", noise(shape, seed=number))
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu").refined == len(shapes)
    assert contents(tmp_path / "out").keys() == contents(tmp_path / "in").keys()
    for number, shape in enumerate(shapes):
        assert np.array_equal(read_image(tmp_path / "out" / f"{number}.png"), noise(shape, seed=number))


def test_the_same_bytes_whatever_else_is_in_the_folder(tmp_path: Path, random_refiner: Path) -> None:
    fill(tmp_path / "in", 40)
    write_image(tmp_path / "in" / "colour.png", noise((8, 12, 3)))
    write_image(tmp_path / "in" / "other.png", noise((7, 5)))
    refine_path(tmp_path / "in", tmp_path / "out", random_refiner, device="cpu")
    for name in ("000.png", "017.png", "039.png", "colour.png", "other.png"):
        write_image(tmp_path / name / "in" / name, read_image(tmp_path / "in" / name))
        refine_path(tmp_path / name / "in", tmp_path / name / "out", random_refiner, device="cpu")
        alone = (tmp_path / name / "out" / name).read_bytes()
        assert alone == (tmp_path / "out" / name).read_bytes()
        assert alone != (tmp_path / "in" / name).read_bytes()
        refine_path(tmp_path / "in" / name, tmp_path / f"single-{name}", random_refiner, device="cpu")
        assert (tmp_path / f"single-{name}").read_bytes() == alone


def test_tables_go_along_unchanged(tmp_path: Path, identity: Path) -> None:
    fill(tmp_path / "in" / "sub", 1)
    tables = {
        "labels.csv": b"\xef\xbb\xbffile,gaze_pitch_rad\r\nsub/000.png,nan\r\n",
        "sub/000.json": b'{"iris_2d": []}',
        "NOTES.TXT": b"\xff\xfe",
        "card.yaml": b"",
    }
    for name, data in tables.items():
        (tmp_path / "in" / name).write_bytes(data)
    (tmp_path / "in" / "rejected.csv").write_text("file,stage,reason\nold.png,read,of the step before\n")
    summary = refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    assert summary[:3] == (1, 0, 0)
    assert [report.key for report in summary.left_out] == ["files beside images"]
    out = contents(tmp_path / "out")
    assert {name: out[name] for name in tables} == tables
    assert "rejected.csv" not in out


SIDECARS = [
    *("{}.npy", "{}.npz", "{}.xml", "{}.txt", "{}.pkl", "{}.ply", "{}.bin", "{}.json", "{}_depth.exr", "{}.gltf"),
    *("depth/{}.exr", "poses/{}", "{}.bbox.csv"),
]
SHARED = ["scene.blend", "camera.npy", "train/data.cache", "classes", "deep/er/points.ply", "annotations.json"]


def add_sidecars(folder: Path, stems: list[str]) -> dict[str, bytes]:
    """Put files of known and unknown kinds beside images, a mask among them; return their bytes by name."""
    names = [*SHARED, *(name.format(stem) for stem in stems for name in SIDECARS)]
    files = {name: f"{name}\0\r\n".encode() for name in names}
    for stem in stems:
        mask = np.zeros((8, 12), np.uint8)
        mask[2:6, 3 : 8 + int(stem)] = 1
        files[f"{stem}_mask.png"] = encode_image(Path("x.png"), mask) + b"trailing bytes"
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return files


def test_every_file_beside_the_images_is_copied_byte_for_byte_and_counted(tmp_path: Path, identity: Path) -> None:
    fill(tmp_path / "in", 3)
    files = add_sidecars(tmp_path / "in", ["000", "001", "002"])
    for expected in ((3, 0, 0), (0, 3, 0)):
        summary = refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
        assert summary[:3] == expected
        assert summary.copied == len(files)
        reports = {report.key: report for report in summary.left_out}
        assert not any(report.is_loss for report in reports.values())
        assert reports["label images"].count == 3
        assert reports["files beside images"].count == len(files) - 3
        assert "copied unchanged" in reports["files beside images"].text
        out = contents(tmp_path / "out")
        assert {name: out[name] for name in files} == files
        assert sorted(out.keys() - files.keys()) == ["000.png", "001.png", "002.png"]
    # A file that changed is copied again, and one that is gone goes.
    (tmp_path / "in" / "000.bin").write_bytes(b"new")
    (tmp_path / "in" / "001.bin").unlink()
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    assert (tmp_path / "out" / "000.bin").read_bytes() == b"new"
    assert not (tmp_path / "out" / "001.bin").exists()


def test_files_of_rejected_images_go_where_the_images_go(tmp_path: Path) -> None:
    refiner = save(tmp_path / "r", seed=3)
    fill(tmp_path / "in", 4)
    files = add_sidecars(tmp_path / "in", ["000", "001", "002", "003"])
    (tmp_path / "in" / "003.png").write_text("text")
    places = tmp_path / "in", tmp_path / "out", refiner
    refine_path(*places, device="cpu")
    middle = sorted(float(row["score"]) for row in drift(tmp_path / "out") if not row.get("object"))
    limit = (middle[0] + middle[1]) / 2
    summary = refine_path(*places, device="cpu", limit=DriftLimit(limit, tmp_path / "kept"))
    assert summary.rejected == 3
    out, kept = contents(tmp_path / "out"), contents(tmp_path / "kept")
    drifted = {name[:3] for name in rejected(tmp_path / "out")} - {"003"}
    assert len(drifted) == 2
    for name, data in files.items():
        stem = next((stem for stem in ("000", "001", "002", "003") if stem in name), "")
        assert (name in kept) == (stem in drifted), name
        assert (name in out) == (stem not in drifted | {"003"}), name
        assert out.get(name, data) == kept.get(name, data) == data
    report = next(report for report in summary.left_out if report.key == "files of rejected images")
    assert report.count == 3 * (len(SIDECARS) + 1)
    # Without a limit they come back.
    refine_path(*places, device="cpu")
    assert {name for name in files if "003" not in name} <= contents(tmp_path / "out").keys()


@pytest.mark.parametrize("broken", ["000.png", "000.bmp"])
def test_files_of_two_images_of_one_name_stay_while_one_of_these_stays(
    tmp_path: Path, identity: Path, broken: str
) -> None:
    fill(tmp_path / "in", 1)
    write_image(tmp_path / "in" / "000.bmp", read_image(tmp_path / "in" / "000.png"))
    (tmp_path / "in" / "000.json").write_text("{}")
    (tmp_path / "in" / broken).write_text("text")
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu").rejected == 1
    assert (tmp_path / "out" / "000.json").read_text() == "{}"
    convert(tmp_path / "in", tmp_path / "converted", Conversion())
    assert (tmp_path / "converted" / "000.json").read_text() == "{}"


def test_pictures_of_other_types_that_belong_to_no_image_are_rejected(tmp_path: Path, identity: Path) -> None:
    fill(tmp_path / "in", 2)
    for name in ("000.gif", "render.exr", "sub/007.tga"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"x")
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu").rejected == 2
    assert list(rejected(tmp_path / "out")) == ["render.exr", "sub/007.tga"]
    assert (tmp_path / "out" / "000.gif").read_bytes() == b"x"


def test_a_lossless_webp_stays_lossless(tmp_path: Path, identity: Path) -> None:
    image = noise((9, 14, 3))
    write_image(tmp_path / "in" / "a.webp", image, quality=LOSSLESS)
    write_image(tmp_path / "in" / "b.webp", image, quality=80)
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    assert np.array_equal(read_image(tmp_path / "out" / "a.webp"), image)
    assert (tmp_path / "out" / "b.webp").read_bytes()[12:16] == b"VP8 "


# --- finished images -------------------------------------------------------------------------------------------------


def test_colour_profiles_and_transparent_colours_are_kept(tmp_path: Path, identity: Path) -> None:
    """The colour of a transparent pixel is data, too."""
    image = noise((8, 12, 4))
    image[:4, :, 3] = 0
    profile = b"\0" * 16 + b"RGB " + b"\1" * 500
    for suffix in (".png", ".tif"):
        write_image(tmp_path / "in" / f"a{suffix}", image, profile=profile)
    write_image(tmp_path / "in" / "b.jpg", image[..., :3], profile=profile)
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu") == Summary(3, 0, 0)
    for suffix in (".png", ".tif"):
        assert np.array_equal(read_picture(tmp_path / "out" / f"a{suffix}").image, image)
        assert read_picture(tmp_path / "out" / f"a{suffix}").profile == profile
    assert read_picture(tmp_path / "out" / "b.jpg").profile == profile
    refine_path(tmp_path / "in" / "b.jpg", tmp_path / "single.jpg", identity, device="cpu")
    assert read_picture(tmp_path / "single.jpg").profile == profile


def test_the_second_run_decodes_nothing(tmp_path: Path, identity: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "in", 5)
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    before = contents(tmp_path / "out")

    def decoded(path: Path) -> None:
        raise AssertionError(f"{path} was decoded")

    monkeypatch.setattr("refiner.inference.jobs.folder_worker.read_picture", decoded)
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu") == Summary(0, 5, 0)
    assert contents(tmp_path / "out") == before


def test_another_image_of_the_same_size_and_time_is_refined(tmp_path: Path, identity: Path) -> None:
    for name in ("a.bmp", "b.bmp"):
        write_image(tmp_path / "in" / name, noise((8, 12)))
        os.utime(tmp_path / "in" / name, ns=(7, 7))
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    before = (tmp_path / "in" / "a.bmp").stat()
    write_image(tmp_path / "in" / "a.bmp", noise((8, 12), seed=5))
    os.utime(tmp_path / "in" / "a.bmp", ns=(7, 7))
    after = (tmp_path / "in" / "a.bmp").stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu") == Summary(1, 1, 0)
    assert np.array_equal(read_image(tmp_path / "out" / "a.bmp"), noise((8, 12), seed=5))


def test_what_changed_is_done_again_and_nothing_else(tmp_path: Path, identity: Path) -> None:
    fill(tmp_path / "in", 5)
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    write_image(tmp_path / "in" / "001.png", noise((8, 12), seed=77))
    (tmp_path / "out" / "003.png").unlink()
    write_image(tmp_path / "in" / "new.png", noise((8, 12), seed=78))
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu") == Summary(3, 3, 0)
    assert np.array_equal(read_image(tmp_path / "out" / "001.png"), noise((8, 12), seed=77))
    assert np.array_equal(read_image(tmp_path / "out" / "003.png"), noise((8, 12), seed=3))


def test_an_input_that_moved_or_was_only_touched_is_not_done_again(tmp_path: Path, identity: Path) -> None:
    fill(tmp_path / "in", 3)
    (tmp_path / "in" / "labels.csv").write_text("file,pupil_x,pupil_y\n000.png,5,4\n")
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    os.utime(tmp_path / "in" / "001.png", ns=(1, 1))
    (tmp_path / "in").rename(tmp_path / "moved")
    assert refine_path(tmp_path / "moved", tmp_path / "out", identity, device="cpu")[:3] == (0, 3, 0)


def test_another_folder_does_not_replace_what_was_made_from_the_first(tmp_path: Path, identity: Path) -> None:
    fill(tmp_path / "in", 3)
    write_image(tmp_path / "other" / "001.png", noise((8, 12), seed=9))
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    before = contents(tmp_path / "out")
    for _ in range(2):
        with pytest.raises(OutputError, match=r"was made from .*/in, but 000\.png is missing or differs in .*/other"):
            refine_path(tmp_path / "other", tmp_path / "out", identity, device="cpu")
    assert contents(tmp_path / "out") == before
    assert refine_path(tmp_path / "other", tmp_path / "out", identity, device="cpu", overwrite=True) == Summary(1, 0, 0)
    assert sorted(contents(tmp_path / "out")) == ["001.png"]


def test_an_output_whose_input_is_gone_is_removed_and_named(
    tmp_path: Path, identity: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path / "in", 4)
    fill(tmp_path / "in" / "sub", 1)
    (tmp_path / "in" / "labels.csv").write_text("file,pupil_x,pupil_y\n000.png,5,4\n")
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    (tmp_path / "out" / "mine.png").write_text("precious")
    for name in ("002.png", "sub/000.png", "labels.csv"):
        (tmp_path / "in" / name).unlink()
    # A shard removes nothing; the run without one does.
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu", shard=Shard(1, 2))
    assert (tmp_path / "out" / "002.png").exists()
    assert "removed" not in caplog.text
    caplog.clear()
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    assert sorted(contents(tmp_path / "out")) == ["000.png", "001.png", "003.png", "mine.png"]
    assert [row["file"] for row in drift(tmp_path / "out")] == ["000.png", "001.png", "003.png"]
    (message,) = caplog.messages
    assert message.endswith("/out, as the inputs are gone: 3 (002.png, labels.csv, sub/000.png)")


def drift(folder: Path) -> list[dict[str, str]]:
    with (folder / "drift.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_labels_or_masks_that_changed_are_measured_again(tmp_path: Path) -> None:
    """Each time, the drift is that of a fresh output; images whose own points or mask are the same are skipped."""
    refiner = save(tmp_path / "r", seed=3)
    fill(tmp_path / "in", 4, (30, 40))
    fill(tmp_path / "masks", 4, (30, 40))

    def state(rows: str, mask: int) -> tuple[Any, ...]:
        (tmp_path / "in" / "labels.csv").write_text("file,pupil_x,pupil_y,subject\n" + rows)
        blank = np.zeros((30, 40), np.uint8)
        blank[mask : mask + 9, 3:30] = 255
        write_image(tmp_path / "masks" / "002.png", blank)
        return refine_path(tmp_path / "in", tmp_path / "out", refiner, device="cpu", region=region)[:3]

    def check() -> None:
        shutil.rmtree(tmp_path / "fresh", ignore_errors=True)
        refine_path(tmp_path / "in", tmp_path / "fresh", refiner, device="cpu", region=region)
        assert drift(tmp_path / "out") == drift(tmp_path / "fresh")

    region = ANYTHING
    assert state("000.png,12,15,p1\n001.png,20,15,p1\n", 2) == (4, 0, 0)
    first = drift(tmp_path / "out")
    assert state("000.png,12,15,p2\n001.png,25,18,p1\n", 2) == (1, 3, 0)  # a subject is not what is watched
    check()
    assert drift(tmp_path / "out") != first
    assert state("000.png,12,15,p2\n003.png,9,9,p1\n", 2) == (2, 2, 0)
    check()
    region = LabelRegion(mask=tmp_path / "masks")
    assert state("000.png,12,15,p2\n003.png,9,9,p1\n", 2) == (4, 0, 0)
    assert state("", 15) == (1, 3, 0)
    check()


def test_rejected_images_that_pass_now_leave_the_folder_that_kept_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refiner = save(tmp_path / "r", seed=3)
    fill(tmp_path / "in", 6, (30, 40))
    places = tmp_path / "in", tmp_path / "out", refiner
    refine_path(*places, device="cpu")
    scores = sorted(float(row["score"]) for row in drift(tmp_path / "out"))
    low, high = (scores[0] + scores[1]) / 2, (scores[3] + scores[4]) / 2
    keep = tmp_path / "doubtful"
    assert refine_path(*places, device="cpu", limit=DriftLimit(low, keep)).rejected == 5
    assert len(contents(keep)) == 5
    (keep / "mine.png").write_text("precious")
    caplog.clear()
    assert refine_path(*places, device="cpu", limit=DriftLimit(high, keep)).rejected == 2
    assert sorted(contents(keep)) == sorted([*rejected(tmp_path / "out"), "mine.png"])
    assert len(contents(tmp_path / "out")) == 4 + 1
    assert len(caplog.messages) == 1
    assert f"removed from {keep}, as this run does not reject them: 3 (" in caplog.text
    # Without the folder, what it still holds is named.
    caplog.clear()
    for _ in range(2):
        refine_path(*places, device="cpu")
    assert caplog.messages == [
        f"{keep} still holds images that an earlier run rejected; delete it if you do not need them"
    ]


def test_another_refiner_or_option_does_everything_again(tmp_path: Path) -> None:
    fill(tmp_path / "in", 3)
    refiner = save(tmp_path / "run" / REFINER_FILE)

    def refine(**options: Any) -> Summary:
        return refine_path(tmp_path / "in", tmp_path / "out", tmp_path / "run", device="cpu", **options)

    assert refine() == Summary(3, 0, 0)
    assert refine_path(tmp_path / "in", tmp_path / "out", refiner, device="cpu") == Summary(0, 3, 0)  # the same file
    save(refiner, shift=0.25)
    assert refine() == Summary(3, 0, 0)
    assert np.array_equal(
        read_image(tmp_path / "out" / "000.png"), (noise((8, 12)) + 31.875).round().clip(0, 255).astype(np.uint8)
    )
    assert refine(quality=80) == Summary(3, 0, 0)
    assert refine(quality=80) == Summary(0, 3, 0)
    assert refine(quality=80, overwrite=True) == Summary(3, 0, 0)


def test_a_foreign_file_in_the_way_is_kept_unless_told_otherwise(tmp_path: Path, identity: Path) -> None:
    fill(tmp_path / "in", 3)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "001.png").write_text("holiday picture")
    with pytest.raises(OutputError, match=r"001\.png already exists and was not written by refiner"):
        refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    assert (tmp_path / "out" / "001.png").read_text() == "holiday picture"
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu", overwrite=True)
    assert np.array_equal(read_image(tmp_path / "out" / "001.png"), noise((8, 12), seed=1))


def test_an_input_that_went_bad_takes_its_output_along(tmp_path: Path, identity: Path) -> None:
    fill(tmp_path / "in", 2)
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    (tmp_path / "in" / "001.png").write_text("text")
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu") == Summary(0, 1, 1)
    assert sorted(contents(tmp_path / "out")) == ["000.png", "rejected.csv"]
    write_image(tmp_path / "in" / "001.png", noise((8, 12)))
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu") == Summary(1, 1, 0)
    assert sorted(contents(tmp_path / "out")) == ["000.png", "001.png"]


# --- faults ----------------------------------------------------------------------------------------------------------


def spoil(folder: Path) -> dict[str, str]:
    """Make one of every bad input; return the expected reasons."""
    good = {
        suffix: encode_image(Path("x" + suffix), noise((16, 24, 3)))
        for suffix in (".jpg", ".png", ".bmp", ".tif", ".webp")
    }
    for suffix, data in good.items():
        (folder / f"cut{suffix}").write_bytes(data[: len(data) * 2 // 3])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("text\n" * 100)
    (folder / "float.tif").write_bytes(_float_tiff())
    huge = bytearray(good[".png"])
    huge[16:24] = (100_000).to_bytes(4, "big") * 2
    import zlib

    huge[29:33] = zlib.crc32(huge[12:29]).to_bytes(4, "big")
    (folder / "huge.png").write_bytes(huge)
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    (folder / "dangling.csv").symlink_to(folder / "nowhere.csv")
    (folder / "loop").symlink_to(folder)
    (folder / "loop.png").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    (folder / "old.gif").write_bytes(b"GIF89a")
    (folder / "deep.jpg").write_bytes(encode_image(Path("x.png"), noise((5, 7), "uint16")))
    return {
        "cut.jpg": "is a truncated JPEG",
        "cut.png": "is a truncated or corrupt PNG",
        "cut.bmp": "is a truncated BMP",
        "cut.tif": "is truncated in its header; it is not an image that can be decoded",
        "cut.webp": "is a truncated WebP",
        "empty.png": "is empty",
        "text.png": "is not an image of a supported type: PNG, JPEG, TIFF, WebP, BMP, PGM or PPM",
        "float.tif": "holds float32 values; expected 8 or 16 bits",
        "huge.png": "has 10,000,000,000 pixels; at most 67,108,864 are read",
        "dangling.png": "cannot be read (No such file or directory)",
        "dangling.csv": "cannot be read",
        "pipe.png": "is not a regular file",
        "old.gif": "is a .gif file, and this type is not supported; convert it to PNG",
        "deep.jpg": ".jpg holds 8 bits, but the image has 16; use .png",
    }


def _float_tiff() -> bytes:
    import cv2

    return bytes(cv2.imencode(".tif", np.zeros((4, 6), np.float32))[1].tobytes())


def test_bad_inputs_are_listed_with_reasons_and_the_rest_is_done(tmp_path: Path, identity: Path) -> None:
    fill(tmp_path / "in", 20)
    reasons = spoil(tmp_path / "in")
    progress: list[tuple[int, int]] = []
    summary = refine_path(
        tmp_path / "in", tmp_path / "out", identity, device="cpu", report=lambda *at: progress.append(at)
    )
    assert summary[:3] == (20, 0, len(reasons))
    assert [(report.key, report.examples) for report in summary.left_out if report.key == "repeated links"] == [
        ("repeated links", ("loop", "loop.png"))
    ]
    assert rejected(tmp_path / "out") == reasons
    assert sorted(contents(tmp_path / "out")) == [*(f"{i:03d}.png" for i in range(20)), "rejected.csv"]
    total = 20 + len(reasons)
    assert progress == sorted(progress)  # after each task
    assert progress[-1] == (total, total)


@pytest.mark.parametrize("name", ["empty.png", "old.gif", "deep.jpg", "dangling.csv"])
def test_stopping_at_the_first_bad_input_names_it(tmp_path: Path, identity: Path, name: str) -> None:
    everything = tmp_path / "all"
    everything.mkdir()
    reason = spoil(everything)[name]
    fill(tmp_path / "in", 2)
    (everything / name).rename(tmp_path / "in" / name)
    with pytest.raises(ImageError) as raised:
        refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu", stop_on_error=True)
    assert raised.value.path == tmp_path / "in" / name
    assert reason in raised.value.reason
    assert rejected(tmp_path / "out") == {name: reason}


class _FullDisk:
    """A disk that fills up: the n-th file gets half its bytes."""

    def __init__(self, after: int) -> None:
        self.left, self.original = after, files._write_all

    def __call__(self, stream: Any, data: bytes) -> None:
        if isinstance(stream.name, int):  # a temporary file, not the manifest
            self.left -= 1
            if self.left < 0:
                self.original(stream, data[: len(data) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.original(stream, data)


def test_a_full_disk_ends_in_one_line_and_nothing_half_written(
    tmp_path: Path, identity: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "in", 20)
    with monkeypatch.context() as patch:
        patch.setattr(files, "_write_all", _FullDisk(8))  # the settings of the job, and seven images
        with pytest.raises(OutputError, match=r"\.png cannot be written \(No space left on device\); free some space"):
            refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    written = contents(tmp_path / "out")
    assert len(written) == 7
    assert all(data == (tmp_path / "in" / name).read_bytes() for name, data in written.items())
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu").rejected == 0
    assert len(contents(tmp_path / "out")) == 20


def run_python(program: str, *, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*prefix, sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


def test_a_kill_in_the_middle_costs_nothing_but_time(tmp_path: Path, random_refiner: Path) -> None:
    fill(tmp_path / "in", 200)
    (tmp_path / "in" / "labels.csv").write_text("file\n")
    (tmp_path / "in" / "bad.png").touch()
    refine_path(tmp_path / "in", tmp_path / "whole", random_refiner, device="cpu")
    out = tmp_path / "out"
    killed = run_python(f"""
import os, signal
from pathlib import Path
from refiner.inference.jobs.refine import refine_path
def report(done, total):
    if done >= 70:
        os.kill(os.getpid(), signal.SIGKILL)
folders = Path({str(tmp_path / "in")!r}), Path({str(out)!r})
refine_path(*folders, Path({str(random_refiner)!r}), device="cpu", report=report)
""")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = len(contents(out))
    assert 0 < done < 200
    (out / f"{TEMPORARY_PREFIX}x.png").write_text("half")  # as if it had hit in the middle of a write, too
    summary = refine_path(tmp_path / "in", out, random_refiner, device="cpu")
    assert summary.refined + summary.skipped == 200
    assert summary.skipped >= 60
    assert contents(out) == contents(tmp_path / "whole")


def test_what_may_not_be_read_is_rejected_by_name(tmp_path: Path, identity: Path) -> None:
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:  # root reads everything, unless it gives up the right to
        from shutil import which

        if not which("setpriv"):
            pytest.skip("root without setpriv cannot be kept from reading")
        drop = "-dac_override,-dac_read_search"
        prefix = ("setpriv", "--bounding-set", drop, "--inh-caps", drop)
    fill(tmp_path / "in", 2)
    fill(tmp_path / "in" / "closed", 1)
    (tmp_path / "in" / "notes.csv").write_text("file\n")
    closed = [tmp_path / "in" / name for name in ("001.png", "notes.csv", "closed")]
    for path in closed:
        path.chmod(0)
    try:
        result = run_python(
            f"""
from pathlib import Path
from refiner.inference.jobs.refine import refine_path
folders = Path({str(tmp_path / "in")!r}), Path({str(tmp_path / "out")!r})
print(refine_path(*folders, Path({str(identity)!r}), device="cpu")[:3])
""",
            prefix=prefix,
        )
    finally:
        for path in closed:
            path.chmod(0o755)
    assert result.stdout == "(1, 0, 3)\n", result.stderr
    assert rejected(tmp_path / "out") == {
        "001.png": "cannot be read (Permission denied)",
        "closed": "is a folder that cannot be read",
        "notes.csv": "cannot be read",
    }
