"""Outlines of masks along the edges of their pixels, and one outline for several parts."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from refiner.data.annotations.positions.polygons import Points

Edge = tuple[int, int, int, int]
"""An edge of a pixel: x and y of its start, and its direction. The pixel is on its right."""


def trace_mask(mask: NDArray[np.uint8]) -> list[Points]:
    """Return the borders of a mask, (H, W), along the edges of its pixels, so that they enclose them exactly.

    Each part has a border, and so has each hole, which runs the other way. Pixels that touch at a corner alone are
    separate parts.
    """
    edges = _edges(mask)
    left = set(edges)
    borders = []
    for first in edges:
        if first not in left:
            continue
        # Follow the edges until the first one comes next. A turn to the right stays at the same pixel.
        border, edge = [], first
        while True:
            left.discard(edge)
            x, y, across, down = edge
            x, y = x + across, y + down
            turns = ((x, y, -down, across), (x, y, across, down), (x, y, down, -across))
            following = next(turn for turn in turns if turn in left or turn == first)
            if following[2:] != edge[2:]:
                border.append((x, y))
            edge = following
            if edge == first:
                break
        borders.append(np.array(border, np.float64))
    return borders


def _edges(mask: NDArray[np.uint8]) -> list[Edge]:
    """Return the edges between pixels inside and outside: clockwise on the screen around each pixel inside."""
    inside = np.pad(mask != 0, 1)
    middle = inside[1:-1, 1:-1]
    sides = (
        (inside[:-2, 1:-1], (0, 0, 1, 0)),  # what is above each pixel, and the edge along its top
        (inside[1:-1, 2:], (1, 0, 0, 1)),
        (inside[2:, 1:-1], (1, 1, -1, 0)),
        (inside[1:-1, :-2], (0, 1, 0, -1)),
    )
    edges: list[Edge] = []
    for beyond, (right, below, across, down) in sides:
        rows, columns = np.nonzero(middle & ~beyond)
        pixels = zip(columns.tolist(), rows.tolist(), strict=True)
        edges += [(x + right, y + below, across, down) for x, y in pixels]
    return edges


def join_outlines(parts: Sequence[Points]) -> Points:
    """Return one outline, (N, 2), with the area of several: lines without width join each to those before.

    Programs for YOLO join the parts of an object in this way, since a line of YOLO holds one outline.
    """
    joined = parts[0]
    for part in parts[1:]:
        here, there = _nearest(joined, part)
        around = np.roll(part, -there, axis=0)
        joined = np.concatenate([joined[: here + 1], around, around[:1], joined[here:]])
    return joined


def _nearest(first: Points, second: Points) -> tuple[int, int]:
    """Return the numbers of the nearest two corners of two outlines."""
    best = (np.inf, 0, 0)
    for number, corner in enumerate(second):
        distances = ((first - corner) ** 2).sum(axis=1)
        nearest = int(distances.argmin())
        best = min(best, (float(distances[nearest]), nearest, number))
    return best[1], best[2]


def same_turn(outline: Points) -> Points:
    """Return an outline that runs clockwise on the screen; parts that overlap would cut holes into each other else."""
    x, y = outline[:, 0], outline[:, 1]
    area = float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    return outline if area >= 0 else outline[::-1]
