"""Measure the time of each stage of a job from folder to folder, for each image.

    python -m tools.measure.stages results/performance/stages-NAME.json

Each stage runs alone on the same renders, in one process with one thread. Then the whole command runs, to measure its
own process, which plans the job and records results. With OUT in results/performance, ``python -m
tools.pages.performance`` makes the table. Takes about a minute on two cores.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from refiner.core.devices import keep_freed_memory
from refiner.core.environment import environment
from refiner.core.files import write_text
from refiner.data.drift.measurement import measure_label_drift
from refiner.data.drift.regions import ANYTHING
from refiner.data.drift.table import NO_LIMIT
from refiner.data.folders.labels import FolderLabels
from refiner.data.folders.listing import list_files
from refiner.data.labels.label_table import LabelTable
from refiner.data.labels.tables import LABELS_FILE
from refiner.data.output.records_writer import write_folder
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters
from refiner.images.arrays import from_batch, to_batch
from refiner.images.io import read_image, write_image
from refiner.inference.backends.autoselect import choose_backend
from refiner.inference.jobs.folder_job import TASK_IMAGES
from refiner.inference.jobs.folder_worker import FileRefinement, FileTask
from refiner.inference.jobs.plan import job_extent
from refiner.inference.refiner import RefinerSource
from refiner.models.files.lookup import pretrained_refiners
from refiner.models.files.refiner_file import load_refiner, refiner_digest

PRETRAINED = pretrained_refiners()["demo"]
WHOLE = "all of it, as one process does it"
OWN = "the command's own process"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--images", type=click.IntRange(1), default=10_000, help="Number of images of the folder.")
@click.option("--repeats", type=click.IntRange(1), default=5, help="Repeats of each measurement, interleaved.")
def main(out: Path, images: int, repeats: int) -> None:
    """Measure, and write OUT as JSON."""
    keep_freed_memory()  # as the command does
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthetic = folder / "synthetic"
        records = rendered_records(EyeParameters(), images, seed=0)
        write_folder(synthetic, records, images, labelled=True, report=lambda done, total: None)
        backend = choose_backend(job_extent(synthetic), load_refiner(PRETRAINED), device="cpu")
        work = _Work(synthetic, RefinerSource(PRETRAINED, refiner_digest(PRETRAINED), "cpu", backend, 1))
        found: dict[str, list[float]] = {}
        for repeat in range(repeats + 1):  # the first warms up
            for stage, seconds in work.once(folder / str(repeat)).items():
                print(f"{repeat} of {repeats}: {stage}", file=sys.stderr)
                found.setdefault(stage, []).extend([seconds / images * 1e6] if repeat else [])
    facts = {
        "command": "stages",
        "environment": environment(),
        "backend": backend,
        "images": images,
        "microseconds": {
            stage: {"median": statistics.median(some), "low": min(some), "high": max(some)}
            for stage, some in found.items()
        },
    }
    write_text(out, json.dumps(facts, indent=1) + "\n")
    print(out)


class _Work:
    """A folder of renders, and the refiner that refines it."""

    def __init__(self, synthetic: Path, source: RefinerSource) -> None:
        self.synthetic, self.source, self.refiner = synthetic, source, source.open()
        self.names = [name for name in list_files(synthetic) if name.endswith(".png")]
        self.labels = FolderLabels(LabelTable(synthetic / LABELS_FILE))

    def once(self, out: Path) -> dict[str, float]:
        """Measure every stage once; return its seconds."""
        seconds: dict[str, float] = {}

        def timed(stage: str, work: Callable[[], Any]) -> Any:
            start = time.perf_counter()
            result = work()
            seconds[stage] = time.perf_counter() - start
            return result

        labels = timed("labels", self._labels)
        images = timed("reading and decoding PNG", lambda: [read_image(self.synthetic / name) for name in self.names])
        batches = [images[start : start + self._batch] for start in range(0, len(images), self._batch)]
        planes = timed("into floats", lambda: [to_batch(batch, 1) for batch in batches])
        refined = timed("network", lambda: [self.refiner.refine_batch(batch) for batch in planes])
        timed("drift", lambda: self._drift(planes, refined, labels))
        levels = timed("into levels", lambda: [from_batch(*pair) for pair in zip(refined, batches, strict=True)])
        pictures = [image for batch in levels for image in batch]
        timed("encoding and writing PNG", lambda: self._write(out / "stage", pictures))
        work = FileRefinement(self.source, self.synthetic, out / "whole", None, 95, NO_LIMIT, ANYTHING, self.refiner)
        timed(WHOLE, lambda: [work(task) for task in self._tasks()])
        seconds[OWN] = self._command(out / "command")
        return seconds

    @property
    def _batch(self) -> int:
        return self.refiner.batch_size(36, 60)

    def _tasks(self) -> list[FileTask]:
        """Return the tasks as the command gives them to its workers."""
        parts = [self.names[start : start + TASK_IMAGES] for start in range(0, len(self.names), TASK_IMAGES)]
        return [FileTask(part, self.labels.only(part, ANYTHING.names)) for part in parts]

    def _labels(self) -> list[Any]:
        rows = {
            name: labels for task in self._tasks() if task.labels for name, labels in task.labels.sound_rows().items()
        }
        return [ANYTHING.watched(name, rows[name], (36, 60)) for name in self.names]

    def _drift(self, planes: list[Any], refined: list[Any], labels: list[Any]) -> None:
        start = 0
        for before, after in zip(planes, refined, strict=True):
            measure_label_drift(before, after, labels[start : start + len(before)])
            start += len(before)

    def _write(self, out: Path, pictures: list[Any]) -> None:
        for name, picture in zip(self.names, pictures, strict=True):
            write_image(out / name, picture)

    def _command(self, out: Path) -> float:
        """Return the processor seconds of the command's own process, while its workers refine."""
        options = ["--refiner", "demo", "--device", "cpu", "--backend", self.source.backend, "--workers", "2"]
        command = [sys.executable, "-m", "refiner", "--quiet", "refine", str(self.synthetic), str(out), *options]
        job = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(job.pid, 0)
        if status:
            raise click.ClickException(f"refiner refine ended with status {status}")
        return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
