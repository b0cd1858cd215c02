"""Figures of results: errors with intervals, and the error against the number of real images."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from refiner.metrics.intervals import Interval
from tools.pages.drawing import COLOURS, GREY, label_ticks, new_figure
from tools.study.report.outcomes import Outcome


def error_dots(outcome: Outcome, protocol: str) -> Figure:
    """Plot the mean error of each variant with its interval, and each seed as a small dot."""
    variants = [variant for variant in outcome.variants_of(protocol) if outcome.of(variant, protocol)]
    errors = {variant: list(outcome.errors(variant, protocol).values()) for variant in variants}
    constant = outcome.baseline(protocol, "test_mean_error")
    values = [value for some in errors.values() for value in some] + ([] if constant is None else [constant])
    figure, axes = new_figure(7.6, 1.2 + 0.22 * len(variants), f"{outcome.name}, {protocol}")
    # The axis shows all seeds; wide intervals of few seeds end in an arrow.
    low, high = min(values), max(values)
    margin = 0.1 * (high - low) + 0.1
    low, high = low - margin, high + margin
    axes.set_xlim(low, high)
    for row, (variant, some) in enumerate(errors.items()):
        whole = outcome.interval(variant, protocol)
        assert whole is not None
        interval = _clipped(whole, low, high)
        axes.scatter(some, [row] * len(some), s=8, color=GREY, zorder=3, clip_on=False)
        axes.plot([interval.low, interval.high], [row, row], color=COLOURS[0], linewidth=2)
        axes.plot(interval.mean, row, "o", color=COLOURS[0], markersize=6)
        for bound, end, marker in ((interval.low, low, "<"), (interval.high, high, ">")):
            if bound == end:
                axes.plot(end, row, marker, color=COLOURS[0], markersize=6, clip_on=False)
    if constant is not None:
        line = axes.axvline(constant, color=GREY, linestyle="--", linewidth=1)
        axes.legend([line], ["mean of the test labels"], loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    axes.set_yticks(range(len(variants)), variants)
    axes.set_ylim(len(variants) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("mean angular error, degrees")
    return figure


def real_count_curve(outcome: Outcome, protocol: str) -> Figure:
    """Plot the error against the number of real images on a logarithmic axis, a line for each kind of variant."""
    curves = [points for names in outcome.curves(protocol) if (points := _points(outcome, protocol, names))]
    figure, axes = new_figure(5.6, 3.8, f"{outcome.name}, {protocol}")
    counts = sorted({count for points in curves for count, _, _ in points})
    bounds = [bound for points in curves for _, _, interval in points for bound in interval if math.isfinite(bound)]
    low, high = min(bounds), max(bounds)
    margin = 0.1 * (high - low) + 0.1
    axes.set_xscale("log")
    axes.set_xlim(counts[0] / 1.35, counts[-1] * 1.35)
    axes.set_ylim(low - margin, high + margin)
    label_ticks(axes, counts, [f"{count:g}" for count in counts])
    handles: list[Line2D] = []
    for number, points in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        places = [count for count, _, _ in points]
        handles += axes.plot(places, [one.mean for _, _, one in points], "o-", color=colour, label=points[-1][1])
        shown = [_clipped(interval, low - margin, high + margin) for _, _, interval in points]
        axes.vlines(places, [one.low for one in shown], [one.high for one in shown], color=colour, linewidth=1)
    axes.legend(handles=handles, frameon=False)
    axes.set_xlabel("number of real images")
    axes.set_ylabel("mean angular error, degrees")
    return figure


def _points(outcome: Outcome, protocol: str, names: Sequence[str]) -> list[tuple[int, str, Interval]]:
    """Return number of real images, name and error of each variant of a curve that has results."""
    points = []
    for name in names:
        interval = outcome.interval(name, protocol)
        if interval is not None:
            known = max(result["real_count"] for result in outcome.of(name, protocol).values())
            points.append((known, name, interval))
    return points


def _clipped(interval: Interval, low: float, high: float) -> Interval:
    """Clip an interval to the axis; a single seed has no interval."""
    if not math.isfinite(interval.low):
        return Interval(interval.mean, interval.mean, interval.mean)
    return Interval(interval.mean, max(interval.low, low), min(interval.high, high))
