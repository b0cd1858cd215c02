"""Shapes as paint on the picture of an image."""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from refiner.inspection.overlays.shapes import Colour, Points, Shape

Canvas = np.ndarray[Any, np.dtype[np.uint8]]
"""An RGB picture, (H, W, 3)."""

FILL = 0.25
"""Opacity of the inside of masks and outlines."""

RIM = 0.5
"""Opacity of the black rim of lines."""


def draw_shapes(canvas: Canvas, shapes: Sequence[Shape], size: tuple[int, int], *, line: int = 1) -> None:
    """Paint shapes on the picture of an image.

    Args:
        canvas: the image in RGB, usually enlarged; it is painted on.
        shapes: the shapes, the lowest first.
        size: (height, width) of the image itself.
        line: width of lines, in pixels of the canvas.
    """
    scale = np.array([canvas.shape[1] / size[1], canvas.shape[0] / size[0]])

    def place(points: Points) -> Any:
        """Return canvas positions in sixteenths of a pixel, (K, 1, 2); far points are clipped."""
        return np.rint(np.clip((points + 0.5) * scale - 0.5, -1e3, 1e4) * 16).astype(np.int32)[:, None]

    # Tint the areas below all lines.
    for shape in shapes:
        if shape.kind == "area" and shape.parts:
            tinted = canvas.copy()
            cv2.fillPoly(tinted, [place(part) for part in shape.parts], shape.colour, cv2.LINE_AA, 4)
            cv2.addWeighted(tinted, FILL, canvas, 1 - FILL, 0, dst=canvas)
    # Draw lines on a dim rim, so that they show on any background, and dots above the lines.
    lined = [shape for shape in shapes if shape.kind in ("area", "outline", "line") and shape.parts]
    rims = canvas.copy()
    for shape in lined:
        _draw_lines(rims, shape, [place(part) for part in shape.parts], (0, 0, 0), line + 2)
    cv2.addWeighted(rims, RIM, canvas, 1 - RIM, 0, dst=canvas)
    for shape in lined:
        _draw_lines(canvas, shape, [place(part) for part in shape.parts], shape.colour, line)
    for shape in shapes:
        _draw_marks(canvas, shape, [place(part) for part in shape.parts], line)


def _draw_lines(canvas: Canvas, shape: Shape, parts: Sequence[Any], colour: Colour, width: int) -> None:
    """Paint outlines, which are closed, or lines, through positions in sixteenths of a pixel."""
    cv2.polylines(canvas, list(parts), shape.kind != "line", colour, width, cv2.LINE_AA, 4)


def _draw_marks(canvas: Canvas, shape: Shape, parts: Sequence[Any], line: int) -> None:
    """Paint dots, circles and arrows at positions in sixteenths of a pixel."""
    for part in parts:
        if shape.kind in ("dots", "circles"):
            for centre in part[:, 0].tolist():
                cv2.circle(canvas, centre, 40, shape.colour, -1 if shape.kind == "dots" else line, cv2.LINE_AA, 4)
        elif shape.kind == "arrow":
            (start, end) = (tuple(int(value) // 16 for value in point) for point in part[:, 0])
            tip = min(0.3, 8 / max(8.0, math.dist(start, end)))
            cv2.arrowedLine(canvas, start, end, shape.colour, line + 1, cv2.LINE_AA, 0, tip)
