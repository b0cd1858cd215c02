"""Training curves as SVG, small multiples of one line each. No plotting package needed."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 280, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 24, 22

CURVES = {
    "adversarial": "adversarial loss of the refiner",
    "self_regularization": "self-regularization",
    "motion": "apparent motion, px",
    "consistency": "change of the estimator's answers, rad",
    "discriminator_loss": "loss of the discriminator",
    "accuracy_refined": "discriminator right on refined",
    "accuracy_real": "discriminator right on real",
    "change": "mean change, of [-1, 1]",
    "diversity": "diversity, share of the renders'",
}
"""Metrics that are drawn where a run has them, and their titles."""


def training_curves(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """An SVG for each metric of ``metrics.jsonl``.

    Args:
        rows: of the file, each with ``step``.
    """
    pictures = []
    for key, title in CURVES.items():
        points = [(float(row["step"]), float(row[key])) for row in rows if key in row and math.isfinite(row[key])]
        if len(points) > 1:
            pictures.append(curve(title, points))
    return pictures


def curve(title: str, points: Sequence[tuple[float, float]]) -> str:
    """One line over steps.

    Args:
        title: stands above.
        points: (step, value), at least two, steps rising.
    """
    (first, _), (last, _) = points[0], points[-1]
    low, high = min(value for _, value in points), max(value for _, value in points)
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    across = (WIDTH - _LEFT - _RIGHT) / (last - first)
    up = (HEIGHT - _TOP - _BOTTOM) / (high - low)
    places = " ".join(
        f"{_LEFT + (step - first) * across:.1f},{HEIGHT - _BOTTOM - (value - low) * up:.1f}" for step, value in points
    )
    bottom = HEIGHT - _BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}: from {points[0][1]:.3g} to {points[-1][1]:.3g}">'
        f'<text x="{_LEFT}" y="14" class="title">{escape(title)}</text>'
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{WIDTH - _RIGHT}" class="axis"/>'
        f'<text x="{_LEFT - 4}" y="{_TOP + 8}" text-anchor="end">{high:.3g}</text>'
        f'<text x="{_LEFT - 4}" y="{bottom}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{_LEFT}" y="{HEIGHT - 6}">{first:g}</text>'
        f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 6}" text-anchor="end">step {last:g}</text>'
        f'<polyline points="{places}" class="line"/></svg>'
    )
