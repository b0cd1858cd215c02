"""How well drift tells broken labels from sound ones, and what it costs: python tools/trust.py.

Planted refiners on procedural eyes that nothing was trained on, against the ready refiner. Writes the tables of
docs/trust.md between their markers, and docs/drift_roc.svg beside it. About a minute on two cores.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from studying.pages import fill_tables

from refiner.drift import score_drift
from refiner.evaluation.verdict import MAX_DRIFT
from refiner.eyes import EyeParameters, render_eyes
from refiner.files import write_text
from refiner.hardware import environment
from refiner.networks import RefinerNetwork
from refiner.refinement import Refiner

ROOT = Path(__file__).parent.parent
COUNT = 2000
REPEATS = 15

PLANTED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "moved down by 1 px": lambda refined, near: refined.roll(1, dims=2),
    "moved down by 2 px": lambda refined, near: refined.roll(2, dims=2),
    "pupil and iris erased": lambda refined, near: torch.where(near, refined.mean(dim=(2, 3), keepdim=True), refined),
    "swapped with another image": lambda refined, near: refined.roll(1, dims=0),
    "collapsed to one image": lambda refined, near: refined[:1].expand_as(refined),
}


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--page", type=click.Path(path_type=Path), default=ROOT / "docs/trust.md", help="Where the tables go.")
@click.option("--seed", type=click.IntRange(0), default=171, help="Of the eyes.")
def main(page: Path, seed: int) -> None:
    """Measure, and write the page's tables and the picture beside it."""
    batch = render_eyes(EyeParameters(images_per_person=1), range(COUNT), seed=seed)
    renders, pupils = batch.images, batch.pupil
    refined = Refiner.load("stand-in", device="cpu")(renders)
    rows, columns = torch.arange(renders.shape[2]).view(-1, 1), torch.arange(renders.shape[3])
    near = torch.hypot(columns - pupils[:, 0].view(-1, 1, 1), rows - pupils[:, 1].view(-1, 1, 1))[:, None] < 7
    lines = ["| planted | area under the ROC, labelled | rejected at 1 | area, no labels | rejected at 1 |"]
    lines.append("| --- | --- | --- | --- | --- |")
    sound = [_scores(renders, refined, points) for points in (pupils[:, None], None)]
    lines.append(_row("nothing: the ready refiner", sound, sound))
    curves = {}
    for name, plant in PLANTED.items():
        broken = [_scores(renders, plant(refined, near), points) for points in (pupils[:, None], None)]
        lines.append(_row(name, sound, broken))
        curves[name] = roc(sound[0], broken[0])
    tables = {"planted": "\n".join(lines) + "\n", "cost": _cost(renders, refined, pupils)}
    text, _ = fill_tables(page.read_text(encoding="utf-8"), tables, str(page))
    write_text(page, text)
    write_text(page.with_name("drift_roc.svg"), picture(curves))
    print(f"{page}: written")


def _scores(renders: Tensor, images: Tensor, points: Tensor | None) -> np.ndarray:
    return score_drift(renders, images, points=points).scores.numpy()


def roc(sound: np.ndarray, broken: np.ndarray) -> list[tuple[float, float]]:
    """(share of sound labels that are rejected, share of broken ones) over all limits."""
    limits = np.unique(np.concatenate([sound, broken]))[::-1]
    return [
        (float((sound >= limit).mean()), float((broken >= limit).mean())) for limit in limits[:: len(limits) // 400]
    ]


def area(sound: np.ndarray, broken: np.ndarray) -> float:
    """Share of pairs in which the broken label scores higher."""
    order = np.searchsorted(np.sort(sound), broken)
    return float(order.mean() / len(sound))


def _row(name: str, sound: list[np.ndarray], broken: list[np.ndarray]) -> str:
    cells = []
    for good, bad in zip(sound, broken, strict=True):
        cells += ["" if good is bad else f"{area(good, bad):.3f}", f"{(bad > MAX_DRIFT).mean():.1%}"]
    return f"| {name} | " + " | ".join(cells) + " |"


def _cost(renders: Tensor, refined: Tensor, pupils: Tensor) -> str:
    """Time of the score as a share of the paper network's in plain fp32, both in turns."""
    network = RefinerNetwork().eval()
    images, after, points = renders[:64], refined[:64], pupils[:64, None]
    work: dict[str, Callable[[], object]] = {
        "network": lambda: network(images),
        "labelled points": lambda: score_drift(images, after, points=points),
        "whole images": lambda: score_drift(images, after),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    with torch.inference_mode():
        for repeat in range(REPEATS + 2):
            for name, run in work.items():
                start = time.perf_counter()
                run()
                if repeat >= 2:
                    times[name].append(time.perf_counter() - start)
    lines = ["| drift of | share of the network's time |", "| --- | --- |"]
    for name in list(work)[1:]:
        ratios = [own / plain for own, plain in zip(times[name], times["network"], strict=True)]
        spread = f"{min(ratios):.1%} to {max(ratios):.1%}"
        lines.append(f"| {name} | {statistics.median(ratios):.1%} ({spread}) |")
    processor = environment()["processor"]["name"]
    lines.append(f"\n64 patches of 36x60, {torch.get_num_threads()} threads, {processor}; {REPEATS} repeats in turns.")
    return "\n".join(lines) + "\n"


def picture(curves: dict[str, list[tuple[float, float]]]) -> str:
    """The ROC curves as an SVG; the share of sound labels that are rejected on a logarithmic axis."""
    width, height, left, bottom = 560, 340, 56, 46
    colours = ("#8a5fb0", "#1f6fb4", "#c8553d", "#3c8d5a", "#222222")

    def place(false: float, true: float) -> str:
        x = left + (np.log10(max(false, 1e-3)) + 3) / 3 * (width - left - 16)
        return f"{x:.1f},{height - bottom - true * (height - bottom - 20):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for exponent in (-3, -2, -1, 0):
        x = place(10.0**exponent, 0).split(",")[0]
        parts.append(f'<path d="M{x} 20V{height - bottom}" stroke="#e3e3e3"/>')
        parts.append(f'<text x="{x}" y="{height - bottom + 18}" text-anchor="middle">{10.0**exponent:.1%}</text>')
    for true in (0, 0.5, 1):
        y = place(1, true).split(",")[1]
        parts.append(f'<path d="M{left} {y}H{width - 16}" stroke="#e3e3e3"/>')
        parts.append(f'<text x="{left - 6}" y="{float(y) + 4}" text-anchor="end">{true:.0%}</text>')
    for number, ((name, points), colour) in enumerate(zip(curves.items(), colours, strict=True)):
        path = " ".join(place(false, true) for false, true in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = height - bottom - 14 - 17 * number
        parts.append(f'<text x="{width - 24}" y="{y}" text-anchor="end" fill="{colour}">{name}</text>')
    parts.append(f'<text x="{(left + width) / 2}" y="{height - 8}" text-anchor="middle">sound labels rejected</text>')
    parts.append(f'<text x="14" y="{height / 2}" transform="rotate(-90 14 {height / 2})">broken labels rejected</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    main()
