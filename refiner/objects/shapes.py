"""The shapes of the scenes: where a ray first meets each, and the surface's direction there.

All rays of a call are parallel. Only operations that IEEE 754 rounds exactly are used on arrays, so that every machine
computes the same values. Coordinates are those of the shape, which fits into a ball of radius 1.15 around the origin;
z is its axis.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Point = tuple[Any, Any, Any]
"""x, y and z, as numbers or as arrays of one shape."""

SIDE, TOP, BOTTOM, INNER = 0, 1, 2, 3
"""Surfaces of a round shape."""


class Hit(NamedTuple):
    """First points at which parallel rays meet a shape.

    Attributes:
        depth: position along each ray, in lengths of its direction; infinite where the ray misses.
        face: number of the surface that was met.
    """

    depth: Floats
    face: NDArray[np.int8]


class Flat(NamedTuple):
    """A shape with flat faces: the union of convex parts.

    Attributes:
        parts: (K, 4) for each part: the outward normal of each face, and the face's distance from the origin.
        corners: (P, 3), corners of the shape.
    """

    parts: tuple[NDArray[np.float64], ...]
    corners: NDArray[np.float64]

    def hit(self, start: Point, direction: Point) -> Hit:
        """Return where rays first enter a part; the faces of all parts are numbered in turn."""
        shape = np.broadcast_shapes(*(np.shape(axis) for axis in start))
        best, first = None, 0
        for faces in self.parts:
            found = _enter(faces, start, direction, shape, first)
            best = found if best is None else _nearer(best, found)
            first += len(faces)
        assert best is not None
        return best

    def normals(self, point: Point, face: NDArray[np.int8]) -> Point:
        """Return the outward normals at points on the surface, not yet of unit length."""
        normals = np.concatenate(self.parts)[:, :3].astype(np.float32)
        x, y, z = (normals[:, axis][face] for axis in range(3))
        return x, y, z


def _enter(faces: NDArray[np.float64], start: Point, direction: Point, shape: tuple[int, ...], first: int) -> Hit:
    """Intersect rays with one convex part: they enter it through the last of the planes that face them."""
    near, far = np.full(shape, -np.inf, np.float32), np.full(shape, np.inf, np.float32)
    entered = np.zeros(shape, np.int8)
    for number, (*normal, distance) in enumerate(faces.tolist()):
        slope = sum(weight * part for weight, part in zip(normal, direction, strict=True))
        if abs(slope) < 1e-6:  # parallel to the plane: outside of it, or not
            near[_dot(normal, start) > np.float32(distance)] = np.inf
            continue
        # Divide the plane's equation by the slope once, not for each ray.
        depth = np.float32(distance / slope) - _dot([weight / slope for weight in normal], start)
        if slope < 0:
            np.copyto(entered, np.int8(first + number), where=depth > near)
            np.maximum(near, depth, out=near)
        else:
            np.minimum(far, depth, out=far)
    near[near > far] = np.inf
    return Hit(near, entered)


class Round(NamedTuple):
    """A cylinder, a cone or a ring: its side is a quadric around z, and flat discs close it.

    Attributes:
        bottom, top: z of its ends.
        radius: radius at the bottom.
        slope: decrease of the radius with z.
        hole: radius of the hole along the axis; 0 if there is none.
    """

    bottom: float
    top: float
    radius: float
    slope: float = 0.0
    hole: float = 0.0

    @property
    def corners(self) -> NDArray[np.float64]:
        """Points on the rims, (P, 3)."""
        angles = np.arange(24) * (2 * math.pi / 24)
        circle = np.stack([np.cos(angles), np.sin(angles), np.zeros(24)], axis=1)
        rims = [(self._radius(z) * circle) + [0, 0, z] for z in (self.bottom, self.top)]
        return np.concatenate(rims)

    def _radius(self, z: float) -> float:
        return self.radius - self.slope * (z - self.bottom)

    def hit(self, start: Point, direction: Point) -> Hit:
        """Return where rays first meet the side, the hole's side, or a disc."""
        best = self._side(start, direction, self.radius, self.slope, far=False, face=SIDE)
        if self.hole:
            best = _nearer(best, self._side(start, direction, self.hole, 0.0, far=True, face=INNER))
        # Only the disc that faces the rays can be met first.
        face, z = (TOP, self.top) if direction[2] < 0 else (BOTTOM, self.bottom)
        if abs(direction[2]) > 1e-6 and self._radius(z) > 1e-6:
            best = _nearer(best, self._disc(start, direction, z, face))
        return best

    def _disc(self, start: Point, direction: Point, z: float, face: int) -> Hit:
        depth = (np.float32(z) - start[2]) / np.float32(direction[2])
        x, y = (start[axis] + depth * np.float32(direction[axis]) for axis in (0, 1))
        distance = x * x + y * y
        on = (distance <= np.float32(self._radius(z) ** 2)) & (distance >= np.float32(self.hole**2))
        return Hit(np.where(on, depth, np.float32(np.inf)), np.full(on.shape, face, np.int8))

    def _side(self, start: Point, direction: Point, radius: float, slope: float, *, far: bool, face: int) -> Hit:
        """Solve x² + y² = (radius - slope (z - bottom))² along the rays."""
        x, y, z = start
        dx, dy, dz = (float(axis) for axis in direction)
        wide = np.float32(radius) - np.float32(slope) * (z - np.float32(self.bottom))
        squared = dx * dx + dy * dy - slope * slope * dz * dz
        squared = squared if abs(squared) > 1e-6 else 1e-6
        half = x * np.float32(dx) + y * np.float32(dy) + wide * np.float32(slope * dz)
        rest = x * x + y * y - wide * wide
        root = half * half - np.float32(squared) * rest
        root = np.sqrt(np.maximum(root, np.float32(0))) / np.where(root >= 0, np.float32(1), np.float32(np.nan))
        # Of a hole, the far wall is met; of the outside, the nearer root that lies between the ends.
        best = np.full(np.shape(root), np.inf, np.float32)
        for sign in (1,) if far else (-1, 1):
            depth = (sign * root - half) / np.float32(squared)
            height = z + depth * np.float32(dz)
            on = (height >= np.float32(self.bottom)) & (height <= np.float32(self.top))
            best = np.where(on & (depth < best), depth, best)
        return Hit(best, np.full(best.shape, face, np.int8))

    def normals(self, point: Point, face: NDArray[np.int8]) -> Point:
        """Return the outward normals at points on the surface, not yet of unit length."""
        x, y, z = point
        wide = np.float32(self.radius) - np.float32(self.slope) * (z - np.float32(self.bottom))
        around = np.where(face == SIDE, np.float32(1), np.where(face == INNER, np.float32(-1), np.float32(0)))
        along = np.where(face == TOP, np.float32(1), np.where(face == BOTTOM, np.float32(-1), np.float32(0)))
        return x * around, y * around, along + around * wide * np.float32(self.slope)


class Ball(NamedTuple):
    """A ball around the origin."""

    radius: float

    @property
    def corners(self) -> NDArray[np.float64]:
        """Points on the surface, (P, 3)."""
        around, up = np.meshgrid(np.arange(24) * (math.pi / 12), (np.arange(13) - 6) * (math.pi / 12))
        axes = [np.cos(around) * np.cos(up), np.sin(around) * np.cos(up), np.sin(up)]
        return self.radius * np.stack([axis.ravel() for axis in axes], axis=1)

    def hit(self, start: Point, direction: Point) -> Hit:
        """Return where rays first meet the surface."""
        squared = float(sum(axis * axis for axis in direction))
        x, y, z = start
        half, rest = _dot(direction, start), x * x + y * y + z * z - np.float32(self.radius**2)
        root = half * half - np.float32(squared) * rest
        depth = (-np.sqrt(np.maximum(root, np.float32(0))) - half) / np.float32(squared)
        depth = np.where(root >= 0, depth, np.float32(np.inf))
        return Hit(depth, np.zeros(depth.shape, np.int8))

    def normals(self, point: Point, face: NDArray[np.int8]) -> Point:
        """Return the outward normals at points on the surface, not yet of unit length."""
        return point


def _dot(weights: Sequence[float], point: Point) -> Any:
    """Return the product of a vector of numbers with points, added in a fixed order."""
    parts = [axis * np.float32(weight) for weight, axis in zip(weights, point, strict=True) if weight]
    return sum(parts[1:], parts[0])


def _nearer(first: Hit, second: Hit) -> Hit:
    return Hit(np.minimum(first.depth, second.depth), np.where(second.depth < first.depth, second.face, first.face))


def _box(x: float, y: float, z: float) -> NDArray[np.float64]:
    """Return the faces of a box with these half sides."""
    return np.column_stack([np.concatenate([np.eye(3), -np.eye(3)]), [x, y, z, x, y, z]])


def _box_corners(x: float, y: float, z: float) -> NDArray[np.float64]:
    return np.array([(a * x, b * y, c * z) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])


def _star(tip: float, inner: float, half: float) -> Flat:
    """Return a star with five tips, the union of five kites."""
    angles = [math.pi / 5 * number for number in range(10)]
    radii = [tip if number % 2 == 0 else inner for number in range(10)]
    outline = [
        (radius * math.cos(angle), radius * math.sin(angle)) for radius, angle in zip(radii, angles, strict=True)
    ]
    parts = []
    for number in range(0, 10, 2):
        kite = [(0.0, 0.0), outline[number - 1], outline[number], outline[(number + 1) % 10]]
        faces = [_wall(kite[side], kite[(side + 1) % 4]) for side in range(4)]
        parts.append(np.array([*faces, (0, 0, 1, half), (0, 0, -1, half)]))
    corners = np.array([(x, y, z) for x, y in outline for z in (-half, half)])
    return Flat(tuple(parts), corners)


def _wall(start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float, float, float]:
    """Return the plane along z through two points of an outline that runs anticlockwise."""
    x, y = end[1] - start[1], start[0] - end[0]
    length = math.hypot(x, y)
    return x / length, y / length, 0.0, (x * start[0] + y * start[1]) / length


Shape = Flat | Round | Ball

SHAPES: dict[str, Shape] = {
    "ball": Ball(0.8),
    "cube": Flat((_box(0.6, 0.6, 0.6),), _box_corners(0.6, 0.6, 0.6)),
    "cylinder": Round(-0.75, 0.75, 0.55),
    "cone": Round(-0.7, 0.85, 0.7, slope=0.7 / 1.55),
    "ring": Round(-0.22, 0.22, 0.95, hole=0.52),
    "star": _star(1.05, 0.45, 0.22),
}
"""The shapes by the name of their class."""
