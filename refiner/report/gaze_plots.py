"""Pictures of a test as SVG: predicted against true angles, and how the errors add up. No plotting package needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refiner.core.files import write_text
from refiner.data.labels.angles import angular_error_degrees
from refiner.gaze.evaluation import LIMITS, Test

WIDTH, HEIGHT = 420, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 36, 48
_INK, _PALE, _BLUE, _GREY = "#222222", "#e3e3e3", "#1f6fb4", "#888888"
_POINTS = 5000  # at most, drawn evenly from all


class _Axes(NamedTuple):
    """The data range that the frame shows."""

    low: float
    high: float
    bottom: float
    top: float

    def x(self, value: Any) -> Any:
        return _LEFT + (value - self.low) / (self.high - self.low) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: Any) -> Any:
        return HEIGHT - _BOTTOM - (value - self.bottom) / (self.top - self.bottom) * (HEIGHT - _TOP - _BOTTOM)


def write_plots(folder: Path, test: Test) -> list[Path]:
    """Write ``pitch.svg``, ``yaw.svg`` and ``errors.svg``; several estimators are drawn over one another.

    Raises:
        OutputError: they cannot be written.
    """
    pictures = {
        "pitch": scatter("Pitch", np.degrees(test.true[:, 0]), np.degrees(test.predicted[:, :, 0])),
        "yaw": scatter("Yaw", np.degrees(test.true[:, 1]), np.degrees(test.predicted[:, :, 1])),
        "errors": error_curve(test),
    }
    for name, picture in pictures.items():
        write_text(folder / f"{name}.svg", picture)
    return [folder / f"{name}.svg" for name in pictures]


def scatter(name: str, true: Any, predicted: Any) -> str:
    """Predicted against true angles as an SVG.

    Args:
        name: of the angle.
        true: (N,), degrees.
        predicted: (estimators, N), degrees.
    """
    low, high = (float(bound) for bound in np.percentile(np.concatenate([true, predicted.ravel()]), [0.2, 99.8]))
    margin = max(0.05 * (high - low), 0.5)
    axes = _Axes(low - margin, high + margin, low - margin, high + margin)
    marks = []
    chosen = np.linspace(0, len(true) - 1, min(len(true), _POINTS // len(predicted) + 1)).astype(int)
    for angles in predicted:
        inside = (angles[chosen] > axes.bottom) & (angles[chosen] < axes.top)
        inside &= (true[chosen] > axes.low) & (true[chosen] < axes.high)
        places = zip(axes.x(true[chosen][inside]), axes.y(angles[chosen][inside]), strict=True)
        path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)
        marks.append(
            f'<path d="{path}" stroke="{_BLUE}" stroke-opacity="0.3" stroke-width="4" stroke-linecap="round"/>'
        )
    corners = [(axes.low, axes.low), (axes.high, axes.high)]
    marks.append(_line(axes, corners, _INK, width=1))
    return _picture(f"{name}, degrees", "true", "predicted", axes, _ticks(axes.low, axes.high), "", marks)


def error_curve(test: Test) -> str:
    """Share of images within an angle as an SVG: a line for each estimator, a dashed one for the test labels' mean."""
    errors = [angular_error_degrees(angles, test.true) for angles in test.predicted]
    constant = angular_error_degrees(np.broadcast_to(test.true.mean(axis=0), test.true.shape), test.true)
    last = float(max(np.percentile([*errors, constant], 98), max(LIMITS)))
    axes = _Axes(0.0, last, 0.0, 100.0)
    marks = [_curve(axes, constant, _GREY, dashes="5 4"), *(_curve(axes, values, _BLUE) for values in errors)]
    x, y = WIDTH - _RIGHT - 8, HEIGHT - _BOTTOM - 14
    marks.append(_text(x, y - 18, "estimator", anchor="end", colour=_BLUE))
    marks.append(_text(x, y, "mean of the test labels", anchor="end", colour=_GREY))
    ticks = np.array([0.0, 25, 50, 75, 100])
    return _picture("Images within an error", "error, degrees", "", axes, _ticks(0, last), "%", marks, ticks)


def _curve(axes: _Axes, errors: Any, colour: str, dashes: str = "") -> str:
    levels = np.linspace(axes.low, axes.high, 200)
    shares = np.searchsorted(np.sort(errors), levels, side="right") / len(errors) * 100
    return _line(axes, list(zip(levels, shares, strict=True)), colour, width=2, dashes=dashes)


def _picture(
    title: str,
    x_name: str,
    y_name: str,
    axes: _Axes,
    x_ticks: Any,
    y_unit: str,
    marks: Sequence[str],
    y_ticks: Any = None,
) -> str:
    """The frame with grid, ticks and names around the marks."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(_LEFT, 22, title, size=15),
    ]
    for tick in x_ticks:
        parts.append(_line(axes, [(tick, axes.bottom), (tick, axes.top)], _PALE, width=1))
        parts.append(_text(axes.x(tick), HEIGHT - _BOTTOM + 17, f"{tick:g}", anchor="middle"))
    for tick in x_ticks if y_ticks is None else y_ticks:
        parts.append(_line(axes, [(axes.low, tick), (axes.high, tick)], _PALE, width=1))
        parts.append(_text(_LEFT - 7, axes.y(tick) + 4, f"{tick:g}{y_unit}", anchor="end"))
    parts += marks
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 10, x_name, anchor="middle"))
    middle = (HEIGHT - _BOTTOM + _TOP) / 2
    parts.append(f'<g transform="translate(16 {middle:.0f}) rotate(-90)">{_text(0, 0, y_name, anchor="middle")}</g>')
    return "\n".join([*parts, "</svg>", ""])


def _line(axes: _Axes, points: Sequence[tuple[float, float]], colour: str, *, width: float, dashes: str = "") -> str:
    places = " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in points)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="{width}"{dashed}/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, colour: str = _INK) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size}" fill="{colour}">{text}</text>'


def _ticks(low: float, high: float) -> Any:
    """Round numbers inside a range, four to nine of them."""
    rough = (high - low) / 5
    unit = 10 ** np.floor(np.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.75)
    return np.round(np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step, 6)
