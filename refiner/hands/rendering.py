"""Render depth images of procedural hands, in the levels of the cropped NYU frames (refiner.data.formats.nyu_hand).

A hand is the union of its capsules. Each pixel's ray is intersected with all of them analytically.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from refiner.core.rng import numpy_generator
from refiner.data.formats.nyu_hand import BACKGROUND, CUBE_MM, FAR_LEVEL
from refiner.data.labels.records import Labels, Record
from refiner.hands.skeleton import Hand, HandRanges, draw_hand
from refiner.hands.target_sensor import TargetSensor
from refiner.images.io import Image


def rendered_hands(
    ranges: HandRanges,
    count: int,
    *,
    seed: int,
    size: tuple[int, int] = (64, 64),
    sensor: TargetSensor | None = None,
    first: int = 0,
) -> Iterator[Record]:
    """Yield labelled hands with the numbers ``first`` to ``count - 1``; the ids are ``000000.png`` and so on.

    Args:
        ranges: ranges to draw from.
        count: number after the last hand.
        seed: seed of all random values; a hand depends only on it and on the hand's number.
        size: (height, width) in pixels.
        sensor: simulated target sensor that takes each image; the labels stay valid.
        first: number of the first hand.

    Yields:
        Records with uint16 depth images of shape (H, W).
    """
    for number in range(first, count):
        hand = draw_hand(ranges, numpy_generator(seed, "hand", number))
        image = render_hand(hand, size)
        yield Record(f"{number:06d}.png", image if sensor is None else sensor(image, number), _labels(hand, size))


def render_hand(hand: Hand, size: tuple[int, int]) -> Image:
    """Return the depth (H, W), uint16, of a hand, cropped to a cube of 300 mm around its joints.

    Level 0 is the near face of the cube, 65534 the far face, and 65535 the background.
    """
    depth = _depth(hand, _rays(hand.distance, size)).reshape(size)
    levels = np.clip(np.rint((depth - _near(hand)) / CUBE_MM * FAR_LEVEL), 0, FAR_LEVEL)
    return np.where(depth < _near(hand) + CUBE_MM, levels, BACKGROUND).astype(np.uint16)


def _near(hand: Hand) -> float:
    """Return the depth of the cube's near face in millimetres."""
    return hand.distance - CUBE_MM / 2


def _pixel(distance: float, size: tuple[int, int]) -> float:
    """Return the tangent of a pixel's angle; the cube's face fills the shorter side of the image."""
    return CUBE_MM / min(size) / distance


def _rays(distance: float, size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the rays (H * W, 3) through the pixel centres, with z = 1."""
    step = _pixel(distance, size)
    y, x = (step * (np.arange(side) - (side - 1) / 2) for side in size)
    return np.stack([*(axis.ravel() for axis in np.meshgrid(x, y)), np.ones(size[0] * size[1])], axis=1)


def _depth(hand: Hand, rays: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the depth (P,) at which each ray first meets a capsule, infinite if it meets none."""
    depth = np.full(len(rays), np.inf)
    squared = (rays * rays).sum(axis=1)
    # A capsule is a cylinder with a ball at each end.
    for start, end, radius in zip(hand.starts, hand.ends, hand.radii, strict=True):
        depth = np.minimum(depth, _side(rays, squared, start, end, radius))
        for ball in (start, end):
            depth = np.minimum(depth, _ball(rays, squared, ball, radius))
    return depth


def _ball(rays: Any, squared: Any, centre: Any, radius: float) -> Any:
    """Return the depth at which rays from the origin enter a ball: the smaller root of |t ray - centre| = radius."""
    along = rays @ centre
    inside = along**2 - squared * (centre @ centre - radius**2)
    return np.where(inside > 0, (along - np.sqrt(np.maximum(inside, 0))) / squared, np.inf)


def _side(rays: Any, squared: Any, start: Any, end: Any, radius: float) -> Any:
    """Return the depth at which rays enter a cylinder between its ends: the same equation, across the axis."""
    # Split rays and start point into components along the axis and across it.
    axis = (end - start) / np.linalg.norm(end - start)
    slide, offset = rays @ axis, start @ axis
    across, across_start = squared - slide**2, start @ start - offset**2

    # Solve the quadratic equation across the axis, and keep the roots between the two ends.
    along = rays @ start - slide * offset
    inside = along**2 - across * (across_start - radius**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (along - np.sqrt(np.maximum(inside, 0))) / across
    place = t * slide - offset
    there = (inside > 0) & (across > 0) & (place > 0) & (place < np.linalg.norm(end - start))
    return np.where(there, t, np.inf)


def _labels(hand: Hand, size: tuple[int, int]) -> Labels:
    """Return the labels of the cropped NYU frames; ``joints_mm`` has y up, as there."""
    seen = hand.joints[:, :2] / hand.joints[:, 2:] / _pixel(hand.distance, size)
    middle = (np.array([size[1], size[0]]) - 1) / 2
    near = _near(hand)
    return {
        "joints": seen + middle,
        "joints_mm": hand.joints * np.array([1.0, -1.0, 1.0]),
        "depth_near_mm": round(near, 3),
        "depth_far_mm": round(near + CUBE_MM, 3),
    }
