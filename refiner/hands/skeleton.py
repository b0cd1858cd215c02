"""Skeleton of a procedural hand: drawn proportions and angles, and the joints and capsules that follow from them.

Lengths are in millimetres. Camera axes: x right, y down, z away from the camera. Axes of the palm: x from the little
finger to the thumb, y from the wrist to the fingers, z out of the back of the hand.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

Points = np.ndarray[Any, np.dtype[np.float64]]
"""Points (K, 3), or one point (3,), in millimetres."""

JOINTS = (
    *("little tip", "little middle", "ring tip", "ring middle", "middle tip", "middle middle", "index tip"),
    *("index middle", "thumb tip", "thumb middle", "thumb base", "wrist little side", "wrist thumb side", "palm"),
)
"""Names of the fourteen joints that results on the NYU hand data set are reported for, in their usual order."""

Range = tuple[float, float]


@dataclass(frozen=True)
class HandRanges:
    """Ranges of proportions and angles, drawn uniformly.

    Attributes:
        size: size of the hand, as a factor on an adult's.
        thickness: thickness of all fingers, as a further factor.
        curl: curl of the whole hand, from 0, flat, to 1, a fist; each finger differs a little.
        spread: angle between neighbouring fingers, degrees.
        roll, pitch, yaw: rotation of the palm in the image, towards the camera and sideways, degrees.
        distance_mm: distance from the camera.
    """

    size: Range = (0.85, 1.1)
    thickness: Range = (0.85, 1.15)
    curl: Range = (0.0, 0.8)
    spread: Range = (0.0, 14.0)
    roll: Range = (-60.0, 60.0)
    pitch: Range = (-35.0, 35.0)
    yaw: Range = (-50.0, 50.0)
    distance_mm: Range = (500.0, 750.0)


def target_hands() -> HandRanges:
    """Return the ranges of the target domain: other proportions, and smaller rotations."""
    return replace(HandRanges(), size=(0.8, 1.0), thickness=(0.95, 1.3), roll=(-45.0, 45.0), yaw=(-35.0, 35.0))


class Hand(NamedTuple):
    """A drawn hand in camera axes, in millimetres.

    Attributes:
        joints: (14, 3), in the order of :data:`JOINTS`.
        starts, ends: (K, 3), end points of the hand's capsules.
        radii: (K,), radii of the capsules.
        distance: depth of the centre of the joints' bounding box.
    """

    joints: Points
    starts: Points
    ends: Points
    radii: np.ndarray[Any, np.dtype[np.float64]]
    distance: float


class _Finger(NamedTuple):
    """A finger: its base (x, y) in the palm, bone lengths from there, radius, and share of the spread angle."""

    base: tuple[float, float]
    bones: tuple[float, float, float]
    radius: float
    fan: float


_FINGERS = (
    _Finger((-33.0, 78.0), (36.0, 21.0, 17.0), 7.5, -1.5),
    _Finger((-12.0, 88.0), (45.0, 28.0, 20.0), 8.5, -0.5),
    _Finger((10.0, 91.0), (49.0, 31.0, 21.0), 9.0, 0.5),
    _Finger((31.0, 86.0), (44.0, 26.0, 19.0), 9.0, 1.5),
)
"""Little, ring, middle and index finger."""

_BENDS = (75.0, 100.0, 60.0)
"""Angles, in degrees, by which the three joints of a finger bend in a fist."""

_WRIST = ((-20.0, 0.0, 0.0), (20.0, 0.0, 0.0))
_FOREARM_MM = 70.0


def draw_hand(ranges: HandRanges, rng: np.random.Generator) -> Hand:
    """Draw a hand from ``ranges``."""
    # Draw the proportions and build the joints and capsules in the palm's axes.
    size, thickness, spread = (rng.uniform(*bounds) for bounds in (ranges.size, ranges.thickness, ranges.spread))
    curl, distance = rng.uniform(*ranges.curl), rng.uniform(*ranges.distance_mm)
    chains = [_finger(finger, np.clip(curl + rng.normal(0, 0.12), 0, 1), spread, rng) for finger in _FINGERS]
    thumb = _thumb(np.clip(curl + rng.normal(0, 0.2), 0, 1), rng)
    joints = [point for chain in chains for point in (chain[3], chain[1])]
    joints += [thumb[3], thumb[2], thumb[1], *map(np.array, _WRIST), np.array([0.0, 48.0, 0.0])]
    capsules = list(_capsules(chains, thumb, thickness))

    # Rotate the hand, scale it, and centre its joints at the drawn distance.
    turned = _rotation(*(rng.uniform(*bounds) for bounds in (ranges.roll, ranges.pitch, ranges.yaw)))

    def placed(points: Sequence[Any]) -> Points:
        return np.asarray(points, np.float64) * size @ turned.T

    found = placed(joints)
    middle = (found.min(axis=0) + found.max(axis=0)) / 2 - np.array([0.0, 0.0, distance])
    starts, ends, radii = zip(*capsules, strict=True)
    return Hand(found - middle, placed(starts) - middle, placed(ends) - middle, size * np.array(radii), distance)


def _finger(finger: _Finger, curl: float, spread: float, rng: np.random.Generator) -> list[Points]:
    """Return four points of a finger, from the palm to the tip."""
    aside = math.radians(finger.fan * spread + rng.normal(0, 2))
    points, bend = [np.array([*finger.base, 0.0])], 0.0
    for bone, most in zip(finger.bones, _BENDS, strict=True):
        bend += math.radians(most) * float(np.clip(curl + rng.normal(0, 0.06), 0, 1))
        along = np.array([math.sin(aside) * math.cos(bend), math.cos(aside) * math.cos(bend), -math.sin(bend)])
        points.append(points[-1] + bone * along)
    return points


def _thumb(curl: float, rng: np.random.Generator) -> list[Points]:
    """Return four points of the thumb, from the wrist to the tip; it closes in front of the palm."""
    aside, forward = math.radians(rng.uniform(25, 60) - 20 * curl), math.radians(10 + 35 * curl + rng.normal(0, 8))
    points = [np.array([22.0, 12.0, 0.0])]
    for bone, closing in ((44.0, 0.0), (32.0, 25.0), (26.0, 35.0)):
        aside -= math.radians(closing * curl)
        forward += math.radians(0.3 * closing * curl)
        along = np.array([math.sin(aside) * math.cos(forward), math.cos(aside) * math.cos(forward), -math.sin(forward)])
        points.append(points[-1] + bone * along)
    return points


def _capsules(chains: Sequence[Sequence[Points]], thumb: Sequence[Points], thickness: float) -> Any:
    """Yield (start, end, radius) of each capsule."""
    # Fingers taper towards the tip.
    for finger, chain in zip(_FINGERS, chains, strict=True):
        for number, (start, end) in enumerate(itertools.pairwise(chain)):
            yield start, end, thickness * finger.radius * (1 - 0.1 * number)
    for number, (start, end) in enumerate(itertools.pairwise(thumb)):
        yield start, end, thickness * (12.5, 10.0, 8.5)[number]
    # The palm: a bone from the wrist to each finger, and a row along the knuckles.
    bases = [chain[0] for chain in chains]
    for number, base in enumerate(bases):
        yield np.array([-18.0 + 12 * number, 4.0, 0.0]), base, 11.0
    for start, end in itertools.pairwise(bases):
        yield start, end, 9.5
    # The forearm.
    for side in (-12.0, 12.0):
        yield np.array([side, 4.0, 0.0]), np.array([side, -_FOREARM_MM, 0.0]), 19.0


def _rotation(roll: float, pitch: float, yaw: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the rotation (3, 3) from the palm's axes to the camera's, which sees the inside of an upright hand."""
    r, p, y = (math.radians(angle) for angle in (roll, pitch, yaw))
    about_z = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
    about_y = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    return np.asarray(about_z @ about_x @ about_y @ np.diag([1.0, -1.0, 1.0]))
