"""Polygons: areas, and the part in a rectangle."""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Points, (N, 2), as x and y."""


def clip_polygon(points: Points, size: tuple[int, int]) -> Points:
    """Return the part of a polygon in a rectangle, by the algorithm of Sutherland and Hodgman.

    Parts that are separate inside are joined along the border, so that the area is right.

    Args:
        points: corners, (N, 2), continuous.
        size: (height, width) of the rectangle, whose top-left corner is (0, 0).

    Returns:
        Corners, (M, 2); (0, 2) if nothing but a part of the border is inside.
    """
    whole = points
    limits = ((0, 0.0, 1), (0, float(size[1]), -1), (1, 0.0, 1), (1, float(size[0]), -1))
    for axis, limit, sign in limits:
        if not len(points):
            break
        distance = (points[:, axis] - limit) * sign
        if (distance >= 0).all():
            continue
        # Keep the corners inside; add one wherever an edge crosses the border.
        kept: list[Points] = []
        for here, there, d_here, d_there in zip(
            np.roll(points, 1, 0), points, np.roll(distance, 1), distance, strict=True
        ):
            if (d_here >= 0) != (d_there >= 0):
                crossing = here + (there - here) * (d_here / (d_here - d_there))
                crossing[axis] = limit
                kept.append(crossing)
            if d_there >= 0:
                kept.append(there)
        points = np.array(kept, np.float64).reshape(-1, 2)
    # What only touches the rectangle is outside; outlines that had no area before are no worse now.
    if points is not whole and (len(points) < 3 or polygon_area(points) == 0) and polygon_area(whole):
        return np.zeros((0, 2))
    return points


def polygon_area(points: Points) -> float:
    """Return the area of a polygon, (N, 2)."""
    x, y = points[:, 0], points[:, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
