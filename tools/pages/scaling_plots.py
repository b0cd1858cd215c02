"""The table and the pictures of what ``tools/scaling.py`` measured."""

import math
from collections.abc import Sequence
from typing import Any

from tools.pages.drawing import COLOURS, PALE, Axis, draw_dot, draw_line, draw_picture, draw_text
from tools.pages.drawing import ticks as even_ticks

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 480, 300, 64, 20, 40, 44

Point = tuple[float, float, str]
"""Where a dot stands, and what stands below it."""


def scaling_table(found: dict[str, Any]) -> str:
    """Markdown: the machine, and each measurement in a row."""
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


def scaling_pictures(found: dict[str, Any]) -> dict[str, str]:
    """An SVG for each thing that was varied, by its name."""
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
        "images": _curve("seconds, by images (store to store)", images),
        "size": _curve("milliseconds an image, by size (store to store)", sizes),
        "workers": _curve("images a second, by workers (store to store)", workers),
        "batch": _curve("images a second, by batch size (network alone)", batches),
    }


def _curve(title: str, points: Sequence[Point]) -> str:
    """A line through dots, both axes logarithmic."""
    along = _axis([x for x, _, _ in points], _LEFT, _WIDTH - _RIGHT)
    up = _axis([y for _, y, _ in points], _HEIGHT - _BOTTOM, _TOP)
    marks = []
    for tick in _decades(up):
        y = up.at(math.log10(tick))
        marks.append(draw_line(_LEFT, y, _WIDTH - _RIGHT, y, PALE))
        marks.append(draw_text(_LEFT - 6, y + 4, f"{tick:,g}", anchor="end"))
    places = [(along.at(math.log10(x)), up.at(math.log10(y))) for x, y, _ in points]
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    marks.append(f'<polyline points="{joined}" fill="none" stroke="{COLOURS[0]}" stroke-width="2"/>')
    for (x, y), (_, _, name) in zip(places, points, strict=True):
        marks.append(draw_dot(x, y, 4, COLOURS[0]))
        marks.append(draw_text(x, _HEIGHT - _BOTTOM + 18, name, anchor="middle"))
    return draw_picture(_WIDTH, _HEIGHT, title, marks)


def _axis(values: Sequence[float], first: float, last: float) -> Axis:
    low, high = math.log10(min(values)), math.log10(max(values))
    margin = 0.08 * max(high - low, 0.1)
    return Axis(low - margin, high + margin, first, last)


def _decades(axis: Axis) -> list[float]:
    """1, 2 and 5 times powers of ten inside an axis; powers alone where there are many, and even steps where few."""
    powers = range(math.floor(axis.low), math.ceil(axis.high) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    inside = [tick for tick in ticks if axis.low <= math.log10(tick) <= axis.high]
    if len(inside) < 3:
        return [tick for tick in even_ticks(10**axis.low, 10**axis.high) if tick > 0]
    return inside if len(inside) <= 7 else [tick for tick in inside if math.log10(tick).is_integer()]
