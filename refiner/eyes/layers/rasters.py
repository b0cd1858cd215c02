"""From curves in millimetres to fields over the pixels: pixel grids, heights of curves over columns, soft steps.

Fields are (N, H, W) float32 or broadcast to it: values per column (N, 1, W), per image (N, 1, 1). Most of a picture is
a function of the vertical distance to a few curves, whose heights are worked out once for a column.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

WINDOW_MM = 37.5
"""Width of every picture: 60 px of 0.625 mm."""


@dataclass(frozen=True)
class PixelGrid:
    """Pixel centres in the eye's millimetres (axes of the camera, origin between the lid corners)."""

    x: Tensor
    """(N, 1, W)."""
    y: Tensor
    """(N, H, 1)."""
    pixel_mm: float
    """Size of a pixel, before magnification: the width of an antialiased edge."""


def pixel_grid(shift: Tensor, scale: Tensor, *, size: tuple[int, int]) -> PixelGrid:
    """Grid of a picture of ``size`` (height, width) for shifts (N, 2) in mm and magnifications (N,)."""
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
    """Pixel coordinates (N, K, 2) of points (N, K, 3) in mm; the top-left pixel's centre is (0, 0)."""
    height, width = size
    picture_mm = points[..., :2] * scale[:, None, None] + shift[:, None]
    return picture_mm * (width / WINDOW_MM) + torch.tensor([(width - 1) / 2, (height - 1) / 2])


@dataclass(frozen=True)
class ColumnCurve:
    """A curve as a function of the column."""

    y: Tensor
    """(N, 1, W): height of the curve, mm, y down."""
    slant: Tensor
    """(N, 1, W): cosine of the curve's slope; times a vertical distance, the true distance nearby."""

    def below(self, grid: PixelGrid) -> Tensor:
        """Distance (N, H, W) below the curve, mm; negative above."""
        return (grid.y - self.y) * self.slant


def column_curve(points: Tensor, grid: PixelGrid, *, steepest: float, beyond: float) -> ColumnCurve:
    """Heights of a curve (N, K, 3) over the columns.

    Args:
        steepest: limit of the slope that distances reckon with; low for curves whose distant surroundings count, which
            a sudden change of slope would break.
        beyond: slope outside the curve's ends, downwards on both sides.
    """
    # Seen far from the side a curve may turn back on itself; its outline is what counts.
    x = torch.cummax(points[..., 0], dim=1).values + torch.arange(points.shape[1]) * 1e-4
    y = points[..., 1]
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
    """Smooth step: 0 up to ``low``, 1 from ``high`` on."""
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def bump(value: Tensor) -> Tensor:
    """1 at 0, 1/4 at distance 1, then fast towards 0: a cheap bell."""
    return torch.reciprocal(1 + value * value).square()


def lerp(low: Tensor, high: Tensor, weight: Tensor) -> Tensor:
    """``low`` where weight is 0, ``high`` where it is 1."""
    return low + (high - low) * weight
