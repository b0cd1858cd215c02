"""Textures of objects and of the ground, as functions of the position.

Only operations that IEEE 754 rounds exactly are used on arrays, so that every machine computes the same values.
"""

import math
from typing import Any

import numpy as np

from refiner.objects.scene import Ground, Thing
from refiner.objects.shapes import Floats, Point


def surface_colours(thing: Thing, point: Point) -> Floats:
    """Return the colours of an object, (3, P), at points in its own coordinates."""
    x, y, z = (axis * np.float32(thing.frequency) for axis in point)
    if thing.pattern == "stripes":
        share = _parity(np.floor(z + np.float32(0.5) * x))
    elif thing.pattern == "checks":
        share = _parity(np.floor(x) + np.floor(y) + np.floor(z))
    elif thing.pattern == "speckles":
        share = (_scatter(*(np.floor(axis * np.float32(2.5)) for axis in (x, y, z))) > np.float32(0.72)) * np.float32(1)
    else:
        share = np.zeros_like(x)
    return _mix(thing.colours, share)


def ground_colours(ground: Ground, x: Floats, y: Floats) -> Floats:
    """Return the colours of the ground, (3, H, W), at x and y in the world, (H, W)."""
    cosine, sine = math.cos(ground.angle), math.sin(ground.angle)
    along = (x * np.float32(cosine) + y * np.float32(sine)) * np.float32(ground.scale)
    across = (y * np.float32(cosine) - x * np.float32(sine)) * np.float32(ground.scale)
    cloud = _cloud(ground.noise[0], x.shape)
    share: Floats
    if ground.kind == "planks":
        board = np.floor(across)
        vein = across * np.float32(7) + cloud * np.float32(3)
        vein = np.abs(vein - np.floor(vein) - np.float32(0.5)) * np.float32(2)
        share = np.float32(0.45) * _scatter(board, board * 0, board * 0) + np.asarray(vein, np.float32) * np.float32(
            0.55
        )
        share *= across - board > np.float32(0.06)
    elif ground.kind == "tiles":
        column, row = np.floor(along), np.floor(across)
        joint = (along - column < np.float32(0.07)) | (across - row < np.float32(0.07))
        share = (np.float32(0.5) + np.float32(0.4) * _scatter(column, row, row * 0)) * ~joint
        share += np.float32(0.1) * cloud
    elif ground.kind == "grain":
        fine = _scatter(np.floor(along * np.float32(18)), np.floor(across * np.float32(18)), np.zeros((), np.float32))
        share = np.float32(0.5) * fine + np.float32(0.5) * cloud
    else:
        share = cloud
    return _mix(ground.colours, share)


def _mix(colours: Any, share: Floats) -> Floats:
    """Mix two colours, (2, 3), by the share of the second."""
    first, second = colours.astype(np.float32)
    shape = (3,) + (1,) * share.ndim
    mixed: Floats = first.reshape(shape) + (second - first).reshape(shape) * share
    return mixed


def _parity(cells: Floats) -> Floats:
    """Return 0 for even and 1 for odd numbers."""
    half = cells * np.float32(0.5)
    parity: Floats = (half - np.floor(half)) * np.float32(2)
    return parity


def _scatter(x: Floats, y: Floats, z: Floats) -> Floats:
    """Return a value from 0 to 1 for each cell (x, y, z) of whole numbers, unlike that of its neighbours."""
    mixed = (
        x.astype(np.int32) * np.int32(73856093)
        ^ y.astype(np.int32) * np.int32(19349663)
        ^ z.astype(np.int32) * np.int32(83492791)
    )
    mixed = (mixed ^ (mixed >> 13)) * np.int32(1274126177)
    value: Floats = ((mixed >> 8) & 0xFFFF).astype(np.float32) * np.float32(1 / 65535)
    return value


def _cloud(noise: Any, shape: tuple[int, ...]) -> Floats:
    """Enlarge a grid of random values to the whole image, with smooth transitions."""
    grid: Floats = noise.astype(np.float32)
    for axis, side in enumerate(shape):
        place = (np.arange(side) + 0.5) * ((grid.shape[axis] - 1) / side)
        low = place.astype(int)
        share = (place - low).astype(np.float32)
        share = share * share * (np.float32(3) - np.float32(2) * share)
        share = share[:, None] if axis == 0 else share
        first, second = grid.take(low, axis), grid.take(low + 1, axis)
        grid = first + (second - first) * share
    return grid
