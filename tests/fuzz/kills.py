"""Kill commands at random moments, resume them, and compare the result: python tests/fuzz/kills.py --count 30 --seed 0.

Each job runs once undisturbed, and once killed with SIGKILL at two to four random moments and then resumed by the same
command. Both results must agree in names, bits and tables; clock times, logs and the state of the job are left out.
Some kills hit only the main process, as the memory killer does, others the whole group. The package must be installed.
Exit status 1: some results differ.
"""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import cv2
import h5py
import numpy as np

IMAGES = 600
LIMIT_SECONDS = 240.0

CLOCK_COLUMNS = ("seconds", "images_per_second")
"""Columns of ``metrics.jsonl`` that differ between equal runs."""

STATE = (".refiner", "checkpoints", "environment.json", ".lock", "lock")
"""Files that belong to the state of a job, or that hold clock times."""


class Job(NamedTuple):
    """A command, with ``{work}`` and ``{out}`` in its arguments, and the suffix of its output."""

    name: str
    arguments: str
    suffix: str = ""


JOBS = (
    Job("convert to a folder", "convert {work}/in {out} --size 30x50 --workers 2"),
    Job("convert to a store", "convert {work}/in {out} --crop 50x60 --workers 2", ".h5"),
    Job("convert and split", "convert {work}/in.h5 {out} --split train=0.7,test=0.3 --workers 2"),
    Job("convert objects", "convert {work}/coco {out} --size 45x50 --workers 2"),
    Job("convert objects to YOLO", "convert {work}/coco {out} --to yolo --crop 50x60 --workers 2"),
    Job("convert objects to a store", "convert {work}/coco {out} --workers 2", ".h5"),
    Job("refine objects", "refine {work}/coco {out} --refiner demo --device cpu --backend torch --workers 2"),
    Job("refine a folder", "refine {work}/in {out} --refiner demo --device cpu --backend torch --workers 2"),
    Job("refine a store", "refine {work}/in.h5 {out} --refiner demo --device cpu --backend torch --workers 2", ".h5"),
    Job(
        "train",
        "train debug --synthetic {work}/in --real {work}/in.h5 --run {out} --device cpu --set steps=60 "
        "--set checkpoint_every=10 --set sample_every=30",
    ),
    Job(
        "gaze train",
        "gaze train gaze --train {work}/in.h5 --run {out} --device cpu --set steps=40 --set checkpoint_every=5 "
        "--set batch_size=16",
    ),
)


def make_input(work: Path) -> None:
    """Make images with labels, as a folder and as a store."""
    rng = np.random.default_rng(0)
    (work / "in" / "sub").mkdir(parents=True)
    rows = []
    for number in range(IMAGES):
        name = f"{'sub/' * (number % 2)}{number:04d}.png"
        picture = cv2.resize(rng.integers(0, 256, (12, 20), dtype=np.uint8), (100, 60), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(work / "in" / name), picture)
        pitch, yaw = rng.uniform(-0.4, 0.4, 2).round(6)
        rows.append([name, pitch, yaw, round(40 + 60 * yaw, 3), round(30 - 60 * pitch, 3), f"p{number % 7:02d}"])
    with (work / "in" / "labels.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "gaze_pitch_rad", "gaze_yaw_rad", "pupil_x", "pupil_y", "subject"])
        writer.writerows(rows)
    (work / "in" / "0001.png").write_bytes(b"no image")  # named in rejected.csv
    run(["convert", str(work / "in"), str(work / "in.h5"), "--workers", "2"], expected=(4,))
    make_annotated(work / "coco", rng)


def make_annotated(root: Path, rng: np.random.Generator) -> None:
    """Make images with COCO annotations, and a mask and a note for each."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    images, annotations = [], []
    for number in range(IMAGES // 2):
        name, picture, mask = f"images/{number:04d}.png", np.full((60, 100, 3), 90, np.uint8), np.zeros((60, 100), "u1")
        images.append({"id": number, "file_name": name, "width": 100, "height": 60})
        for place in range(number % 4):
            x, y, width, height = (int(value) for value in rng.integers([0, 0, 5, 5], [70, 40, 30, 20]))
            picture[y : y + height, x : x + width] = rng.integers(0, 256, 3)
            mask[y : y + height, x : x + width] = place + 1
            values = {"id": 10 * number + place, "image_id": number, "category_id": place, "iscrowd": 0}
            annotations.append({**values, "bbox": [x, y, width, height], "area": width * height})
        cv2.imwrite(str(root / name), picture)
        cv2.imwrite(str(root / "masks" / f"{number:04d}.png"), mask)
        (root / "images" / f"{number:04d}.bin").write_bytes(bytes([number % 256]))
    categories = [{"id": number, "name": f"class {number}"} for number in range(3)]
    whole = {"images": images, "annotations": annotations, "categories": categories}
    (root / "coco.json").write_text(json.dumps(whole))


def command(arguments: list[str]) -> list[str]:
    """Return the whole command line."""
    return [sys.executable, "-c", "from refiner.commands import main; main()", *arguments]


def run(arguments: list[str], *, expected: tuple[int, ...] = (0, 4)) -> float:
    """Run a command to its end, and return its seconds."""
    start = time.monotonic()
    done = subprocess.run(command(arguments), capture_output=True, text=True, timeout=LIMIT_SECONDS)
    if done.returncode not in expected:
        raise click.ClickException(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr[-500:]}")
    return time.monotonic() - start


def kill_after(arguments: list[str], seconds: float, *, group: bool) -> bool:
    """Start a command and kill it; return whether it was still running."""
    process = subprocess.Popen(
        command(arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        return True


def contents(out: Path) -> dict[str, str]:
    """Return a digest of each file of a result by its name."""
    files = [out] if out.is_file() else sorted(path for path in out.rglob("*") if path.is_file())
    files += [path for path in out.parent.glob(f"{out.stem}.*") if path.is_file() and path != out]
    found = {}
    for path in files:
        name = path.relative_to(out.parent).as_posix().replace(out.stem, "OUT", 1)
        if any(part in STATE for part in path.parts) or path.name.startswith("events.out.tfevents"):
            continue
        read = _READERS.get(path.name, _READERS.get(path.suffix, Path.read_bytes))
        found[name] = hashlib.sha256(read(path)).hexdigest()
    return found


def _metrics(path: Path) -> bytes:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return json.dumps([{k: v for k, v in row.items() if k not in CLOCK_COLUMNS} for row in rows]).encode()


def _store(path: Path) -> bytes:
    parts: list[bytes] = []
    with h5py.File(path, "r") as file:

        def add(name: str, node: object) -> None:
            if isinstance(node, h5py.Dataset):
                values = node[:]
                parts.append(f"{name} {values.shape} {values.dtype}".encode())
                parts.append(repr(values.tolist()).encode() if values.dtype.hasobject else values.tobytes())

        file.visititems(add)
        parts.append(repr(sorted((key, str(value)) for key, value in file.attrs.items() if key != "command")).encode())
    return b"\n".join(parts)


_READERS: dict[str, Callable[[Path], bytes]] = {"metrics.jsonl": _metrics, ".h5": _store}


def trial(
    job: Job, work: Path, number: int, seconds: float, wanted: dict[str, str], rng: np.random.Generator
) -> tuple[int, str]:
    """Kill a job two to four times, resume it, and compare; return the number of kills, and what differs."""
    out = work / f"trial{number:02d}{job.suffix}"
    arguments = job.arguments.format(work=work, out=out).split()
    kills = 0
    for _ in range(int(rng.integers(2, 5))):
        kills += kill_after(arguments, float(rng.uniform(0.25, 1.0)) * seconds, group=bool(rng.random() < 0.5))
    run(arguments)
    found = contents(out)
    differing = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    state = "left" if out.with_name(f"{out.name}.parts").exists() else ""
    return kills, ", ".join([*differing[:5], *([f"{out.name}.parts is {state}"] if state else [])])


@click.command()
@click.option("--count", default=30, show_default=True, help="Number of kills.")
@click.option("--seed", default=0, show_default=True, help="Seed of the moments.")
@click.option("--only", help="Only jobs whose name holds this text.")
def main(count: int, seed: int, only: str | None) -> None:
    """Kill convert, refine, train and gaze train at random moments, and compare what they make when resumed."""
    rng = np.random.default_rng(seed)
    jobs = [job for job in JOBS if not only or only in job.name]
    failures, kills, number = 0, dict.fromkeys((job.name for job in jobs), 0), 0
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        work = Path(folder)
        make_input(work)
        seconds, wanted = {}, {}
        for job in jobs:
            out = work / f"whole_{job.name.replace(' ', '_')}{job.suffix}"
            seconds[job.name] = run(job.arguments.format(work=work, out=out).split())
            wanted[job.name] = contents(out)
            click.echo(f"{job.name}: {seconds[job.name]:.1f} s undisturbed, {len(wanted[job.name])} files")
        while sum(kills.values()) < count:
            job = jobs[number % len(jobs)]
            done, problem = trial(job, work, number, seconds[job.name], wanted[job.name], rng)
            kills[job.name] += done
            if not done:  # the machine is quieter now than it was
                seconds[job.name] *= 0.6
            failures += bool(problem)
            click.echo(f"{job.name}: {done} kills, {f'DIFFERS: {problem}' if problem else 'equal'}")
            number += 1
    click.echo(f"{sum(kills.values())} kills in {number} jobs of seed {seed}: {failures} results differ; {kills}")
    if failures:
        raise click.ClickException("some results differ")


if __name__ == "__main__":
    main()
