"""A drawn scene of many objects, and faults planted in it, for measuring trust in the drift of objects.

Coordinates are pixels. A scene is drawn as layers, so that one object can be moved, erased, recoloured, copied or
replaced while everything else stays, as a bad refiner would do it.
"""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from refiner.data.labels.objects import ObjectLabel

Array = np.ndarray[Any, np.dtype[np.float32]]
Generator = np.random.Generator

SIZE = (240, 320)
"""Height and width of the scenes."""

COUNT = 12
"""Number of objects in a scene."""

KINDS = ("ellipse", "box", "triangle", "ring", "star")


@dataclass(frozen=True)
class Shape:
    """One object: its kind, centre and radius in pixels, its angle in radians, its two colours, and its stripes."""

    kind: str
    x: float
    y: float
    radius: float
    angle: float
    colours: Array
    period: float

    def corners(self) -> Array:
        """Return the outline, (K, 2)."""
        turns = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        if self.kind == "ellipse" or self.kind == "ring":
            points = np.stack([np.cos(turns), 0.7 * np.sin(turns)], axis=1)
        elif self.kind == "star":
            turns = np.linspace(0, 2 * np.pi, 10, endpoint=False)
            radii = np.where(np.arange(10) % 2, 0.45, 1.0)
            points = np.stack([radii * np.cos(turns), radii * np.sin(turns)], axis=1)
        else:
            count = 4 if self.kind == "box" else 3
            turns = np.linspace(0, 2 * np.pi, count, endpoint=False) + np.pi / 4
            points = np.stack([np.cos(turns), np.sin(turns)], axis=1)
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        turned = points @ np.array([[cosine, sine], [-sine, cosine]])
        return np.asarray(turned * self.radius + (self.x, self.y), np.float32)


@dataclass(frozen=True)
class Scene:
    """A background, (H, W, 3) in [0, 1], and the objects on it, the farthest first."""

    background: Array
    shapes: tuple[Shape, ...]

    def draw(self) -> Array:
        """Return the picture, (3, H, W), float32, in [-1, 1]."""
        image = self.background.copy()
        for shape in self.shapes:
            _paint(image, shape)
        return np.ascontiguousarray(2 * image.transpose(2, 0, 1) - 1)

    def labels(self) -> list[ObjectLabel]:
        """Return the objects as labels: every other one with its outline, the others with their box alone."""
        found = []
        for number, shape in enumerate(self.shapes):
            corners = shape.corners().astype(float) + 0.5
            (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
            box = (float(left), float(top), float(right - left), float(bottom - top))
            outline = (tuple(corners.reshape(-1).tolist()),) if number % 2 else ()
            found.append(ObjectLabel(str(number), shape.kind, box=box, polygons=outline))
        return found

    def changed(self, number: int, **values: Any) -> "Scene":
        """Return the scene with other values of one object."""
        shapes = list(self.shapes)
        shapes[number] = replace(shapes[number], **values)
        return Scene(self.background, tuple(shapes))

    def without(self, number: int) -> "Scene":
        """Return the scene without one object."""
        return Scene(self.background, self.shapes[:number] + self.shapes[number + 1 :])


def _paint(image: Array, shape: Shape) -> None:
    """Paint a shape over a picture, (H, W, 3), in the square that it lies in."""
    reach = int(np.ceil(shape.radius)) + 2
    left, top = max(0, int(shape.x) - reach), max(0, int(shape.y) - reach)
    part = image[top : int(shape.y) + reach + 2, left : int(shape.x) + reach + 2]
    height, width = part.shape[:2]
    corners, centre = shape.corners() - (left, top), np.array([shape.x - left, shape.y - top])
    # Draw four times as large, for soft edges.
    cover = np.zeros((4 * height, 4 * width), np.uint8)
    cv2.fillPoly(cover, [np.rint((corners + 0.5) * 4 - 0.5).astype(np.int32)], 255)
    if shape.kind == "ring":
        inner = (corners - centre) * 0.5 + centre
        cv2.fillPoly(cover, [np.rint((inner + 0.5) * 4 - 0.5).astype(np.int32)], 0)
    alpha = np.asarray(cv2.resize(cover, (width, height), interpolation=cv2.INTER_AREA), np.float32)[..., None] / 255
    # Stripes of two colours across the object.
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    along = (columns - centre[0]) * np.cos(shape.angle) + (rows - centre[1]) * np.sin(shape.angle)
    mix = (0.5 + 0.5 * np.sin(2 * np.pi * along / shape.period))[..., None]
    part += alpha * (shape.colours[0] * mix + shape.colours[1] * (1 - mix) - part)


def draw_scene(rng: Generator, *, size: tuple[int, int] = SIZE, count: int = COUNT) -> Scene:
    """Draw a random scene: a clouded background in two colours, and objects that hardly overlap.

    Args:
        rng: source of randomness.
        size: (height, width).
        count: number of objects.
    """
    height, width = size
    clouds = sum(
        cv2.resize(
            rng.random((max(2, height // step), max(2, width // step)), np.float32),
            (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
        * weight
        for step, weight in ((60, 1.0), (15, 0.5), (5, 0.25))
    )
    clouds = np.asarray(clouds, np.float32)[..., None] / 1.75
    tones = rng.uniform(0.2, 0.8, (2, 3)).astype(np.float32)
    background = np.clip(tones[0] + (tones[1] - tones[0]) * clouds, 0, 1)
    shapes: list[Shape] = []
    while len(shapes) < count:
        radius = float(np.exp(rng.uniform(np.log(7), np.log(36))))
        x, y = float(rng.uniform(radius, width - radius)), float(rng.uniform(radius, height - radius))
        if any(np.hypot(x - other.x, y - other.y) < 0.9 * (radius + other.radius) for other in shapes):
            continue
        kind = KINDS[int(rng.integers(len(KINDS)))]
        shapes.append(
            Shape(
                kind,
                x,
                y,
                radius,
                float(rng.uniform(0, np.pi)),
                random_colours(rng),
                float(rng.uniform(0.5, 3) * radius),
            )
        )
    return Scene(background, tuple(shapes))


def random_colours(rng: Generator) -> Array:
    """Return two colours of one hue, (2, 3)."""
    hue, saturation = rng.uniform(0, 180), rng.uniform(80, 255)
    values = np.array([[[hue, saturation, rng.uniform(120, 255)], [hue, saturation, rng.uniform(60, 200)]]], np.uint8)
    return np.asarray(cv2.cvtColor(values, cv2.COLOR_HSV2RGB)[0] / 255, np.float32)
