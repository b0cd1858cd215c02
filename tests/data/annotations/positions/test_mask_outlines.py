"""Outlines of masks, compared with the masks by counting how often a line from each pixel crosses them."""

from typing import Any

import numpy as np
import pytest

from refiner.data.annotations.positions.mask_outlines import join_outlines, same_turn, trace_mask

RING = np.array([[0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 0], [0, 1, 0, 0, 1, 0], [0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1]])
CORNERS = np.array([[1, 0, 1, 1], [0, 1, 0, 1], [1, 0, 1, 0]])  # pixels that touch at corners, and the border


def pixels_in(outlines: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Return how often a line to the right of the middle of each pixel crosses the outlines, modulo 2."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    crossings = np.zeros(shape, int)
    for outline in outlines:
        for (x1, y1), (x2, y2) in zip(outline, np.roll(outline, -1, 0), strict=True):
            if y1 != y2:
                crossings += ((y1 > y) != (y2 > y)) & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return crossings % 2


def area(outline: Any) -> float:
    """Return the area of an outline, negative if it runs against the clock on the screen."""
    return float(sum(a * d - b * c for (a, b), (c, d) in zip(outline, np.roll(outline, -1, 0), strict=True))) / 2


def masks() -> list[Any]:
    noise = np.random.default_rng(0).random((9, 14)) < 0.5
    return [RING, CORNERS, noise.astype(int), np.ones((3, 7), int)]


@pytest.mark.parametrize("mask", masks())
def test_outlines_hold_the_pixels_of_the_mask(mask: Any) -> None:
    borders = trace_mask(mask.astype(np.uint8))
    assert np.array_equal(pixels_in(borders, mask.shape), mask)
    assert sum(map(area, borders)) == mask.sum()
    joined = join_outlines(borders)
    assert np.array_equal(pixels_in([joined], mask.shape), mask)
    assert area(joined) == pytest.approx(mask.sum())


def test_a_rectangle_has_four_corners_and_a_ring_two_borders() -> None:
    (border,) = trace_mask(np.pad(np.ones((2, 3), np.uint8), ((1, 2), (4, 0))))
    assert sorted(map(tuple, border.tolist())) == [(4, 1), (4, 3), (7, 1), (7, 3)]
    assert sorted(map(area, trace_mask(RING.astype(np.uint8)))) == [-2, 1, 12]
    assert len(trace_mask(CORNERS.astype(np.uint8))) == 5  # parts stay apart where they touch at a corner
    assert trace_mask(np.zeros((3, 4), np.uint8)) == []


def test_parts_that_overlap_add_up_when_they_turn_alike() -> None:
    there = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], float)
    back = there[::-1] + 2
    assert area(join_outlines([same_turn(there), same_turn(back)])) == 32
    assert area(same_turn(there)) == area(same_turn(back)) == 16
