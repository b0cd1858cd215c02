"""Table and plots of the measurements of ``tools.measure.scaling``."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from tools.pages.drawing import COLOURS, label_decades, label_ticks, new_figure

Point = tuple[float, float, str]
"""Position of a dot, and the label of its tick."""


def scaling_table(found: dict[str, Any]) -> str:
    """Return Markdown tables: the machine, and a row for each measurement."""
    processor = found["environment"]["processor"]
    machine = f"{processor['name']}, {' '.join(processor['features'])}, {processor['cores']} cores"
    lines = [
        f"{machine}; backend {found['backend']}.",
        "",
        "| store to store, 36x60 | seconds | images a second | largest memory, MiB |",
        "| --- | --- | --- | --- |",
        *(_row(f"{job['images']:,} images", job, job["images"]) for job in found["images"]),
        "",
        f"The slope is {1e6 * found['seconds_an_image']:,.0f} µs an image: {found['goal']:,} images in "
        f"{found['goal_minutes']:.0f} minutes.",
        "",
        "| store to store, by size | seconds | megapixels a second | largest memory, MiB |",
        "| --- | --- | --- | --- |",
    ]
    for job in found["size"]:
        height, width = job["size"]
        lines.append(_row(f"{job['images']:,} of {height}x{width}", job, job["images"] * height * width / 1e6))
    lines += [
        "",
        "| store to store, by workers | seconds | images a second | largest memory, MiB |",
        "| --- | --- | --- | --- |",
        *(_row(f"{job['workers']} workers", job, found["worker_images"]) for job in found["workers"]),
    ]
    return "\n".join(lines)


def _row(name: str, job: dict[str, Any], amount: float) -> str:
    rate = amount / job["seconds"]
    return f"| {name} | {job['seconds']:,.1f} | {rate:,.0f} | {job['mib']:,.0f} |".replace("| 0 |", f"| {rate:.2f} |")


def scaling_plots(found: dict[str, Any]) -> dict[str, Figure]:
    """Plot each quantity that was varied, by its name."""
    images = [(job["images"], job["seconds"], f"{job['images']:,}") for job in found["images"]]
    sizes = []
    for job in found["size"]:
        height, width = job["size"]
        sizes.append((height * width, 1000 * job["seconds"] / job["images"], f"{height}x{width}"))
    workers = [
        (job["workers"], found["worker_images"] / job["seconds"], str(job["workers"])) for job in found["workers"]
    ]
    batches = [(job["batch"], job["rate"], str(job["batch"])) for job in found["batch"]]
    return {
        "images": _curve("store to store", "images", "seconds", images),
        "size": _curve("store to store", "size of the images", "milliseconds an image", sizes),
        "workers": _curve("store to store", "workers", "images a second", workers),
        "batch": _curve("network alone", "batch size", "images a second", batches),
    }


def _curve(title: str, along: str, up: str, points: Sequence[Point]) -> Figure:
    """Plot a line through dots, both axes logarithmic."""
    figure, axes = new_figure(4.8, 3, title)
    axes.loglog([x for x, _, _ in points], [y for _, y, _ in points], "o-", color=COLOURS[0])
    label_ticks(axes, [x for x, _, _ in points], [name for _, _, name in points])
    label_decades(axes)
    axes.set_xlabel(along)
    axes.set_ylabel(up)
    return figure
