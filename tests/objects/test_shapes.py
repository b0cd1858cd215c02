"""Rays meet each shape where an independent test of inside and outside says so."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from refiner.objects.shapes import SHAPES

STAR = np.array(
    [
        ((1.05, 0.45)[k % 2] * math.cos(math.pi / 5 * k), (1.05, 0.45)[k % 2] * math.sin(math.pi / 5 * k))
        for k in range(10)
    ]
)


def in_star(p: Any) -> Any:
    """Crossing number of the outline."""
    x, y = p[..., 0], p[..., 1]
    crossings = np.zeros(x.shape, int)
    for (ax, ay), (bx, by) in zip(STAR, np.roll(STAR, -1, axis=0), strict=True):
        crosses = (ay > y) != (by > y)
        crossings += crosses & (x < (bx - ax) * (y - ay) / (by - ay + 1e-12) + ax)
    return crossings % 2 == 1


INSIDE: dict[str, Callable[[Any], Any]] = {
    "ball": lambda p: (p**2).sum(-1) < 0.64,
    "cube": lambda p: np.abs(p).max(-1) < 0.6,
    "cylinder": lambda p: (np.hypot(p[..., 0], p[..., 1]) < 0.55) & (np.abs(p[..., 2]) < 0.75),
    "cone": lambda p: (
        (np.hypot(p[..., 0], p[..., 1]) < 0.7 * (0.85 - p[..., 2]) / 1.55) & (p[..., 2] > -0.7) & (p[..., 2] < 0.85)
    ),
    "ring": lambda p: (
        (np.hypot(p[..., 0], p[..., 1]) < 0.95) & (np.hypot(p[..., 0], p[..., 1]) > 0.52) & (np.abs(p[..., 2]) < 0.22)
    ),
    "star": lambda p: in_star(p) & (np.abs(p[..., 2]) < 0.22),
}

STEP = 0.01


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("number", range(6))
def test_rays_meet_the_surface(name: str, number: int) -> None:
    rng = np.random.default_rng(number)
    way = rng.normal(size=3)
    # The last direction lies in the plane of flat shapes, the one before is along the axis.
    way = {4: np.array([0.0, 0.0, -1.0]), 5: np.array([0.6, 0.8, 0.0])}.get(number, way)
    way /= np.linalg.norm(way)
    starts = rng.uniform(-1.0, 1.0, (300, 3)) - 3 * way
    hit = SHAPES[name].hit(
        tuple(starts.T.astype(np.float32)),  # type: ignore[arg-type]
        tuple(way.tolist()),
    )
    # March along each ray, from outside.
    steps = np.arange(0, 6, STEP)
    inside = INSIDE[name](starts[:, None] + steps[:, None] * way)
    first = np.where(inside.any(1), steps[inside.argmax(1)], np.inf)
    met = np.isfinite(hit.depth)
    # Short cuts through a corner lie between two steps.
    assert (np.isfinite(first) & ~met).mean() == 0
    assert (met & ~np.isfinite(first)).mean() < 0.03
    both = met & np.isfinite(first)
    assert both.sum() > 20
    late = first[both] - hit.depth[both]
    assert (late > -1e-3).all()
    assert (late < STEP + 1e-3).mean() > 0.97
    # Where the surface was met, its normal faces the ray and leads out of the shape.
    points = starts[both] + hit.depth[both, None] * way
    normals = np.stack(
        np.broadcast_arrays(*SHAPES[name].normals(tuple(points.T.astype(np.float32)), hit.face[both])), axis=1
    )
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    assert (normals @ way < 1e-3).all()
    assert (~INSIDE[name](points + 0.01 * normals)).mean() > 0.97
    assert INSIDE[name](points - 0.01 * normals).mean() > 0.9


@pytest.mark.parametrize("name", SHAPES)
def test_corners_enclose_the_shape(name: str) -> None:
    points = np.random.default_rng(0).uniform(-1.2, 1.2, (20000, 3))
    points = points[INSIDE[name](points)]
    corners = SHAPES[name].corners
    rng = np.random.default_rng(1)
    for way in rng.normal(size=(20, 3)):
        way /= np.linalg.norm(way)
        assert (points @ way).max() < (corners @ way).max() + 0.02
    assert np.linalg.norm(corners, axis=1).max() <= 1.15
