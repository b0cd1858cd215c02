"""The presets' cost beside their quality: what ``tools/presets.py`` measured and the study of that name found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from refiner.metrics.intervals import seed_interval
from tools.pages.drawing import COLOURS, PALE, Axis, draw_dot, draw_line, draw_picture, draw_text, ticks
from tools.study.report.outcomes import Outcome, read_outcomes

PROTOCOL, REFERENCE = "transductive", "paper_network"
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 560, 340, 56, 96, 40, 48


def read_study(results: Path) -> Outcome | None:
    """The study of presets, where its results are."""
    return next((outcome for outcome in read_outcomes(results) if outcome.name == "presets"), None)


def preset_table(found: dict[str, Any], study: Outcome | None) -> str:
    """Markdown: a row for each preset."""
    processor = found["environment"]["processor"]
    lines = [
        f"{processor['name']}, {' '.join(processor['features'])}, {found['environment']['threads']} threads; ratios to "
        f"the paper's network in plain fp32 ({found['plain']:,.0f} images/s).",
        "",
        "| preset | parameters | images a second | ratio | gaze error | less that of the paper's network | drift, px "
        "| told apart |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, preset in found["presets"].items():
        rate = f"{preset['rate']:,.0f} [{preset['low']:,.0f}, {preset['high']:,.0f}] {preset['backend']}"
        row = [f"`{name}`", f"{preset['parameters']:,}", rate, f"{preset['ratio']:.1f}", *_quality(name, study)]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _quality(name: str, study: Outcome | None) -> list[str]:
    """Error, difference to the paper's network, drift and realism, as the study has them."""
    results = {} if study is None else study.of(name, PROTOCOL)
    if study is None or not results:
        return ["not studied", "", "", ""]
    error = str(seed_interval(list(study.errors(name, PROTOCOL).values())))
    found = None if name == REFERENCE else study.difference(name, REFERENCE, PROTOCOL)
    difference = "" if found is None else str(found.degrees)
    return [error, difference, _mean(results, lambda s: s["drift_distance"], "{:.2f}"), _mean(results, _told, "{:.0%}")]


def _told(scores: dict[str, Any]) -> float:
    return float(scores["c2st_accuracy"])


def _mean(results: dict[int, dict[str, Any]], value: Callable[[dict[str, Any]], float], form: str) -> str:
    return form.format(float(np.mean([value(result["scores"]) for result in results.values()])))


def preset_picture(found: dict[str, Any], study: Outcome | None) -> str | None:
    """Gaze error against cost, as an SVG; None without the study."""
    if study is None:
        return None
    points = [
        (np.log10(preset["ratio"]), seed_interval(list(study.errors(name, PROTOCOL).values())), name)
        for name, preset in found["presets"].items()
        if study.of(name, PROTOCOL)
    ]
    if not points:
        return None
    bounds = [bound for _, interval, _ in points for bound in interval[1:] if np.isfinite(bound)]
    bounds += [interval.mean for _, interval, _ in points]
    margin = 0.1 * (max(bounds) - min(bounds)) + 0.05
    up = Axis(min(bounds) - margin, max(bounds) + margin, _HEIGHT - _BOTTOM, _TOP)
    ratios = [x for x, _, _ in points]
    along = Axis(min(ratios) - 0.1, max(ratios) + 0.1, _LEFT, _WIDTH - _RIGHT)
    marks = []
    for tick in ticks(up.low, up.high):
        marks.append(draw_line(_LEFT, up.at(tick), _WIDTH - _RIGHT, up.at(tick), PALE))
        marks.append(draw_text(_LEFT - 6, up.at(tick) + 4, f"{tick:g}", anchor="end"))
    for x, interval, name in points:
        place, low, high = along.at(x), max(interval.low, up.low), min(interval.high, up.high)
        marks.append(draw_line(place, up.at(low), place, up.at(high), COLOURS[0], thickness=2))
        marks.append(draw_dot(place, up.at(interval.mean), 4, COLOURS[0]))
        marks.append(draw_text(place + 8, up.at(interval.mean) + 4, name))
    for ratio in (1, 2, 5, 10, 20, 50, 100):
        if along.low <= np.log10(ratio) <= along.high:
            marks.append(draw_text(along.at(np.log10(ratio)), _HEIGHT - _BOTTOM + 17, f"{ratio}", anchor="middle"))
    label = "images a second, times the plain paper network"
    marks.append(draw_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, label, anchor="middle"))
    return draw_picture(_WIDTH, _HEIGHT, "presets: gaze error in degrees, by speed", marks)
