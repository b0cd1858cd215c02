"""Measure speed and size of stores by images per chunk and filter.

    python -m tools.measure.store_layouts [IMAGES] --out results/store_layouts.json

IMAGES is a data set whose images are repeated (flipped at random); without it, procedural eyes. Speeds are images a
second of one thread, comparable only within one run.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np

from refiner.core.environment import environment
from refiner.data.formats.registry import open_dataset
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters

CHUNKS = (1, 4, 16, 64)
FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "lzf": {"compression": "lzf"},
    "lzf, checksum": {"compression": "lzf", "fletcher32": True},
    "gzip 1": {"compression": "gzip", "compression_opts": 1},
}
READS = 8192


@click.command()
@click.argument("source", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--count", default=40_000, show_default=True, help="Number of images in each store.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON file of the result.")
def main(source: Path | None, count: int, out: Path | None) -> None:
    """Measure every layout on the same images."""
    images = repeated(base_images(source), count)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, options in FILTERS.items():
            for chunk in CHUNKS:
                row = {"filter": name, "chunk": chunk, **measure(Path(folder) / "store.h5", images, chunk, options)}
                rows.append(row)
                click.echo("  ".join(f"{key} {value}" for key, value in row.items()))
    facts = {"images": str(source.name if source else "procedural eyes"), "count": count, "layouts": rows}
    if out:
        out.write_text(json.dumps({**facts, "environment": environment()}, indent=1) + "\n")


def base_images(source: Path | None) -> np.ndarray:
    """Return some distinct images, (N, H, W, C)."""
    if source is None:
        images = [record.image for record in rendered_records(EyeParameters(), 2000, seed=0)]
    else:
        dataset = open_dataset(source)
        images = [dataset.read_image(sample) for sample in dataset.ids[:2000]]
    stacked = np.stack([image for image in images if image.shape == images[0].shape])
    return stacked if stacked.ndim == 4 else stacked[..., None]


def repeated(images: np.ndarray, count: int) -> np.ndarray:
    """Return ``count`` random images, half of them flipped."""
    rng = np.random.default_rng(0)
    repeats = images[rng.integers(0, len(images), count)]
    return np.where(rng.random((count, 1, 1, 1)) < 0.5, repeats[:, :, ::-1], repeats)


def measure(path: Path, images: np.ndarray, chunk: int, options: dict[str, Any]) -> dict[str, Any]:
    """Measure images a second, written, read in order and read shuffled, and the size as a share of the pixels."""
    start = time.perf_counter()
    with h5py.File(path, "w", libver="latest") as file:
        stored = file.create_dataset("images", images.shape, "u1", chunks=(chunk, *images.shape[1:]), **options)
        for first in range(0, len(images), 1024):
            stored[first : first + 1024] = images[first : first + 1024]
    written = len(images) / (time.perf_counter() - start)
    order = np.random.default_rng(1).permutation(len(images))[:READS]
    with h5py.File(path, "r") as file:
        stored = file["images"]
        in_order = rate(lambda: [stored[first : first + 256] for first in range(0, len(images), 256)], len(images))
        shuffled = rate(lambda: [stored[number] for number in order], len(order))
        lists = rate(lambda: [stored[np.sort(order[i : i + 64])] for i in range(0, 2048, 64)], 2048)
    return {
        "size": round(path.stat().st_size / images.nbytes, 3),
        "written": round(written),
        "in_order": round(in_order),
        "shuffled": round(shuffled),
        "shuffled_by_lists": round(lists),
    }


def rate(read: Any, count: int) -> float:
    """Return items a second."""
    start = time.perf_counter()
    read()
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
