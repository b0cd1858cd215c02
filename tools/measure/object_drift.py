"""Measure the cost of the drift of objects: python -m tools.measure.object_drift results/object_drift.json

A folder of drawn scenes of 480x640 with 20 objects each is refined by the command with the demo refiner, once with COCO
annotations and once without labels, in turn. The share of the plain network's time is measured beside it: the paper's
network in fp32 on such an image. Takes some minutes on two cores.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from refiner.core.environment import environment
from refiner.core.files import write_text
from refiner.data.drift.measurement import measure_label_drift
from refiner.data.labels.objects import OBJECTS
from refiner.images.arrays import to_uint8
from refiner.images.io import write_image
from refiner.models.refiner import RefinerNetwork
from tools.measure.object_scene import Scene, draw_scene

SIZE, OBJECT_COUNT = (480, 640), 20


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--images", type=click.IntRange(1), default=1000, help="Number of images of the folder.")
@click.option("--repeats", type=click.IntRange(1), default=3, help="Repeats of each measurement, in turn.")
def main(out: Path, images: int, repeats: int) -> None:
    """Measure, and write OUT as JSON."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scenes = [draw_scene(np.random.default_rng(seed), size=SIZE, count=OBJECT_COUNT) for seed in range(20)]
        _write(folder / "plain", scenes, images, annotated=False)
        _write(folder / "coco", scenes, images, annotated=True)
        found: dict[str, list[Any]] = {"plain": [], "coco": []}
        for repeat in range(repeats):
            for kind, some in found.items():
                some.append(_refine(folder / kind, folder / f"{kind}-{repeat}"))
                print(f"{repeat} {kind}: {some[-1]}", file=sys.stderr)
    rates = {kind: [images / run["seconds"] for run in runs] for kind, runs in found.items()}
    shares = [own / plain for own, plain in zip(rates["coco"], rates["plain"], strict=True)]
    facts = {
        "command": "object_drift",
        "environment": environment(),
        "images": images,
        "size": list(SIZE),
        "objects": OBJECT_COUNT,
        "images_per_second": rates,
        "share_of_the_rate_without_labels": _spread(shares),
        "peak_mib": {kind: [run["peak_mib"] for run in runs] for kind, runs in found.items()},
        "processor_milliseconds": _costs(scenes[0]),
    }
    write_text(out, json.dumps(facts, indent=1) + "\n")
    print(out)


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def _write(folder: Path, scenes: list[Scene], images: int, *, annotated: bool) -> None:
    """Write a folder of images, and their annotations in COCO."""
    levels = [to_uint8(scene.draw()) for scene in scenes]
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(images):
        name = f"{number:06d}.jpg"
        write_image(folder / name, levels[number % len(levels)])
        entries.append({"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        for label in scenes[number % len(scenes)].labels():
            outlines = [[round(value, 2) for value in part] for part in label.polygons]
            more = {"segmentation": outlines} if outlines else {}
            identity = len(annotations) + 1
            box = list(label.box or ())
            annotations.append(
                {"id": identity, "image_id": number, "category_id": 1, "bbox": box, "iscrowd": 0, **more}
            )
    if annotated:
        content = {"images": entries, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
        write_text(folder / "instances.json", json.dumps(content))


def _refine(source: Path, out: Path) -> dict[str, float]:
    """Refine a folder with the command; return its seconds and the peak of its memory, with that of its workers."""
    options = ["--refiner", "demo", "--device", "cpu"]
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "refiner", "refine", str(source), str(out), *options])
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _memory(process.pid))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"refine ended with status {process.returncode}")
    return {"seconds": time.perf_counter() - start, "peak_mib": peak}


def _memory(root: int) -> float:
    """Return the proportional memory of a process and its children, in MiB."""
    total = 0
    children = [root]
    while children:
        one = children.pop()
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                children += map(int, (task / "children").read_text().split())
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, ProcessLookupError):
            continue
    return total / 1024


def _costs(scene: Scene) -> dict[str, dict[str, float]]:
    """Return the processor's milliseconds for the drift of one image, and for the paper's network on it in grey."""
    image = scene.draw()[None]
    after = image + np.random.default_rng(0).normal(0, 0.03, image.shape).astype(np.float32)
    labels = tuple(scene.labels())
    network, grey = RefinerNetwork().eval(), torch.from_numpy(image.mean(axis=1, keepdims=True))
    planes = [(image, after), tuple(each.mean(axis=1, keepdims=True) for each in (image, after))]
    work: dict[str, Callable[[], object]] = {
        f"{what}, {kind}": partial(measure_label_drift, pair[0], pair[1], watched)
        for kind, pair in zip(("colour", "grey"), planes, strict=True)
        for what, watched in (("whole image", [{}]), ("20 objects", [{OBJECTS: labels}]))
    }
    work |= {
        "paper's network": lambda: network(grey),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    with torch.inference_mode():
        for repeat in range(6):
            for name, run in work.items():
                start = time.process_time()
                run()
                if repeat:
                    times[name].append(1000 * (time.process_time() - start))
    return {name: _spread(some) for name, some in times.items()}


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
