"""Measure how well the drift score separates broken from intact labels, and its cost: python -m tools.measure.trust

Deliberately harmful refiners are compared with the demo refiner, on procedural eyes that no network was trained on.
Writes tables into docs/evaluation.md between their markers, and docs/figures/drift_roc.svg. Takes about a minute on two
cores.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import read_configuration
from refiner.core.environment import environment
from refiner.core.files import write_text
from refiner.data.drift.scores import score_drift
from refiner.evaluation.verdict import MAX_DRIFT
from refiner.eyes.rendering import render_eyes
from refiner.eyes.scene.parameters import EyeParameters
from refiner.inference.refiner import Refiner
from refiner.models.refiner import RefinerNetwork
from refiner.training.methods.simgan import SimGAN
from refiner.training.selection import IMAGES_PER_DOMAIN, CheckpointSelector
from tools.pages.drawing import COLOURS, label_ticks, new_figure, write_figure
from tools.pages.markers import fill_tables, tables_of

ANY_PATH = click.Path(path_type=Path)

CONFIGURATION = Path(__file__).parents[2] / "configs" / "eyes.yaml"
COUNT = 2000
REPEATS = 15
SCORE_EVERY = 250
"""Steps between two scores of a training."""

Values = np.ndarray[Any, np.dtype[np.floating[Any]]]

HARMFUL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "moved down by 1 px": lambda refined, near: refined.roll(1, dims=2),
    "moved down by 2 px": lambda refined, near: refined.roll(2, dims=2),
    "pupil and iris erased": lambda refined, near: torch.where(near, refined.mean(dim=(2, 3), keepdim=True), refined),
    "swapped with another image": lambda refined, near: refined.roll(1, dims=0),
    "collapsed to one image": lambda refined, near: refined[:1].expand_as(refined),
}
"""Changes of refined images (N, C, H, W) that break their labels; ``near`` marks the pixels of the iris."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--page", type=ANY_PATH, default="docs/evaluation.md", help="Page with the markers.")
@click.option("--figures", type=ANY_PATH, default="docs/figures", help="Folder of the plot.")
@click.option("--seed", type=click.IntRange(0), default=171, help="Seed of the eyes.")
def main(page: Path, figures: Path, seed: int) -> None:
    """Measure, and write the tables of the page and the plot."""
    # Render eyes and refine them.
    batch = render_eyes(EyeParameters(images_per_person=1), range(COUNT), seed=seed)
    synthetic, pupils = batch.images, batch.pupil
    refined = Refiner.load("demo", device="cpu")(synthetic)
    rows, columns = torch.arange(synthetic.shape[2]).view(-1, 1), torch.arange(synthetic.shape[3])
    near = torch.hypot(columns - pupils[:, 0].view(-1, 1, 1), rows - pupils[:, 1].view(-1, 1, 1))[:, None] < 7
    # Score the demo refiner and each harmful one.
    lines = ["| change | area under the ROC, labelled | rejected at 1 | area, no labels | rejected at 1 |"]
    lines.append("| --- | --- | --- | --- | --- |")
    intact = [_scores(synthetic, refined, points) for points in (pupils[:, None], None)]
    lines.append(_row("none: the demo refiner", intact, intact))
    curves = {}
    for name, change in HARMFUL.items():
        broken = [_scores(synthetic, change(refined, near), points) for points in (pupils[:, None], None)]
        lines.append(_row(name, intact, broken))
        curves[name] = roc(intact[0], broken[0])
    tables = {
        "planted": "\n".join(lines),
        "cost": _cost(synthetic, refined, pupils),
        "score": _score_cost(synthetic, refined),
    }
    text = page.read_text(encoding="utf-8")
    text, _ = fill_tables(text, tables_of(text) | tables, str(page))
    write_text(page, text)
    write_figure(figures / "drift_roc.svg", plot_roc(curves))
    print(page)


def _scores(synthetic: Tensor, images: Tensor, points: Tensor | None) -> Values:
    return score_drift(synthetic, images, points=points).scores


def roc(intact: Values, broken: Values) -> list[tuple[float, float]]:
    """Return the shares of intact and of broken labels that are rejected, over all limits."""
    limits = np.unique(np.concatenate([intact, broken]))[::-1]
    return [
        (float((intact >= limit).mean()), float((broken >= limit).mean())) for limit in limits[:: len(limits) // 400]
    ]


def area(intact: Values, broken: Values) -> float:
    """Return the area under the ROC: the share of pairs in which the broken label scores higher."""
    order = np.searchsorted(np.sort(intact), broken)
    return float(order.mean() / len(intact))


def _row(name: str, intact: list[Values], broken: list[Values]) -> str:
    cells = []
    for good, bad in zip(intact, broken, strict=True):
        cells += ["" if good is bad else f"{area(good, bad):.3f}", f"{(bad > MAX_DRIFT).mean():.1%}"]
    return f"| {name} | " + " | ".join(cells) + " |"


def _cost(synthetic: Tensor, refined: Tensor, pupils: Tensor) -> str:
    """Return the time of the drift score as a share of that of the paper's network in plain fp32."""
    network = RefinerNetwork().eval()
    images, after, points = synthetic[:64], refined[:64], pupils[:64, None]
    with torch.inference_mode():
        ratios = _interleaved(
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
    """Return the time of a checkpoint score as a share of that of the training steps between two scores."""
    configuration = read_configuration(CONFIGURATION, TrainingConfiguration)
    method = SimGAN(configuration, device="cpu", precision="fp32", task=None)
    selector = CheckpointSelector(
        {"synthetic": synthetic[:IMAGES_PER_DOMAIN], "real": real[:IMAGES_PER_DOMAIN]}, seed=0
    )
    synthetic_batch, real_batch = synthetic[: configuration.batch_size], real[: configuration.batch_size]
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        method.update_refiner(synthetic_batch, generator, adversarial=True)
        method.update_discriminator(synthetic_batch, real_batch, generator, penalize=False)

    ratios = _interleaved(
        {"step": step, "score": lambda: selector.update(method.refine(selector.synthetic), {}, step=0)}
    )
    shares = [ratio / SCORE_EVERY for ratio in ratios["score"]]
    return (
        f"{_spread(shares)} of the training's time, scored every {SCORE_EVERY} steps of `eyes.yaml`{_circumstances()}"
    )


def _interleaved(work: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Return the times of all but the first function, as shares of the first one's, repeat by repeat."""
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
    return f"; {torch.get_num_threads()} threads, {name}; {REPEATS} interleaved repeats."


def plot_roc(curves: dict[str, list[tuple[float, float]]]) -> Figure:
    """Plot the ROC curves, the share of intact labels that are rejected on a logarithmic axis."""
    figure, axes = new_figure(5.6, 3.4)
    for (name, points), colour in zip(curves.items(), COLOURS, strict=True):
        shares = np.array(points)
        axes.plot(np.maximum(shares[:, 0], 1e-3), shares[:, 1], color=colour, linewidth=2, label=name)
    axes.set_xscale("log")
    axes.set_xlim(1e-3, 1)
    label_ticks(axes, [1e-3, 1e-2, 1e-1, 1], ["0.1%", "1%", "10%", "100%"])
    label_ticks(axes, [0, 0.5, 1], ["0%", "50%", "100%"], vertical=True)
    axes.legend(loc="lower right", frameon=False)
    axes.set_xlabel("intact labels rejected")
    axes.set_ylabel("broken labels rejected")
    return figure


if __name__ == "__main__":
    main()
