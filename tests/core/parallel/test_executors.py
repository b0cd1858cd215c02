"""Refining by several processes and several runs: the bytes of one process, whatever dies on the way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from refiner.core.environment import processor
from refiner.core.errors import DataError, OutputError, UsageError
from refiner.core.parallel.executors import Engine
from refiner.core.parallel.shards import Shard
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.drift.table import DriftLimit
from refiner.images.io import write_image
from refiner.inference.backends import autoselect
from refiner.inference.backends.autoselect import fastest_backend
from refiner.inference.backends.base import Backend
from refiner.inference.backends.registry import open_backend
from refiner.inference.jobs.refine import Summary, refine_path
from refiner.inference.refiner import RefinerSource
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import RefinerFile, load_refiner, refiner_digest, save_refiner
from refiner.models.refiner import RefinerNetwork

COUNT = 300

PROGRAM = """
import sys
from pathlib import Path
from refiner.inference.jobs import folder_job, store
from refiner.inference.jobs.refine import refine_path
from refiner.core.errors import RefinerError
folder_job.TASK_IMAGES = 10
store.CHUNK = 16
if __name__ == "__main__":
    source, out = map(Path, sys.argv[1:3])
    try:
        print(refine_path(source, out, Path("refiner.safetensors"), device="cpu", workers=2)[:3])
    except RefinerError as error:
        sys.exit(str(error))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Renders of two sizes with labels as ``in`` and of one as ``in.h5``, a refiner, and what one process makes."""
    place = tmp_path_factory.mktemp("engines")
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        size = (24, 40) if number % 10 else (21, 30)
        write_image(place / "in" / f"{number % 3}" / f"{number:03d}.png", rng.integers(0, 256, size, np.uint8))
    rows = "".join(f"{n % 3}/{n:03d}.png,{10 + n / 100},12\n" for n in range(COUNT) if n != 7)
    (place / "in" / "labels.csv").write_text("file,pupil_x,pupil_y\n" + rows)
    convert(place / "in", place / "in.h5", Conversion(size=(24, 40)))
    architecture: dict[str, Any] = {"channels": 1, "features": 32, "blocks": 2, "output": "residual"}
    torch.manual_seed(3)
    network = RefinerNetwork(RefinerArchitecture(**architecture))
    torch.nn.init.normal_(network.head.weight, std=0.1)
    save_refiner(place / "refiner.safetensors", network, training={})
    (place / "in" / "bad.png").touch()
    for suffix in ("", ".h5"):
        refine_path(place / f"in{suffix}", place / f"whole{suffix}", place / "refiner.safetensors", device="cpu")
    (place / "program.py").write_text(PROGRAM)
    return place


def contents(path: Path) -> dict[str, Any]:
    """Of a folder the files, of a store the data sets."""
    if path.is_dir():
        files = (file for file in path.rglob("*") if file.is_file() and ".refiner" not in file.parts)
        return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}
    with h5py.File(path) as file:
        sets: list[str] = []
        file.visititems(lambda name, item: sets.append(name) if isinstance(item, h5py.Dataset) else None)
        return {name: repr(file[name][:].tolist()) for name in sets}  # as text, for NaN is not NaN


def start(place: Path, source: str, out: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "program.py", source, str(out)], cwd=place, stdout=-1, stderr=subprocess.STDOUT, text=True
    )


def manifest(out: Path) -> int:
    """Images that are said to be finished."""
    file = out / ".refiner" / "manifest.jsonl"
    return sum('"notes"' in line for line in file.read_text().splitlines()) if file.exists() else 0


def refine(place: Path, source: str, out: Path, **options: Any) -> Summary:
    return refine_path(place / source, out, place / "refiner.safetensors", device="cpu", **options)


@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_two_processes_make_the_bytes_of_one(place: Path, tmp_path: Path, suffix: str) -> None:
    process = start(place, f"in{suffix}", tmp_path / f"out{suffix}")
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 0, said
    assert said.splitlines()[-1] == str((COUNT, 0, 0 if suffix else 1))  # after what is logged
    assert contents(tmp_path / f"out{suffix}") == contents(place / f"whole{suffix}")


def test_a_worker_that_is_killed_ends_the_job_and_the_same_command_finishes_it(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(place, "in", out)
    while manifest(out) < 20:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    said = process.communicate(timeout=60)[0]
    assert "a worker process was killed, perhaps because memory ran out; use fewer --workers" in said
    assert process.returncode == 1
    done = manifest(out)
    assert 20 <= done < COUNT
    summary = refine(place, "in", out)
    assert summary[:3] == (COUNT - done, done, 1)
    assert contents(out) == contents(place / "whole")


def test_no_worker_outlives_a_killed_job_and_the_same_command_finishes_it(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(place, "in", out)
    while manifest(out) < 20:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}/cmdline").exists() and alive(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert refine(place, "in", out).rejected == 1
    assert contents(out) == contents(place / "whole")


def workers_of(pid: int) -> list[int]:
    """Children of the process that they are forked from."""
    return [worker for server in children(pid) for worker in children(server)]


def children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except OSError:
        return False


# --- shards --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_shards_and_a_run_that_gathers_make_the_bytes_of_one_run(
    place: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refiner.inference.jobs.store.CHUNK", 16)
    out = tmp_path / f"out{suffix}"
    shares = [refine(place, f"in{suffix}", out, shard=Shard(number, 3)) for number in (1, 3, 2)]
    assert sum(share.refined for share in shares) == COUNT
    assert all(share.refined > COUNT // 6 for share in shares)
    assert refine(place, f"in{suffix}", out, shard=Shard(2, 3)).refined == 0
    if suffix:
        assert not out.exists()
    else:
        assert not {"drift.csv", "rejected.csv", "labels.csv"} & {file.name for file in out.iterdir()}
        assert sum(share.rejected for share in shares) == 1
    summary = refine(place, f"in{suffix}", out)
    assert summary[:3] == (0, COUNT, 0 if suffix else 1)
    # The folder has a damaged image, and an image without row; a store has neither.
    assert [(report.key, report.examples) for report in summary.left_out] == (
        [] if suffix else [("images without row", ("1/007.png", "bad.png"))]
    )
    assert contents(out) == contents(place / f"whole{suffix}")
    assert not (out / ".refiner" / "shards").exists()
    assert not list(tmp_path.glob("*.parts"))


@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_a_shard_that_is_missing_is_made_by_the_run_that_gathers(place: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    share = refine(place, f"in{suffix}", out, shard=Shard(1, 2))
    assert refine(place, f"in{suffix}", out).refined == COUNT - share.refined
    assert contents(out) == contents(place / f"whole{suffix}")


@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_shards_run_beside_one_another_and_nothing_else_beside_them(place: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    met: list[str] = []

    def report(done: int, total: int) -> None:
        if met:
            return
        met.append("")
        refine(place, f"in{suffix}", out, shard=Shard(2, 2))
        for shard in (None, Shard(1, 2)):
            with pytest.raises(OutputError, match="another process is writing") as raised:
                refine(place, f"in{suffix}", out, shard=shard)
            met.append(str(raised.value))

    refine(place, f"in{suffix}", out, shard=Shard(1, 2), report=report)
    assert len(met) == 3
    assert refine(place, f"in{suffix}", out).refined == 0
    assert contents(out) == contents(place / f"whole{suffix}")


def test_a_shard_does_not_throw_away_the_parts_of_another_job(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    refine(place, "in.h5", out, shard=Shard(1, 2))
    with pytest.raises(OutputError, match="holds chunks of another job; finish that job first, or delete the folder"):
        refine(place, "in.h5", out, shard=Shard(2, 2), limit=DriftLimit(1.0))


def test_what_a_shard_found_newer_counts(place: Path, tmp_path: Path) -> None:
    """A whole run, then one share made again after its input changed: the run that gathers has nothing to do."""
    source = tmp_path / "in"
    for number in range(4):
        write_image(source / f"{number}.png", np.full((6, 9), 40 * number, np.uint8))
    network = place / "refiner.safetensors"
    refine_path(source, tmp_path / "out", network, device="cpu")
    write_image(source / "0.png", np.full((6, 9), 200, np.uint8))
    shares = [refine_path(source, tmp_path / "out", network, device="cpu", shard=Shard(n, 2)) for n in (1, 2)]
    assert sum(share.refined for share in shares) == 1
    assert refine_path(source, tmp_path / "out", network, device="cpu") == Summary(0, 4, 0)


def test_one_image_is_not_shared_out(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--engine ray and --shard need a folder or a store"):
        refine(place, "in/0/000.png", tmp_path / "a.png", shard=Shard(1, 2))


# --- threads, and a refiner that changes ---------------------------------------------------------------------------


def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(processor(), "cores", 8)
    assert Engine(workers=1).threads is None
    assert [Engine(workers=count).threads for count in (2, 3, 8, 20)] == [4, 2, 1, 1]
    assert Engine("ray", 0).threads == 1


def test_a_trial_is_of_one_thread_and_leaves_the_threads_as_they_were(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, tried = torch.get_num_threads(), set()

    def opened(name: str, refiner: RefinerFile, *, device: str, threads: int) -> Backend:
        tried.add(threads)
        return open_backend(name, refiner, device=device, threads=threads)

    monkeypatch.setattr(autoselect, "open_backend", opened)
    monkeypatch.setattr(autoselect, "ROUND_SECONDS", 0.0)
    fastest_backend(load_refiner(place / "refiner.safetensors"), np.zeros((2, 1, 8, 12), np.float32), ["torch", "onnx"])
    assert tried == {1}
    assert torch.get_num_threads() == before


def test_a_refiner_that_changes_while_it_is_at_work_is_refused(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "refiner.safetensors"
    path.write_bytes((place / path.name).read_bytes())
    source = RefinerSource(path, refiner_digest(path), "cpu", "torch")
    assert source.open().channels == 1
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError, match="has changed while the job was running; run the same command again"):
        source.open()


def test_a_task_is_small_where_files_are_large(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refiner.inference.jobs.folder_job.TASK_BYTES", 2000)
    rng = np.random.default_rng(1)
    for number in range(6):
        write_image(tmp_path / "in" / f"{number}.png", rng.integers(0, 256, (24, 40), np.uint8))  # about 1,000 bytes
    sizes: list[int] = []
    monkeypatch.setattr(Engine, "map", lambda self, work, tasks: (sizes.append(len(task.names)) for task in tasks))
    with pytest.raises(TypeError):  # what stands in for the work gives no outcomes
        refine_path(tmp_path / "in", tmp_path / "out", place / "refiner.safetensors", device="cpu")
    assert sizes == [2]
