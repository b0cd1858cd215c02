"""Lines, dots and texts of SVG pictures."""

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

import numpy as np

INK, PALE, GREY = "#222222", "#e3e3e3", "#888888"
COLOURS = ("#1f6fb4", "#c8553d", "#3c8d5a", "#8a5fb0")


class Axis(NamedTuple):
    """A range of values on a range of pixels."""

    low: float
    high: float
    first: float
    last: float

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers inside a range, four to nine of them."""
    rough = (high - low) / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.75)
    return [round(float(tick), 6) for tick in np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step]


def draw_picture(width: int, height: int, title: str, marks: Sequence[str]) -> str:
    """A whole SVG of marks, under a title."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">'
    )
    return "\n".join(
        [
            head,
            f'<rect width="{width}" height="{height}" fill="white"/>',
            draw_text(12, 20, title),
            *marks,
            "</svg>",
            "",
        ]
    )


def draw_grid(axis: Axis, tick: float, top: float, bottom: float) -> str:
    """A pale line down the picture, with its value below."""
    return draw_line(axis.at(tick), top, axis.at(tick), bottom, PALE) + draw_text(
        axis.at(tick), bottom + 17, f"{tick:g}", anchor="middle"
    )


def draw_line(
    x: float, y: float, to_x: float, to_y: float, colour: str, *, thickness: float = 1, dashes: str = ""
) -> str:
    """A straight line."""
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    ends = f'x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{thickness:g}"{dashed}/>'


def draw_dot(x: float, y: float, radius: float, colour: str) -> str:
    """A filled circle."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"/>'


def draw_text(x: float, y: float, words: str, *, anchor: str = "start", colour: str = INK) -> str:
    """Words on one line; ``anchor`` is start, middle or end."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'
