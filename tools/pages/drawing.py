"""Plots of the documentation: matplotlib figures, and SVG files that are equal byte for byte at every run."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from refiner.core.files import write_text

COLOURS = ("#1f6fb4", "#c8553d", "#3c8d5a", "#8a5fb0", "#222222")
GREY = "#888888"

mpl.rcParams.update(
    {
        "svg.hashsalt": "simgan-refiner",  # ids of elements do not change from run to run
        "svg.fonttype": "none",  # text stays text
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e3e3e3",
    }
)


def new_figure(width: float, height: float, title: str = "") -> tuple[Figure, Axes]:
    """Return a figure of a size in inches, and its only axes."""
    figure = Figure((width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    return figure, axes


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as SVG, without a date and without the version of matplotlib."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r"[ \t]+$", "", stream.getvalue(), flags=re.M)
    write_text(path, text)


def label_ticks(axes: Axes, values: Sequence[float], labels: Sequence[str], *, vertical: bool = False) -> None:
    """Put ticks at the given values only, with the given labels; works on logarithmic axes, too."""
    axis = axes.yaxis if vertical else axes.xaxis
    by_value = dict(zip(values, labels, strict=True))
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: by_value.get(value, f"{value:g}")))


def label_decades(axes: Axes) -> None:
    """Label 1, 2 and 5 times each power of ten on a logarithmic vertical axis, and round numbers on a short one."""
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 5 * low else MaxNLocator(5))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
