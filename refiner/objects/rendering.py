"""Render scenes of objects in colour, with the exact visible mask of each object.

Rays are intersected with all shapes analytically, four in each pixel. A pixel belongs to what most of its rays meet.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refiner.images.io import Image
from refiner.objects.scene import IMAGE_HEIGHT, Scene, Thing
from refiner.objects.shapes import SHAPES, Floats, Hit, Point
from refiner.objects.textures import ground_colours, surface_colours

SAMPLES = 2
"""Rays in a pixel along each side."""

MIN_VISIBLE = 24
"""Smallest visible area of an object, in pixels. Objects of which less can be seen are taken out of the scene."""

_GROUND = -1

_HIGHLIGHT = 5
"""Number of squarings of a highlight: exponent 32."""


class Rendering(NamedTuple):
    """A rendered scene.

    Attributes:
        image: (H, W, 3), uint8, RGB.
        owners: (H, W), number of the object in ``things`` that each pixel shows; -1 where it shows the ground.
        things: the objects that can be seen.
    """

    image: Image
    owners: NDArray[np.int8]
    things: list[Thing]


class _Seen(NamedTuple):
    """An object from the camera: its window of the samples, and where rays meet it there.

    ``corners`` are those of the shape, in the world; ``inverse`` leads from the world to the shape's coordinates.
    """

    thing: Thing
    corners: NDArray[np.float64]
    inverse: NDArray[np.float64]
    window: tuple[slice, slice]
    start: Point
    direction: Point
    hit: Hit


class _Camera(NamedTuple):
    """Parallel rays from above: position (u, v) of each sample in the image plane, in units of the world, v upwards."""

    u: Floats
    v: Floats
    sine: float
    cosine: float
    unit: float

    def window(self, points: NDArray[np.float64]) -> tuple[slice, slice]:
        """Return the rows and columns of the samples around points (P, 3), with a margin of two samples."""
        across, up = points[:, 0], points[:, 1] * self.sine + points[:, 2] * self.cosine
        left, right = ((float(edge) - float(self.u[0])) / self.unit for edge in (across.min(), across.max()))
        top, bottom = ((float(self.v[0]) - float(edge)) / self.unit for edge in (up.max(), up.min()))
        return _span(top, bottom), _span(left, right)


def _span(first: float, last: float) -> slice:
    return slice(max(0, math.floor(first) - 2), max(0, math.ceil(last) + 3))


def render_scene(scene: Scene, size: tuple[int, int]) -> Rendering:
    """Render a scene at (height, width)."""
    camera = _camera(scene, size)
    # Find what each ray meets, and take out what can hardly be seen.
    seen = [_look(thing, camera) for thing in scene.things]
    owners = _owners(_resolve(seen, camera)[0])
    areas = np.bincount(owners.ravel() + 1, minlength=len(seen) + 1)[1:]
    if areas.min(initial=MIN_VISIBLE) < MIN_VISIBLE:
        seen = [each for each, area in zip(seen, areas, strict=True) if area >= MIN_VISIBLE]
    samples, depth = _resolve(seen, camera)
    owners = _owners(samples)
    # Colour each sample, and average the samples of a pixel.
    colours = _shade(scene, camera, seen, samples, depth)
    means = sum(colours[:, y::SAMPLES, x::SAMPLES] for y in range(SAMPLES) for x in range(SAMPLES))
    means = np.sqrt(np.clip(means * np.float32(1 / SAMPLES**2), 0, 1)) * np.float32(255)
    image = np.ascontiguousarray(np.rint(means).astype(np.uint8).transpose(1, 2, 0))
    return Rendering(image, owners, [each.thing for each in seen])


def _camera(scene: Scene, size: tuple[int, int]) -> _Camera:
    unit = IMAGE_HEIGHT / size[0] / SAMPLES
    rows, columns = (np.arange(side * SAMPLES) - (side * SAMPLES - 1) / 2 for side in size)
    u, v = (columns * unit).astype(np.float32), (-rows * unit).astype(np.float32)
    return _Camera(u, v, float(np.sin(scene.elevation)), float(np.cos(scene.elevation)), unit)


def _look(thing: Thing, camera: _Camera) -> _Seen:
    """Intersect the rays in the window of an object with it."""
    corners = SHAPES[thing.category].corners @ thing.axes.T + thing.centre
    window = camera.window(corners)
    inverse = np.asarray(np.linalg.inv(thing.axes), np.float64)
    right, up, offset = inverse[:, 0], inverse @ [0.0, camera.sine, camera.cosine], -inverse @ thing.centre
    u, v = camera.u[window[1]][None, :], camera.v[window[0]][:, None]
    x, y, z = (u * np.float32(right[axis]) + (v * np.float32(up[axis]) + np.float32(offset[axis])) for axis in range(3))
    direction = tuple(float(part) for part in inverse @ [0.0, camera.cosine, -camera.sine])
    start, way = (x, y, z), (direction[0], direction[1], direction[2])
    return _Seen(thing, corners, inverse, window, start, way, SHAPES[thing.category].hit(start, way))


def _resolve(seen: list[_Seen], camera: _Camera) -> tuple[NDArray[np.int8], Floats]:
    """Return the number of the object that each sample shows, and the depth of each sample."""
    ground = camera.v * np.float32(camera.cosine / camera.sine)
    depth = np.repeat(ground[:, None], len(camera.u), axis=1)
    samples = np.full(depth.shape, _GROUND, np.int8)
    for number, each in enumerate(seen):
        before = depth[each.window]
        closer = each.hit.depth < before
        depth[each.window] = np.where(closer, each.hit.depth, before)
        samples[each.window][closer] = number
    return samples, depth


def _owners(samples: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return what most samples of a pixel show; of two with two samples each, the object with the higher number."""
    parts = [samples[y::SAMPLES, x::SAMPLES] for y in range(SAMPLES) for x in range(SAMPLES)]
    most = np.full(parts[0].shape, _GROUND, np.int8)
    for first in range(len(parts)):
        for second in range(first):
            most = np.maximum(most, np.where(parts[first] == parts[second], parts[first], np.int8(_GROUND)))
    return most


def _shade(scene: Scene, camera: _Camera, seen: list[_Seen], samples: NDArray[np.int8], depth: Floats) -> Floats:
    """Return the linear colour of each sample, (3, rows, columns)."""
    # Position of each sample in the world.
    u, v = np.broadcast_to(camera.u[None, :], depth.shape), camera.v[:, None]
    y = v * np.float32(camera.sine) + depth * np.float32(camera.cosine)
    z = v * np.float32(camera.cosine) - depth * np.float32(camera.sine)
    lit = _lit(scene, camera, seen, samples, (u, y, z))

    # The ground, then each object where it is seen.
    light = scene.light.astype(np.float32)
    sky, sun = np.float32(scene.ambient), np.float32(1 - scene.ambient)
    ground = lit * (sun * light[2]) + sky
    colours: Floats = ground_colours(scene.ground, u, y) * ground
    half = scene.light + np.array([0.0, -camera.cosine, camera.sine])
    half = (half / np.linalg.norm(half)).astype(np.float32)
    for number, each in enumerate(seen):
        inside = samples[each.window] == number
        point = _at(each, inside)
        nx, ny, nz = _normals(each, point, inside)
        shine = np.maximum(nx * light[0] + ny * light[1] + nz * light[2], 0) * lit[each.window][inside]
        strength = sun * shine + sky * (np.float32(0.7) + np.float32(0.3) * nz)
        surface = surface_colours(each.thing, point) * strength
        highlight = np.maximum(nx * half[0] + ny * half[1] + nz * half[2], 0)
        for _ in range(_HIGHLIGHT):
            highlight = highlight * highlight
        surface += highlight * np.float32(each.thing.gloss) * lit[each.window][inside]
        colours[:, each.window[0], each.window[1]][:, inside] = surface
    return colours


def _lit(scene: Scene, camera: _Camera, seen: list[_Seen], samples: NDArray[np.int8], place: Point) -> Floats:
    """Return 1 for each sample that no other object hides from the light, else 0."""
    lit = np.ones(samples.shape, np.float32)
    for number, each in enumerate(seen):
        # The shadow lies between the object and its shadow on the ground.
        corners, inverse = each.corners, each.inverse
        fallen = corners - scene.light * (corners[:, 2:] / scene.light[2])
        window = camera.window(np.concatenate([corners, fallen]))
        x, y, z = (axis[window] - np.float32(middle) for axis, middle in zip(place, each.thing.centre, strict=True))
        local: Any = tuple(x * np.float32(row[0]) + y * np.float32(row[1]) + z * np.float32(row[2]) for row in inverse)
        way = inverse @ scene.light
        hit = SHAPES[each.thing.category].hit(local, (float(way[0]), float(way[1]), float(way[2])))
        hidden = (hit.depth > 0) & (hit.depth < np.inf) & (samples[window] != number)
        lit[window][hidden] = 0
    return lit


def _at(each: _Seen, inside: NDArray[np.bool_]) -> Point:
    """Return the points of an object that are seen, in its own coordinates."""
    depth = each.hit.depth[inside]
    x, y, z = (start[inside] + depth * np.float32(way) for start, way in zip(each.start, each.direction, strict=True))
    return x, y, z


def _normals(each: _Seen, point: Point, inside: NDArray[np.bool_]) -> Point:
    """Return the normals of an object in the world, of length 1."""
    local = SHAPES[each.thing.category].normals(point, each.hit.face[inside])
    inverse = each.inverse.astype(np.float32)
    x, y, z = (
        local[0] * inverse[0, axis] + local[1] * inverse[1, axis] + local[2] * inverse[2, axis] for axis in range(3)
    )
    length = np.sqrt(np.maximum(x * x + y * y + z * z, np.float32(1e-12)))
    return x / length, y / length, z / length
