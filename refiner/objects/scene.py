"""A scene of objects on the ground: what is drawn at random, and from which ranges.

World coordinates: x to the right, y away from the camera, z up, the ground at z = 0. The camera is far away, so that
its rays are parallel. The image is 3.2 units high, whatever its size in pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from refiner.objects.shapes import SHAPES

Range = tuple[float, float]
Vector = NDArray[np.float64]

IMAGE_HEIGHT = 3.2
"""Height of the image in units of the world."""

HUES = 0.4
"""Half the range of hues of a class, in sixths of the circle of colours; classes are one sixth apart."""

PATTERNS = ("plain", "stripes", "checks", "speckles")
"""Textures of objects."""

GROUNDS = ("cloud", "planks", "tiles", "grain")
"""Textures of the ground."""


@dataclass(frozen=True)
class SceneRanges:
    """Ranges that scenes are drawn from.

    Attributes:
        count: smallest and largest number of objects.
        radius: radius of an object, in units of the world.
        elevation_degrees: height of the camera above the ground.
        light_elevation_degrees: height of the light.
        ambient: share of the light that comes from everywhere.
        patterned: share of the objects with a texture.
        saturation: saturation of the colours of objects, 0 to 1.
        brightness: largest channel of the colours of objects, 0 to 1.
        gloss: strength of highlights.
        grounds: weight of each of :data:`GROUNDS`.
        ground_brightness, ground_contrast: mean level of the ground, and the spread of its texture.
    """

    count: tuple[int, int] = (4, 12)
    radius: Range = (0.3, 0.55)
    elevation_degrees: Range = (35.0, 60.0)
    light_elevation_degrees: Range = (35.0, 70.0)
    ambient: Range = (0.35, 0.5)
    patterned: float = 0.5
    saturation: Range = (0.45, 0.95)
    brightness: Range = (0.5, 1.0)
    gloss: Range = (0.0, 0.6)
    grounds: Sequence[float] = (0.4, 0.2, 0.2, 0.2)
    ground_brightness: Range = (0.35, 0.8)
    ground_contrast: Range = (0.1, 0.35)


def target_scenes() -> SceneRanges:
    """Return the ranges of the target domain: a little fuller, lower light, duller colours, rougher ground."""
    return SceneRanges(
        count=(5, 12),
        radius=(0.28, 0.55),
        elevation_degrees=(32.0, 56.0),
        light_elevation_degrees=(25.0, 60.0),
        ambient=(0.3, 0.45),
        patterned=0.6,
        saturation=(0.3, 0.85),
        grounds=(0.25, 0.3, 0.15, 0.3),
        ground_contrast=(0.2, 0.45),
    )


class Thing(NamedTuple):
    """An object in a scene.

    Attributes:
        category: its class, a name in :data:`refiner.objects.shapes.SHAPES`.
        centre: its position.
        axes: (3, 3), columns are the directions of its axes, of the lengths of its radii.
        colours: (2, 3), its colour and the second colour of its texture, linear, 0 to 1.
        pattern: its texture, one of :data:`PATTERNS`.
        frequency: number of repetitions of the texture in a unit of the shape.
        gloss: strength of its highlights.
    """

    category: str
    centre: Vector
    axes: Vector
    colours: Vector
    pattern: str
    frequency: float
    gloss: float


class Ground(NamedTuple):
    """The ground of a scene.

    Attributes:
        kind: its texture, one of :data:`GROUNDS`.
        colours: (2, 3), the two colours that the texture mixes, linear, 0 to 1.
        angle: direction of the texture, in radians.
        scale: repetitions of the texture in a unit of the world.
        noise: (2, 9, 9), random values from 0 to 1.
    """

    kind: str
    colours: Vector
    angle: float
    scale: float
    noise: Vector


class Scene(NamedTuple):
    """Everything that an image shows.

    Attributes:
        things: the objects.
        ground: the ground.
        elevation: height of the camera in radians.
        light: direction towards the light, of length 1.
        ambient: share of the light that comes from everywhere.
    """

    things: list[Thing]
    ground: Ground
    elevation: float
    light: Vector
    ambient: float


def draw_scene(ranges: SceneRanges, rng: np.random.Generator, size: tuple[int, int]) -> Scene:
    """Draw a scene for an image of (height, width)."""
    elevation = math.radians(rng.uniform(*ranges.elevation_degrees))
    height, azimuth = math.radians(rng.uniform(*ranges.light_elevation_degrees)), rng.uniform(0, 2 * math.pi)
    light = np.array([math.cos(height) * math.cos(azimuth), math.cos(height) * math.sin(azimuth), math.sin(height)])
    ambient = rng.uniform(*ranges.ambient)
    ground = _draw_ground(ranges, rng)
    # Place the objects one after another, where they are clear of the others.
    things: list[Thing] = []
    radii: list[float] = []
    reach = np.array([IMAGE_HEIGHT / 2 * size[1] / size[0], IMAGE_HEIGHT / 2 / math.sin(elevation)])
    for _ in range(int(rng.integers(ranges.count[0], ranges.count[1] + 1))):
        radius = rng.uniform(*ranges.radius)
        spot = _free_spot(things, radii, radius, 0.92 * reach, rng)
        if spot is not None:
            things.append(_draw_thing(ranges, radius, spot, rng))
            radii.append(radius)
    return Scene(things, ground, elevation, light, ambient)


def _free_spot(
    things: Sequence[Thing], radii: Sequence[float], radius: float, reach: Vector, rng: np.random.Generator
) -> Vector | None:
    """Return a place on the ground at which an object touches no other; None if none was found."""
    for _ in range(30):
        spot = rng.uniform(-reach, reach)
        clear = (
            math.dist(spot, thing.centre[:2]) > 0.75 * (radius + other)
            for thing, other in zip(things, radii, strict=True)
        )
        if all(clear):
            return spot
    return None


def _draw_thing(ranges: SceneRanges, radius: float, spot: Vector, rng: np.random.Generator) -> Thing:
    category = list(SHAPES)[int(rng.integers(len(SHAPES)))]
    # Stretch the shape along its axis, turn it, and often tip it over.
    stretch = 1.0 if category == "ball" else rng.uniform(0.8, 1.2)
    tip = rng.choice([0.0, rng.uniform(0, 0.6), rng.uniform(0, math.pi)], p=[0.4, 0.3, 0.3])
    turned = _turn(rng.uniform(0, 2 * math.pi)) @ _tip(tip) @ _turn(rng.uniform(0, 2 * math.pi))
    axes = radius * turned * np.array([1.0, 1.0, stretch])
    # Its lowest point touches the ground.
    lowest = (SHAPES[category].corners @ axes.T)[:, 2].min()
    pattern = PATTERNS[int(rng.integers(1, len(PATTERNS)))] if rng.random() < ranges.patterned else PATTERNS[0]
    return Thing(
        category,
        np.array([*spot, -lowest]),
        axes,
        np.stack([_draw_colour(ranges, category, rng), _draw_colour(ranges, category, rng)]),
        pattern,
        rng.uniform(1.5, 4.0),
        rng.uniform(*ranges.gloss),
    )


def _draw_colour(ranges: SceneRanges, category: str, rng: np.random.Generator) -> Vector:
    """Draw a colour by hue, saturation and value, and make it linear; each class has its own range of hues."""
    hue = list(SHAPES).index(category) * 6 / len(SHAPES) + rng.uniform(-HUES, HUES)
    saturation, value = rng.uniform(*ranges.saturation), rng.uniform(*ranges.brightness)
    pure = np.clip(np.abs((hue + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    colour: Vector = (value * (1 - saturation + saturation * pure)) ** 2
    return colour


def _draw_ground(ranges: SceneRanges, rng: np.random.Generator) -> Ground:
    kind = GROUNDS[int(rng.choice(len(GROUNDS), p=ranges.grounds))]
    level, contrast = rng.uniform(*ranges.ground_brightness), rng.uniform(*ranges.ground_contrast)
    tint = 1 + rng.uniform(-0.15, 0.15, 3)
    colours = np.clip([(level - contrast / 2) * tint, (level + contrast / 2) * tint], 0.02, 1) ** 2
    return Ground(kind, colours, rng.uniform(0, math.pi), rng.uniform(0.8, 2.5), rng.random((2, 9, 9)))


def _turn(angle: float) -> Vector:
    """Rotation around z."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _tip(angle: float) -> Vector:
    """Rotation around x."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])
