"""Convert curves in millimetres to fields over the pixels: pixel grids, curve heights over columns, soft steps.

Fields are float32 (N, H, W) or broadcast to it: (N, 1, W) per column, (N, 1, 1) per image. Most of a picture depends on
the vertical distance to a few curves. The height of a curve is computed once for each column.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

WINDOW_MM = 37.5
"""Width of every picture: 60 pixels of 0.625 mm."""


@dataclass(frozen=True)
class PixelGrid:
    """Pixel centres in millimetres (camera axes, origin between the lid corners)."""

    x: Tensor
    """(N, 1, W) position of each column."""
    y: Tensor
    """(N, H, 1) position of each row."""
    pixel_mm: float
    """Size of a pixel, before magnification: the width of an antialiased edge."""


def pixel_grid(shift: Tensor, scale: Tensor, *, size: tuple[int, int]) -> PixelGrid:
    """Return the grid of a picture of ``size`` (height, width), for shifts (N, 2) in mm and magnifications (N,)."""
    height, width = size
    pixel = WINDOW_MM / width
    x = (torch.arange(width) - (width - 1) / 2) * pixel
    y = (torch.arange(height) - (height - 1) / 2) * pixel
    return PixelGrid(
        x=((x[None] - shift[:, :1]) / scale[:, None])[:, None, :],
        y=((y[None] - shift[:, 1:]) / scale[:, None])[:, :, None],
        pixel_mm=pixel,
    )


def to_pixels(points: Tensor, shift: Tensor, scale: Tensor, *, size: tuple[int, int]) -> Tensor:
    """Return the pixel coordinates (N, K, 2) of points (N, K, 3) in mm; (0, 0) is the centre of the top-left pixel."""
    height, width = size
    picture_mm = points[..., :2] * scale[:, None, None] + shift[:, None]
    return picture_mm * (width / WINDOW_MM) + torch.tensor([(width - 1) / 2, (height - 1) / 2])


@dataclass(frozen=True)
class ColumnCurve:
    """A curve as a function of the column."""

    y: Tensor
    """(N, 1, W) height of the curve, mm, y down."""
    slant: Tensor
    """(N, 1, W) cosine of the curve's slope angle; a vertical distance times this approximates the true distance."""

    def below(self, grid: PixelGrid) -> Tensor:
        """Return the distance (N, H, W) below the curve, mm; negative above it."""
        return (grid.y - self.y) * self.slant


def column_curve(points: Tensor, grid: PixelGrid, *, steepest: float, beyond: float) -> ColumnCurve:
    """Return the heights of a curve (N, K, 3) over the columns.

    Args:
        points: points of the curve, mm, from the inner to the outer corner.
        grid: pixel grid of the picture.
        steepest: largest slope used for distances. Use a low limit if distances far from the curve matter, because a
            sudden change of slope would break them.
        beyond: slope outside the curve's ends; positive runs downwards on both sides.
    """
    # At large head angles a curve may turn back on itself. Only its outline matters.
    x = torch.cummax(points[..., 0], dim=1).values + torch.arange(points.shape[1]) * 1e-4
    y = points[..., 1]

    # Interpolate between the points on both sides of each column; extrapolate beyond the ends.
    column = grid.x[:, 0].contiguous()
    right = torch.searchsorted(x.contiguous(), column).clamp(1, points.shape[1] - 1)
    x0, x1 = x.gather(1, right - 1), x.gather(1, right)
    y0, y1 = y.gather(1, right - 1), y.gather(1, right)
    share = ((column - x0) / (x1 - x0).clamp(min=1e-4)).clamp(0, 1)
    outside = (column - column.clamp(min=x[:, :1], max=x[:, -1:])).abs()
    height = y0 + (y1 - y0) * share + beyond * outside
    slope = ((y1 - y0) / (x1 - x0).clamp(min=0.02)).clamp(-steepest, steepest) * (outside == 0)
    return ColumnCurve(y=height[:, None], slant=torch.rsqrt(1 + slope**2)[:, None])


def across(low: Tensor | float, high: Tensor | float, value: Tensor) -> Tensor:
    """Return a smooth step: 0 up to ``low``, 1 from ``high``."""
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def bump(value: Tensor) -> Tensor:
    """Return a cheap bell curve: 1 at 0, 1/4 at distance 1, then fast towards 0."""
    return torch.reciprocal(1 + value * value).square()


def lerp(low: Tensor, high: Tensor, weight: Tensor) -> Tensor:
    """Interpolate: ``low`` where the weight is 0, ``high`` where it is 1."""
    return low + (high - low) * weight
