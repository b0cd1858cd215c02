"""Pictures of results as SVG: dots with intervals, and the error against the number of photographs."""

import math
from collections.abc import Sequence

from refiner.metrics.intervals import Interval, seed_interval
from tools.pages.drawing import (
    COLOURS,
    GREY,
    PALE,
    Axis,
    draw_dot,
    draw_grid,
    draw_line,
    draw_picture,
    draw_text,
    ticks,
)
from tools.study.report.outcomes import Outcome

_RIGHT, _TOP, _BOTTOM, _ROW = 24, 40, 48, 22


def error_dots(outcome: Outcome, protocol: str) -> str:
    """Each arm's mean error with its interval over seeds, and each seed as a small dot, as an SVG."""
    variants = [variant for variant in outcome.variants_of(protocol) if outcome.of(variant, protocol)]
    errors = {variant: list(outcome.errors(variant, protocol).values()) for variant in variants}
    mean = outcome.baseline(protocol, "test_mean_error")
    values = [value for some in errors.values() for value in some] + ([] if mean is None else [mean])
    width, left = 760, 24 + 7 * max(map(len, variants))
    height = _TOP + _ROW * len(variants) + _BOTTOM
    low, high = min(values), max(values)
    axis = Axis(low - 0.1 * (high - low) - 0.1, high + 0.1 * (high - low) + 0.1, left, width - _RIGHT)
    marks = [draw_grid(axis, tick, _TOP, height - _BOTTOM) for tick in ticks(axis.low, axis.high)]
    if mean is not None:
        marks.append(draw_line(axis.at(mean), _TOP, axis.at(mean), height - _BOTTOM, GREY, dashes="5 4"))
        marks.append(draw_text(axis.at(mean), _TOP - 6, "test labels' mean", anchor="middle", colour=GREY))
    for row, (variant, some) in enumerate(errors.items()):
        y = _TOP + _ROW * (row + 0.5)
        marks.append(draw_text(left - 8, y + 4, variant, anchor="end"))
        marks += [draw_dot(axis.at(value), y, 2, GREY) for value in some]
        marks += _arrows(seed_interval(some), axis, y)
        interval = _clipped(seed_interval(some), axis)
        marks.append(draw_line(axis.at(interval.low), y, axis.at(interval.high), y, COLOURS[0], thickness=2))
        marks.append(draw_dot(axis.at(interval.mean), y, 4, COLOURS[0]))
    marks.append(draw_text((left + width - _RIGHT) / 2, height - 10, "mean angular error, degrees", anchor="middle"))
    return draw_picture(width, height, f"{outcome.name}, {protocol}", marks)


def photograph_curve(outcome: Outcome, protocol: str) -> str:
    """Error against the number of photographs, on a logarithmic axis, one line for each kind of arm, as an SVG."""
    curves = [_points(outcome, protocol, names) for names in outcome.curves(protocol)]
    curves = [points for points in curves if points]
    width, height, left = 560, 380, 56
    counts = sorted({count for points in curves for count, _, _ in points})
    bounds = [bound for points in curves for _, _, interval in points for bound in interval if math.isfinite(bound)]
    low, high = min(bounds), max(bounds)
    up = Axis(low - 0.1 * (high - low) - 0.1, high + 0.1 * (high - low) + 0.1, height - _BOTTOM, _TOP)
    along = Axis(math.log(counts[0]) - 0.3, math.log(counts[-1]) + 0.3, left, width - _RIGHT)
    marks = []
    for tick in ticks(up.low, up.high):
        marks.append(draw_line(left, up.at(tick), width - _RIGHT, up.at(tick), PALE))
        marks.append(draw_text(left - 7, up.at(tick) + 4, f"{tick:g}", anchor="end"))
    marks += [draw_text(along.at(math.log(n)), height - _BOTTOM + 17, f"{n:g}", anchor="middle") for n in counts]
    for number, points in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        places = [(along.at(math.log(count)), up.at(interval.mean)) for count, _, interval in points]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        marks.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), (_, _, interval) in zip(places, points, strict=True):
            shown = _clipped(interval, up)
            marks.append(draw_line(x, up.at(shown.low), x, up.at(shown.high), colour))
            marks.append(draw_dot(x, y, 4, colour))
        # Above the intervals that the name would cross.
        top = min(up.at(_clipped(interval, up).high) for count, _, interval in points if count >= counts[-1] / 4)
        marks.append(draw_text(places[-1][0], top - 8, points[-1][1], anchor="end", colour=colour))
    marks.append(draw_text((left + width - _RIGHT) / 2, height - 10, "real", anchor="middle"))
    return draw_picture(width, height, f"{outcome.name}, {protocol}: error, degrees", marks)


def _points(outcome: Outcome, protocol: str, names: Sequence[str]) -> list[tuple[int, str, Interval]]:
    """Number of photographs, arm and error of each arm of a curve that has results."""
    points = []
    for name in names:
        results = outcome.of(name, protocol)
        if results:
            known = max(result["real"] for result in results.values())
            points.append((known, name, seed_interval(list(outcome.errors(name, protocol).values()))))
    return points


def _clipped(interval: Interval, axis: Axis) -> Interval:
    """An interval inside the picture; a single seed has none."""
    if not math.isfinite(interval.low):
        return Interval(interval.mean, interval.mean, interval.mean)
    return Interval(interval.mean, max(interval.low, axis.low), min(interval.high, axis.high))


def _arrows(interval: Interval, axis: Axis, y: float) -> list[str]:
    """Where an interval goes on outside the picture."""
    ends = (
        (math.isfinite(interval.low) and interval.low < axis.low, axis.first, -7),
        (math.isfinite(interval.high) and interval.high > axis.high, axis.last, 7),
    )
    return [
        f'<path d="M {x + size:.1f} {y:.1f} l {-size} -4 v 8 z" fill="{COLOURS[0]}"/>' for cut, x, size in ends if cut
    ]
