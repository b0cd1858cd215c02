"""Refining a store: the pixels of the refined folder, everything else copied, and resumable."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from refiner.core.errors import DataError, ImageError, OutputError
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.drift.table import DriftLimit
from refiner.data.store.hdf5 import ImageKind
from refiner.data.store.reader import Store
from refiner.images.io import read_image, write_image
from refiner.inference.jobs import store
from refiner.inference.jobs.refine import Summary, refine_path
from refiner.inference.refiner import Refiner, RefinerSource
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import RefinerFile, save_refiner
from refiner.models.refiner import RefinerNetwork

COUNT = 37


@pytest.fixture
def refiner(tmp_path: Path) -> Path:
    """A refiner of random weights."""
    return save(tmp_path / "refiner.safetensors", seed=1)


def save(path: Path, *, seed: int) -> Path:
    architecture: dict[str, Any] = {"channels": 1, "features": 4, "blocks": 1, "output": "residual"}
    torch.manual_seed(seed)
    network = RefinerNetwork(RefinerArchitecture(**architecture))
    torch.nn.init.normal_(network.head.weight, std=0.3)
    save_refiner(path, network, training={})
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A store of small grey images with labels, next to the folder it was made from."""
    return make(tmp_path, (8, 12), "uint8")


def make(root: Path, shape: tuple[int, ...], dtype: str, count: int = COUNT) -> Path:
    rng = np.random.default_rng(0)
    for number in range(count):
        image = rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
        write_image(root / "in" / f"{number:03d}.png", image)
    rows = "".join(f"{n:03d}.png,{n / 100},-0.5,p{n % 3},00{n}\n" for n in range(count))
    (root / "in" / "labels.csv").write_text("file,gaze_pitch_rad,gaze_yaw_rad,subject,code\n" + rows)
    convert(root / "in", root / "in.h5", Conversion(), attributes={"licence": "mine"})
    return root / "in.h5"


def datasets(path: Path) -> dict[str, list[Any]]:
    """Read everything in a store but the images, and the drift, which tests/data/labels/test_drift.py checks."""
    found: dict[str, list[Any]] = {}

    def see(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and name != "images" and "drift" not in name:
            found[name] = item[:].tolist()

    with h5py.File(path) as file:
        file.visititems(see)
    return found


def images(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return np.asarray(file["images"][:])


@pytest.mark.parametrize(
    ("shape", "dtype"), [((8, 12), "uint8"), ((8, 12, 3), "uint8"), ((7, 5, 4), "uint16"), ((8, 12), "uint16")]
)
def test_a_store_is_refined_to_the_pixels_of_the_folder(
    tmp_path: Path, refiner: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], dtype: str
) -> None:
    monkeypatch.setattr(store, "CHUNK", 16)
    source = make(tmp_path, shape, dtype)
    assert refine_path(tmp_path / "in", tmp_path / "out", refiner, device="cpu") == Summary(COUNT, 0, 0, copied=1)
    assert refine_path(source, tmp_path / "out.h5", refiner, device="cpu") == Summary(COUNT, 0, 0)
    refined = Store(tmp_path / "out.h5")
    assert refined.ids == Store(source).ids
    for sample in refined.ids:
        image = refined.read_image(sample)
        assert image.dtype == dtype
        assert np.array_equal(image, read_image(tmp_path / "out" / sample))
    assert not np.array_equal(images(source), images(tmp_path / "out.h5"))


@pytest.mark.parametrize(
    ("settings", "size", "device", "images"),
    [
        ({"features": 4, "blocks": 1}, (36, 60), "cpu", 1024),
        ({}, (36, 60), "cpu", 304),  # 2e11 multiplications are 312 images of the paper's network, 19 batches of 16 fit
        ({}, (36, 60), "cuda", 1024),
        ({"features": 4, "blocks": 1}, (224, 224), "cpu", 83),
        ({}, (224, 224), "cpu", 16),
        ({"features": 4, "blocks": 1}, (3000, 4000), "cpu", 16),
        ({"unshuffle": 4, "features": 1, "blocks": 0}, (1, 1), "cpu", 1024),
    ],
)
def test_a_chunk_is_bounded_in_images_pixels_and_work(
    settings: dict[str, Any], size: tuple[int, int], device: str, images: int
) -> None:
    file = RefinerFile(RefinerArchitecture(**settings), {}, {})
    source = RefinerSource(Path("r.safetensors"), "", device, "torch", loaded=file)
    assert store._chunk_size(ImageKind(*size, 1, 8), source) == images


def test_labels_groups_and_attributes_are_carried_over(tmp_path: Path, refiner: Path, source: Path) -> None:
    with h5py.File(source, "a") as file:
        file["mine/deep/table"] = [1, 2, 3]
        file["mine"].attrs["unit"] = "mm"
        file.attrs["note"] = "kept"
        file.attrs["numbers"] = [1, 2]
    refine_path(source, tmp_path / "out.h5", refiner, device="cpu")
    assert datasets(tmp_path / "out.h5") == datasets(source)
    for sample in ("000.png", "031.png"):
        labels, before = (Store(path).read(sample).labels for path in (tmp_path / "out.h5", source))
        assert labels["gaze"].tolist() == before["gaze"].tolist()
        assert (labels["subject"], labels["code"]) == (before["subject"], before["code"])
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["mine"].attrs["unit"] == "mm"
        assert (file.attrs["note"], file.attrs["licence"]) == ("kept", "mine")
        assert file.attrs["numbers"].tolist() == [1, 2]
        assert file.attrs["refined_from"] == str(source)
        assert len(file.attrs["refiner"]) == 64
        assert file["images"].chunks == (1, 8, 12, 1)


def test_what_is_finished_is_not_done_again_and_what_changed_is_refused(
    tmp_path: Path, refiner: Path, source: Path
) -> None:
    out = tmp_path / "out.h5"
    reported: list[tuple[int, int]] = []
    refine_path(source, out, refiner, device="cpu", report=lambda *at: reported.append(at))
    assert reported[0] == (0, COUNT)
    assert reported[-1] == (COUNT, COUNT)
    before = images(out)
    assert refine_path(source, out, refiner, device="cpu") == Summary(0, COUNT, 0)
    save(refiner, seed=2)
    with pytest.raises(OutputError, match=r"out\.h5 already exists and was made from other input"):
        refine_path(source, out, refiner, device="cpu")
    assert np.array_equal(images(out), before)
    assert refine_path(source, out, refiner, device="cpu", overwrite=True) == Summary(COUNT, 0, 0)
    assert not np.array_equal(images(out), before)
    # The content of the source counts, not its time.
    os.utime(source, ns=(1, 1))
    assert refine_path(source, out, refiner, device="cpu") == Summary(0, COUNT, 0)
    with h5py.File(source, "a") as file:
        file["labels/gaze"][0] = 0.125
    os.utime(source, ns=(1, 1))
    with pytest.raises(OutputError, match="made from other input"):
        refine_path(source, out, refiner, device="cpu")
    assert sorted(path.name for path in tmp_path.glob("*.h5*")) == ["in.h5", "out.h5"]


PROGRAM = """
import sys, time
from pathlib import Path
from refiner.inference.jobs import store
from refiner.inference.jobs.refine import refine_path
store.CHUNK = store._SMALLEST_CHUNK = 4
def report(done, total):
    if done >= 12:
        print("under way", flush=True)
        time.sleep(60)
refine_path(Path("in.h5"), Path("out.h5"), Path("refiner.safetensors"), device="cpu", report=report)
"""


def test_a_kill_in_the_middle_and_the_same_command_give_the_same_store(
    tmp_path: Path, refiner: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CHUNK", 4)
    monkeypatch.setattr(store, "_SMALLEST_CHUNK", 4)
    monkeypatch.chdir(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "under way\n"
    with pytest.raises(OutputError, match="another process is writing"):
        refine_path(Path("in.h5"), Path("out.h5"), refiner, device="cpu")
    process.kill()
    process.communicate()
    assert not (tmp_path / "out.h5").exists()
    assert refine_path(Path("in.h5"), Path("out.h5"), refiner, device="cpu") == Summary(COUNT - 12, 12, 0)
    refine_path(Path("in.h5"), Path("whole.h5"), refiner, device="cpu")
    assert np.array_equal(images(tmp_path / "out.h5"), images(tmp_path / "whole.h5"))
    assert datasets(tmp_path / "out.h5") == datasets(tmp_path / "whole.h5")
    assert not list(tmp_path.glob("*.parts"))


@pytest.mark.parametrize(
    ("name", "into", "error", "reason"),
    [
        ("in", "out.h5", OutputError, "a folder is refined into a folder, and a store into a store; convert one"),
        ("in.h5", "out", OutputError, "a folder is refined into a folder, and a store into a store; convert one"),
        ("in.h5", "in.h5", OutputError, "must not contain each other"),
        ("none.h5", "out.h5", DataError, "does not exist"),
        ("text.h5", "out.h5", DataError, "is not an HDF5 file"),
        ("in.h5", "text.h5", OutputError, "already exists"),
        ("in.h5", "text.h5/below.h5", OutputError, "is a file"),
    ],
)
@pytest.mark.usefixtures("source")
def test_what_cannot_be_is_refused(
    tmp_path: Path, refiner: Path, name: str, into: str, error: type[Exception], reason: str
) -> None:
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(error, match=reason):
        refine_path(tmp_path / name, tmp_path / into, refiner, device="cpu")
    assert (tmp_path / "text.h5").read_text() == "text"
    assert sorted(path.name for path in tmp_path.glob("*.h5*")) == ["in.h5", "text.h5"]


def test_a_damaged_image_is_named_and_leaves_no_store(tmp_path: Path, refiner: Path, source: Path) -> None:
    with h5py.File(source) as file:
        chunk = file["images"].id.get_chunk_info(4)
    data = bytearray(source.read_bytes())
    data[chunk.byte_offset + 7] ^= 1
    source.write_bytes(data)
    with pytest.raises(ImageError, match=r"004\.png: its pixels in .*in\.h5 are damaged"):
        refine_path(source, tmp_path / "out.h5", refiner, device="cpu")
    assert not (tmp_path / "out.h5").exists()


def test_a_network_that_fails_is_not_taken_for_a_full_disk(
    tmp_path: Path, refiner: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Refiner, "refine_batch", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        refine_path(source, tmp_path / "out.h5", refiner, device="cpu")


@pytest.mark.parametrize("full_at", ["000001.h5", "000001.jsonl", "out.h5"])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    tmp_path: Path, refiner: Path, source: Path, monkeypatch: pytest.MonkeyPatch, full_at: str
) -> None:
    monkeypatch.setattr(store, "CHUNK", 16)
    original = Path.replace

    def full(path: Path, target: Path) -> Any:
        if target.name == full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OutputError, match=f"{full_at} cannot be written .*No space left on device"):
            refine_path(source, tmp_path / "out.h5", refiner, device="cpu")
    assert not (tmp_path / "out.h5").exists()
    summary = refine_path(source, tmp_path / "out.h5", refiner, device="cpu")
    assert summary == (Summary(0, COUNT, 0) if full_at == "out.h5" else Summary(COUNT - 16, 16, 0))
    refine_path(source, tmp_path / "whole.h5", refiner, device="cpu")
    assert np.array_equal(images(tmp_path / "out.h5"), images(tmp_path / "whole.h5"))


# --- rejected images, and files of the user ----------------------------------------------------------------------


def limit_for(source: Path, refiner: Path, root: Path, keep: Path | None) -> DriftLimit:
    """Return a limit that rejects some of the images."""
    refine_path(source, root / "scored.h5", refiner, device="cpu")
    with h5py.File(root / "scored.h5") as file:
        return DriftLimit(float(np.median(file["labels/drift_score"][:])), keep)


@pytest.mark.parametrize("simulated", [True, False])
def test_rejected_images_are_kept_on_another_file_system(
    tmp_path: Path, refiner: Path, source: Path, monkeypatch: pytest.MonkeyPatch, simulated: bool
) -> None:
    elsewhere = tmp_path / "elsewhere"
    if not simulated:
        if not os.access("/dev/shm", os.W_OK) or Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is no second file system")
        elsewhere = Path(tempfile.mkdtemp(dir="/dev/shm"))
    limit = limit_for(source, refiner, tmp_path, elsewhere / "kept.h5")
    original = Path.replace

    def replace(path: Path, target: Path) -> Any:
        if (elsewhere in path.parents) != (elsewhere in target.parents):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return original(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    try:
        summary = refine_path(source, tmp_path / "out.h5", refiner, device="cpu", limit=limit)
        assert len(images(elsewhere / "kept.h5")) == summary.rejected > 0
        assert len(images(tmp_path / "out.h5")) == COUNT - summary.rejected
        assert [path.name for path in elsewhere.iterdir()] == ["kept.h5"]
        again = refine_path(source, tmp_path / "out.h5", refiner, device="cpu", limit=limit)
        assert again == Summary(0, COUNT, summary.rejected)
    finally:
        shutil.rmtree(elsewhere)


def test_a_store_of_rejected_images_does_not_outlive_them(
    tmp_path: Path, refiner: Path, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, keep = tmp_path / "out.h5", tmp_path / "kept.h5"
    limit = limit_for(source, refiner, tmp_path, keep)
    refine_path(source, out, refiner, device="cpu", limit=limit)
    with pytest.raises(OutputError, match=r"already exists and was made from other input or with other options"):
        refine_path(source, out, refiner, device="cpu", limit=DriftLimit(99, keep))
    refine_path(source, out, refiner, device="cpu", overwrite=True)
    assert caplog.messages == [
        f"{keep} still holds images that an earlier run rejected; delete it if you do not need them"
    ]
    refine_path(source, out, refiner, device="cpu", limit=limit, overwrite=True)
    assert keep.exists()
    refine_path(source, out, refiner, device="cpu", limit=DriftLimit(99, keep), overwrite=True)
    assert sorted(path.name for path in tmp_path.glob("*.h5*")) == ["in.h5", "out.h5", "scored.h5"]


def test_a_table_of_the_user_beside_a_store_is_kept(tmp_path: Path, refiner: Path, source: Path) -> None:
    table = tmp_path / "out.rejected.csv"
    table.write_text("precious")
    with pytest.raises(OutputError, match=r"out\.rejected\.csv already exists and was not written by refiner"):
        refine_path(source, tmp_path / "out.h5", refiner, device="cpu")
    refine_path(source, tmp_path / "out.h5", refiner, device="cpu", overwrite=True)
    assert table.read_text() == "precious"
