"""Training curves as small SVG pictures with one line each."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from refiner.report.svg import Axes, Margins, document, line, text

WIDTH, HEIGHT = 280, 150
_MARGINS = Margins(left=44, right=8, top=24, bottom=22)

CURVES = {
    "adversarial": "adversarial loss of the refiner",
    "self_regularization": "self-regularization loss",
    "motion": "apparent motion, px",
    "consistency": "change of the estimated gaze, rad",
    "discriminator_loss": "discriminator loss",
    "accuracy_refined": "discriminator accuracy on refined",
    "accuracy_real": "discriminator accuracy on real",
    "change": "mean change, of [-1, 1]",
    "diversity": "diversity relative to the renders",
}
"""Titles of the metrics that are drawn, by their key in ``metrics.jsonl``."""


def training_curves(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Draw one SVG picture for each metric in ``metrics.jsonl``.

    Args:
        rows: lines of the file, each with ``step``.

    Returns:
        Pictures of the metrics of :data:`CURVES` that have at least two finite values.
    """
    pictures = []
    for key, title in CURVES.items():
        points = [(float(row["step"]), float(row[key])) for row in rows if key in row and math.isfinite(row[key])]
        if len(points) > 1:
            pictures.append(curve(title, points))
    return pictures


def curve(title: str, points: Sequence[tuple[float, float]]) -> str:
    """Draw one line over steps.

    Args:
        title: title above the line.
        points: (step, value), at least two, with rising steps.
    """
    (first, start), (last, end) = points[0], points[-1]
    low, high = min(value for _, value in points), max(value for _, value in points)
    # A constant still needs a range to be drawn in.
    bottom, top = (low - 0.5, high + 0.5) if high - low < 1e-12 else (low, high)
    axes = Axes(WIDTH, HEIGHT, _MARGINS, first, last, bottom, top)
    elements = [
        text(axes.left_edge, 14, title, style='class="title"'),
        f'<path d="M{axes.left_edge} {axes.top_edge}V{axes.bottom_edge}H{axes.right_edge}" class="axis"/>',
        text(axes.left_edge - 4, axes.top_edge + 8, f"{top:.3g}", anchor="end"),
        text(axes.left_edge - 4, axes.bottom_edge, f"{bottom:.3g}", anchor="end"),
        text(axes.left_edge, HEIGHT - 6, f"{first:g}"),
        text(axes.right_edge, HEIGHT - 6, f"step {last:g}", anchor="end"),
        line(axes, points, 'class="line"'),
    ]
    label = escape(f"{title}: from {start:.3g} to {end:.3g}")
    return document(WIDTH, HEIGHT, elements, attributes=f'role="img" aria-label="{label}"')
