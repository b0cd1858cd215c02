"""How well drift tells broken labels from sound ones, and what it costs: python tools/trust.py.

Planted refiners on procedural eyes that nothing was trained on, against the ready refiner. Writes the tables of
docs/trust.md between their markers, and docs/drift_roc.svg beside it. About a minute on two cores.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import read_configuration
from refiner.core.environment import environment
from refiner.core.files import write_text
from refiner.evaluation.verdict import MAX_DRIFT
from refiner.eyes.rendering import render_eyes
from refiner.eyes.scene.parameters import EyeParameters
from refiner.images.registration import score_drift
from refiner.inference.refiner import Refiner
from refiner.models.refiner import RefinerNetwork
from refiner.training.methods.simgan import SimGAN
from refiner.training.selection import IMAGES, CheckpointSelector
from tools.pages.markers import fill_tables

ROOT = Path(__file__).parents[2]
COUNT = 2000
REPEATS = 15
BETWEEN = 250
"""Steps between two scores of a training."""

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
    synthetic, pupils = batch.images, batch.pupil
    refined = Refiner.load("demo", device="cpu")(synthetic)
    rows, columns = torch.arange(synthetic.shape[2]).view(-1, 1), torch.arange(synthetic.shape[3])
    near = torch.hypot(columns - pupils[:, 0].view(-1, 1, 1), rows - pupils[:, 1].view(-1, 1, 1))[:, None] < 7
    lines = ["| planted | area under the ROC, labelled | rejected at 1 | area, no labels | rejected at 1 |"]
    lines.append("| --- | --- | --- | --- | --- |")
    sound = [_scores(synthetic, refined, points) for points in (pupils[:, None], None)]
    lines.append(_row("nothing: the ready refiner", sound, sound))
    curves = {}
    for name, plant in PLANTED.items():
        broken = [_scores(synthetic, plant(refined, near), points) for points in (pupils[:, None], None)]
        lines.append(_row(name, sound, broken))
        curves[name] = roc(sound[0], broken[0])
    tables = {
        "planted": "\n".join(lines),
        "cost": _cost(synthetic, refined, pupils),
        "score": _score_cost(synthetic, refined),
    }
    text, _ = fill_tables(page.read_text(encoding="utf-8"), tables, str(page))
    write_text(page, text)
    write_text(page.with_name("drift_roc.svg"), picture(curves))
    print(f"{page}: written")


def _scores(synthetic: Tensor, images: Tensor, points: Tensor | None) -> np.ndarray:
    return score_drift(synthetic, images, points=points).scores


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


def _cost(synthetic: Tensor, refined: Tensor, pupils: Tensor) -> str:
    """Time of the score as a share of the paper network's in plain fp32, both in turns."""
    network = RefinerNetwork().eval()
    images, after, points = synthetic[:64], refined[:64], pupils[:64, None]
    with torch.inference_mode():
        ratios = _in_turns(
            {
                "network": lambda: network(images),
                "labelled points": lambda: score_drift(images, after, points=points),
                "whole images": lambda: score_drift(images, after),
            }
        )
    lines = ["| drift of | share of the network's time |", "| --- | --- |"]
    lines += [f"| {name} | {_spread(shares)} |" for name, shares in ratios.items()]
    return "\n".join([*lines, f"\n64 patches of 36x60{_circumstances()}"])


def _score_cost(synthetic: Tensor, real: Tensor) -> str:
    """Time of a score as a share of that of the training steps between two, both in turns."""
    configuration = read_configuration(ROOT / "configs" / "eyes.yaml", TrainingConfiguration)
    method = SimGAN(configuration, device="cpu", precision="fp32", task=None)
    board = CheckpointSelector({"synthetic": synthetic[:IMAGES], "real": real[:IMAGES]}, seed=0)
    synthetic_batch, real_batch = synthetic[: configuration.batch_size], real[: configuration.batch_size]
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        method.update_refiner(synthetic_batch, generator, adversarial=True)
        method.update_discriminator(synthetic_batch, real_batch, generator, penalize=False)

    ratios = _in_turns({"step": step, "score": lambda: board.judge(method.refine(board.synthetic), {}, step=0)})
    shares = [ratio / BETWEEN for ratio in ratios["score"]]
    return f"{_spread(shares)} of the training's time, scored every {BETWEEN} steps of `eyes.yaml`{_circumstances()}"


def _in_turns(work: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Times of everything but the first, as shares of that of the first, repeat by repeat."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for repeat in range(REPEATS + 2):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            if repeat >= 2:
                times[name].append(time.perf_counter() - start)
    plain, *others = times
    return {name: [own / base for own, base in zip(times[name], times[plain], strict=True)] for name in others}


def _spread(shares: list[float]) -> str:
    return f"{statistics.median(shares):.1%} ({min(shares):.1%} to {max(shares):.1%})"


def _circumstances() -> str:
    processor = environment()["processor"]
    name = " ".join([processor["name"], *processor["features"]])
    return f"; {torch.get_num_threads()} threads, {name}; {REPEATS} repeats in turns."


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
        anchor = "middle" if exponent else "end"  # the last would leave the picture
        parts.append(f'<text x="{x}" y="{height - bottom + 18}" text-anchor="{anchor}">{10.0**exponent:.1%}</text>')
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
