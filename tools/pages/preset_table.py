"""Table and plot of the presets: their speed, and their quality in the study of that name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from refiner.metrics.intervals import seed_interval
from tools.pages.drawing import COLOURS, label_ticks, new_figure
from tools.study.report.outcomes import Outcome, read_outcomes

PROTOCOL, REFERENCE = "transductive", "paper_network"

RATIOS = (1, 2, 5, 10, 20, 50, 100)
"""Ticks of the axis of speed."""


def read_study(results: Path) -> Outcome | None:
    """Read the study of presets; None if there are no results of it."""
    return next((outcome for outcome in read_outcomes(results) if outcome.name == "presets"), None)


def preset_table(found: dict[str, Any], study: Outcome | None) -> str:
    """Return a Markdown table with a row for each preset."""
    processor = found["environment"]["processor"]
    lines = [
        f"{processor['name']}, {' '.join(processor['features'])}, {found['environment']['threads']} threads; ratios to "
        f"the paper's network in plain fp32 ({found['plain']:,.0f} images/s).",
        "",
        "| preset | parameters | images a second | ratio | gaze error | less that of the paper's network | drift, px "
        "| C2ST accuracy |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, preset in found["presets"].items():
        rate = f"{preset['rate']:,.0f} [{preset['low']:,.0f}, {preset['high']:,.0f}] {preset['backend']}"
        row = [f"`{name}`", f"{preset['parameters']:,}", rate, f"{preset['ratio']:.1f}", *_quality(name, study)]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _quality(name: str, study: Outcome | None) -> list[str]:
    """Return error, difference to the paper's network, drift and realism of a preset in the study."""
    results = {} if study is None else study.of(name, PROTOCOL)
    if study is None or not results:
        return ["not studied", "", "", ""]
    error = str(seed_interval(list(study.errors(name, PROTOCOL).values())))
    found = None if name == REFERENCE else study.difference(name, REFERENCE, PROTOCOL)
    difference = "" if found is None else str(found.degrees)
    drift = _mean(results, lambda scores: scores["drift_distance"], "{:.2f}")
    return [error, difference, drift, _mean(results, lambda scores: scores["c2st_accuracy"], "{:.0%}")]


def _mean(results: dict[int, dict[str, Any]], value: Callable[[dict[str, Any]], float], form: str) -> str:
    return form.format(float(np.mean([value(result["scores"]) for result in results.values()])))


def preset_plot(found: dict[str, Any], study: Outcome) -> Figure | None:
    """Plot the gaze error against the speed; None if the study has no results of a preset."""
    points = [
        (preset["ratio"], seed_interval(list(study.errors(name, PROTOCOL).values())), name)
        for name, preset in found["presets"].items()
        if study.of(name, PROTOCOL)
    ]
    if not points:
        return None
    figure, axes = new_figure(5.6, 3.4, "presets: gaze error by speed")
    axes.set_xscale("log")
    for ratio, interval, name in points:
        axes.plot(ratio, interval.mean, "o", color=COLOURS[0])
        if np.isfinite(interval.low):
            axes.vlines(ratio, interval.low, interval.high, color=COLOURS[0], linewidth=2)
        axes.annotate(name, (ratio, interval.mean), xytext=(7, -3), textcoords="offset points")
    fastest, slowest = max(ratio for ratio, _, _ in points), min(ratio for ratio, _, _ in points)
    axes.set_xlim(slowest / 1.25, fastest * 2)
    shown = [ratio for ratio in RATIOS if slowest / 1.25 <= ratio <= fastest * 2]
    label_ticks(axes, shown, [str(ratio) for ratio in shown])
    axes.set_xlabel("images a second, relative to the paper's network in plain fp32")
    axes.set_ylabel("mean angular error, degrees")
    return figure
