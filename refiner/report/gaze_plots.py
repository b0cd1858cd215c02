"""Plots of a gaze test as SVG: predicted against true angles, and the distribution of errors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.files import write_text
from refiner.data.labels.angles import angular_error_degrees
from refiner.gaze.evaluation import LIMITS, EstimatorTest
from refiner.report.svg import Axes, Margins, document, dots, line, text, ticks

WIDTH, HEIGHT = 420, 420
_MARGINS = Margins(left=56, right=16, top=36, bottom=48)
_INK, _PALE, _BLUE, _GREY = "#222222", "#e3e3e3", "#1f6fb4", "#888888"
_MAX_POINTS = 5000  # in one picture, spread evenly over all


def write_plots(folder: Path, test: EstimatorTest) -> list[Path]:
    """Write ``pitch.svg``, ``yaw.svg`` and ``errors.svg``; several estimators share each plot.

    Returns:
        The files.

    Raises:
        OutputError: a file cannot be written.
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
    """Plot predicted against true angles, with the identity line.

    Args:
        name: name of the angle.
        true: (N,), degrees.
        predicted: (estimators, N), degrees.
    """
    # The range leaves out the most extreme 0.2 % on either side.
    low, high = (float(bound) for bound in np.percentile(np.concatenate([true, predicted.ravel()]), [0.2, 99.8]))
    margin = max(0.05 * (high - low), 0.5)
    axes = _axes(low - margin, high + margin, low - margin, high + margin)
    marks = []
    chosen = np.linspace(0, len(true) - 1, min(len(true), _MAX_POINTS // len(predicted) + 1)).astype(int)
    for angles in predicted:
        inside = (angles[chosen] > axes.bottom) & (angles[chosen] < axes.top)
        inside &= (true[chosen] > axes.low) & (true[chosen] < axes.high)
        marks.append(dots(axes, true[chosen][inside], angles[chosen][inside], colour=_BLUE, size=4, opacity=0.3))
    corners = [(axes.low, axes.low), (axes.high, axes.high)]
    marks.append(_line(axes, corners, _INK, width=1))
    angle_ticks = ticks(axes.low, axes.high)
    return _picture(axes, f"{name}, degrees", ("true", "predicted"), (angle_ticks, angle_ticks), marks)


def error_curve(test: EstimatorTest) -> str:
    """Plot the share of images within an error: one line per estimator, and a dashed one for the test labels' mean."""
    errors = [angular_error_degrees(angles, test.true) for angles in test.predicted]
    constant = angular_error_degrees(np.broadcast_to(test.true.mean(axis=0), test.true.shape), test.true)
    last = float(max(np.percentile([*errors, constant], 98), max(LIMITS)))
    axes = _axes(0.0, last, 0.0, 100.0)
    # The key is at the lower right, where no curve goes.
    x, y = axes.right_edge - 8, axes.bottom_edge - 14
    marks = [
        _shares(axes, constant, _GREY, dashes="5 4"),
        *(_shares(axes, values, _BLUE) for values in errors),
        _text(x, y - 18, "estimator", anchor="end", colour=_BLUE),
        _text(x, y, "mean of the test labels", anchor="end", colour=_GREY),
    ]
    shares = np.array([0.0, 25, 50, 75, 100])
    return _picture(axes, "Images within an error", ("error, degrees", ""), (ticks(0, last), shares), marks, y_unit="%")


def _shares(axes: Axes, errors: Any, colour: str, dashes: str = "") -> str:
    """Draw the share of errors, in percent, below each error on the x axis."""
    levels = np.linspace(axes.low, axes.high, 200)
    shares = np.searchsorted(np.sort(errors), levels, side="right") / len(errors) * 100
    return _line(axes, list(zip(levels, shares, strict=True)), colour, width=2, dashes=dashes)


def _axes(low: float, high: float, bottom: float, top: float) -> Axes:
    return Axes(WIDTH, HEIGHT, _MARGINS, low, high, bottom, top)


def _picture(
    axes: Axes,
    title: str,
    names: tuple[str, str],
    tick_values: tuple[Any, Any],
    marks: Sequence[str],
    *,
    y_unit: str = "",
) -> str:
    """Draw title, grid, ticks and axis names (x, y) around the marks."""
    elements = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', _text(axes.left_edge, 22, title, size=15)]
    # Draw the grid below the marks.
    for tick in tick_values[0]:
        elements.append(_line(axes, [(tick, axes.bottom), (tick, axes.top)], _PALE, width=1))
        elements.append(_text(axes.x(tick), axes.bottom_edge + 17, f"{tick:g}", anchor="middle"))
    for tick in tick_values[1]:
        elements.append(_line(axes, [(axes.low, tick), (axes.high, tick)], _PALE, width=1))
        elements.append(_text(axes.left_edge - 7, axes.y(tick) + 4, f"{tick:g}{y_unit}", anchor="end"))
    elements += marks
    # Name the axes.
    elements.append(_text((axes.left_edge + axes.right_edge) / 2, HEIGHT - 10, names[0], anchor="middle"))
    middle = (axes.bottom_edge + axes.top_edge) / 2
    y_name = _text(0, 0, names[1], anchor="middle")
    elements.append(f'<g transform="translate(16 {middle:.0f}) rotate(-90)">{y_name}</g>')
    attributes = f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12"'
    return document(WIDTH, HEIGHT, elements, attributes=attributes)


def _line(axes: Axes, points: Sequence[tuple[float, float]], colour: str, *, width: float, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return line(axes, points, f'fill="none" stroke="{colour}" stroke-width="{width}"{dashed}')


def _text(x: float, y: float, content: str, *, anchor: str = "start", size: int = 12, colour: str = _INK) -> str:
    return text(x, y, content, anchor=anchor, style=f'font-size="{size}" fill="{colour}"')
