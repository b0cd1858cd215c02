"""Measure the cost of refining by number and size of images, batch size and workers.

    python -m tools.measure.scaling results/performance/scaling-NAME.json

Everything is measured with the demo refiner on the fastest backend of this machine. With OUT in results/performance,
``python -m tools.pages.performance`` makes the table and the plots.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from refiner.benchmark.benchmark import compare
from refiner.benchmark.workloads import run_refine
from refiner.core.environment import environment, processor
from refiner.core.files import write_text
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.output.records_writer import write_folder
from refiner.data.store.hdf5 import new_file
from refiner.data.store.reader import Store
from refiner.data.store.writer import create_images, write_columns
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters
from refiner.inference.backends.autoselect import choose_backend
from refiner.inference.backends.base import Array, Backend
from refiner.inference.backends.registry import open_backend
from refiner.inference.jobs.plan import job_extent
from refiner.models.files.lookup import pretrained_refiners
from refiner.models.files.refiner_file import RefinerFile, load_refiner

SIZE = (36, 60)
SIZES = ((36, 60), (72, 120), (144, 240), (288, 480), (576, 960))
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
GOAL = 1_200_000
"""Number of renders in the paper."""

REPEATS = 5


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--largest", type=click.IntRange(4), default=100_000, help="Number of images of the largest store.")
@click.option(
    "--pixels", type=click.IntRange(1), default=40_000_000, help="Maximum number of pixels of all images of a size."
)
@click.option("--distinct", type=click.IntRange(1), default=2000, help="Number of renders that the stores repeat.")
@click.option(
    "--seconds", type=click.FloatRange(0), default=0.5, help="Minimum seconds of a batch size, in each repeat."
)
def main(out: Path, largest: int, pixels: int, distinct: int, seconds: float) -> None:
    """Measure, and write OUT as JSON."""
    refiner = load_refiner(pretrained_refiners()["demo"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stores = _Stores(folder, distinct)
        counts = sorted({max(1, largest // share) for share in (64, 16, 4, 2, 1)})
        sizes = [size for size in SIZES if size[0] * size[1] <= pixels]
        workers = sorted({1, processor()["cores"], 2 * processor()["cores"]})
        backend = choose_backend(job_extent(stores.of(largest, SIZE)), refiner, device="cpu")
        facts: dict[str, Any] = {
            "command": "scaling",
            "environment": environment(),
            "backend": backend,
            "images": [
                _job(folder, stores.of(count, SIZE), backend) | {"images": count} for count in _reported(counts)
            ],
            "size": [_size(folder, stores, size, pixels, backend) for size in _reported(sizes)],
            "worker_images": max(1, largest // 4),
            "workers": [
                _job(folder, stores.of(max(1, largest // 4), SIZE), backend, count) | {"workers": count}
                for count in _reported(workers)
            ],
            "batch": _batches(refiner, backend, seconds),
        }
    write_text(out, json.dumps({**facts, **_extrapolated(facts["images"])}, indent=1) + "\n")
    print(out)


def _reported(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        print(value, file=sys.stderr)
        yield value


class _Stores:
    """Stores of any number and size of images, which repeat some renders."""

    def __init__(self, folder: Path, distinct: int) -> None:
        self.folder, self.distinct = folder, distinct

    def of(self, count: int, size: tuple[int, int]) -> Path:
        """Return a store of ``count`` images of a size (height, width); it is written on first use."""
        path = self.folder / f"{count}-{size[0]}.h5"
        if not path.exists():
            self._write(path, count, size)
        return path

    def _write(self, path: Path, count: int, size: tuple[int, int]) -> None:
        few = max(1, min(self.distinct, 25_000_000 // (size[0] * size[1])))
        synthetic, base = self.folder / f"few-{size[0]}", self.folder / f"few-{size[0]}.h5"
        if not base.exists():
            records = rendered_records(EyeParameters(), few, seed=0, size=size)
            write_folder(synthetic, records, few, labelled=True, report=lambda done, total: None)
            convert(synthetic, base, Conversion())
        store = Store(base)
        pixels, pupils = store.images[:], store.file["labels"]["pupil"][:]
        numbers = np.arange(count) % len(pixels)
        with new_file(path) as file:
            images = create_images(file, store.kind, count)
            for start in range(0, count, 1024):
                images[start : start + 1024] = pixels[numbers[start : start + 1024]]
            write_columns(file, ((f"{number:07d}.png", {}) for number in range(count)), [])
            file["labels"].create_dataset("pupil", data=pupils[numbers]).attrs["cells"] = "array"
            file.attrs.update(store.file.attrs)
        store.close()


def _job(folder: Path, source: Path, backend: str, workers: int | None = None) -> dict[str, float]:
    """Return seconds and memory of a whole job of the command, store to store."""
    out = folder / f"refined-{time.monotonic_ns()}.h5"
    options = ["--refiner", "demo", "--device", "cpu", "--backend", backend]
    start = time.perf_counter()
    mib = run_refine(source, out, *options, *([] if workers is None else ["--workers", str(workers)]))
    seconds = time.perf_counter() - start
    out.unlink()
    return {"seconds": seconds, "mib": mib}


def _size(folder: Path, stores: _Stores, size: tuple[int, int], pixels: int, backend: str) -> dict[str, Any]:
    count = pixels // (size[0] * size[1])
    return {"size": size, "images": count, **_job(folder, stores.of(count, size), backend)}


def _batches(refiner: RefinerFile, backend: str, seconds: float) -> list[dict[str, float]]:
    """Return images a second of the network alone, for each batch size."""
    opened = open_backend(backend, refiner, device="cpu")
    shapes = {count: (count * opened.parallel_batches, 1, *SIZE) for count in BATCHES}
    rng = np.random.default_rng(0)
    images = {count: rng.uniform(-1, 1, shape).astype(np.float32) for count, shape in shapes.items()}
    work = {str(count): partial(_refine, opened, batch) for count, batch in images.items()}
    found = compare(work, REPEATS, seconds, lambda name: print(f"batches of {name}", file=sys.stderr))
    return [{"batch": count, "rate": statistics.median(found[str(count)])} for count in BATCHES]


def _refine(backend: Backend, images: Array) -> int:
    return len(backend(images))


def _extrapolated(jobs: list[dict[str, float]]) -> dict[str, float]:
    """Extrapolate to :data:`GOAL` images with the slope between the two largest jobs."""
    (few, some), (many, seconds) = ((job["images"], job["seconds"]) for job in jobs[-2:])
    slope = (seconds - some) / (many - few)
    return {"goal": GOAL, "seconds_an_image": slope, "goal_minutes": (seconds + (GOAL - many) * slope) / 60}


if __name__ == "__main__":
    main()
