"""Line and scatter plots as SVG text; no plotting package is needed.

An :class:`Axes` maps data to picture coordinates. The other functions return single SVG elements.
"""

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np


class Margins(NamedTuple):
    """Space around the data, in picture units."""

    left: float
    right: float
    top: float
    bottom: float


class Axes(NamedTuple):
    """Mapping from a range of data to a picture, whose y axis points down.

    Attributes:
        width, height: size of the picture.
        margins: space around the data.
        low, high: range of x.
        bottom, top: range of y.
    """

    width: float
    height: float
    margins: Margins
    low: float
    high: float
    bottom: float
    top: float

    @property
    def left_edge(self) -> float:
        """Picture x of the left end of the data."""
        return self.margins.left

    @property
    def right_edge(self) -> float:
        """Picture x of the right end of the data."""
        return self.width - self.margins.right

    @property
    def top_edge(self) -> float:
        """Picture y of the upper end of the data."""
        return self.margins.top

    @property
    def bottom_edge(self) -> float:
        """Picture y of the lower end of the data."""
        return self.height - self.margins.bottom

    def x(self, value: Any) -> Any:
        """Return the picture x of a number or an array."""
        return self.left_edge + (value - self.low) / (self.high - self.low) * (self.right_edge - self.left_edge)

    def y(self, value: Any) -> Any:
        """Return the picture y of a number or an array."""
        return self.bottom_edge - (value - self.bottom) / (self.top - self.bottom) * (self.bottom_edge - self.top_edge)


def document(width: float, height: float, elements: Sequence[str], *, attributes: str = "") -> str:
    """Return a whole picture.

    Args:
        width, height: size of the picture.
        elements: SVG elements, the lowest first.
        attributes: further attributes of the svg element, escaped.
    """
    extra = f" {attributes}" if attributes else ""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"{extra}>'
    return "\n".join([head, *elements, "</svg>", ""])


def line(axes: Axes, points: Sequence[tuple[float, float]], style: str) -> str:
    """Return a line through data points.

    Args:
        axes: the mapping to the picture.
        points: (x, y) in data coordinates.
        style: attributes that style the line, such as ``class="line"``.
    """
    places = " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in points)
    return f'<polyline points="{places}" {style}/>'


def dots(axes: Axes, x: Any, y: Any, *, colour: str, size: float, opacity: float) -> str:
    """Return round dots as a single element.

    Args:
        axes: the mapping to the picture.
        x, y: (N,), data coordinates.
        colour, size, opacity: colour, diameter and opacity of a dot.
    """
    path = "".join(f"M{left:.1f} {down:.1f}h0" for left, down in zip(axes.x(x), axes.y(y), strict=True))
    return (
        f'<path d="{path}" stroke="{colour}" stroke-opacity="{opacity}" stroke-width="{size}" stroke-linecap="round"/>'
    )


def text(x: float, y: float, content: str, *, anchor: str = "start", style: str = "") -> str:
    """Return a text at picture coordinates; the content is escaped.

    Args:
        x, y: picture coordinates of the anchor, on the base line.
        content: the text.
        anchor: ``start``, ``middle`` or ``end``.
        style: attributes that style the text.
    """
    extra = f" {style}" if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{escape(content)}</text>'


def ticks(low: float, high: float) -> Any:
    """Return round numbers inside a range, four to nine of them."""
    rough = (high - low) / 5
    unit = 10 ** np.floor(np.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.75)
    return np.round(np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step, 6)
