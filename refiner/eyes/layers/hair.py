"""Opacity of lashes and brow: soft fringes at 36x60, single hairs in large pictures."""

import torch
from torch import Tensor

from refiner.eyes.layers.rasters import ColumnCurve, PixelGrid, across, bump
from refiner.eyes.scene.geometry import EyeGeometry
from refiner.eyes.scene.sampling import Draws


def upper_lashes(
    draws: Draws, geometry: EyeGeometry, grid: PixelGrid, *, below_upper: Tensor, above_lower: Tensor
) -> Tensor:
    """Return the opacity (N, H, W) of the upper lashes and of the dark line of their roots."""
    curl = torch.deg2rad(draws["hair.lash_curl_degrees"])
    # Lashes continue the direction of the lid, turned up by their curl, and are seen foreshortened: from below they
    # stand up, and over a lowered lid they hang in front of the eye.
    rise = torch.sin((geometry.upper_lid_elevation + curl).clamp(-1.4, 1.4))
    extent = (draws["hair.lash_length_mm"] * rise)[:, None, None]
    extent = torch.where(extent.abs() < 0.6, torch.where(extent < 0, -0.6, 0.6), extent)
    along = _along(geometry, grid)
    outward = 0.35 + 0.65 * across(0.1, 0.6, along)
    reach = -below_upper / extent  # 0 at the roots, 1 at the tips
    root = across(-0.08, 0.02, reach) * (1 - reach).clamp(0, 1)
    spread = (along - 0.4) * 1.1 * below_upper.abs()  # lashes fan out from the middle of the lid
    # The pattern differs between people: the drawn length shifts it along the lid.
    hairs = _strands(grid.x - spread + 5 * draws["hair.lash_length_mm"][:, None, None], spacing_mm=1.1)
    fringe = root * hairs * outward * (1 - across(0.75, 1.0, reach))
    line = 0.85 * bump(below_upper / 0.65)
    inside = across(0.0, 0.2, along) * (1 - across(0.85, 1.06, along))
    open_here = across(-1.2, 0.3, below_upper + above_lower)
    opacity = draws["hair.lash_density"][:, None, None] * (1.15 * fringe + line) * inside * open_here
    return opacity.clamp(0, 1)


def lower_lashes(draws: Draws, geometry: EyeGeometry, grid: PixelGrid, *, above_lower: Tensor) -> Tensor:
    """Return the opacity (N, H, W) of the lower lashes."""
    extent = 0.5 * draws["hair.lash_length_mm"][:, None, None] * 0.6
    along = _along(geometry, grid)
    reach = -(above_lower + draws["lids.thickness_mm"][:, None, None]) / extent
    root = across(-0.15, 0.05, reach) * (1 - reach).clamp(0, 1)
    spread = (along - 0.4) * -above_lower
    hairs = _strands(grid.x - spread + 3.7, spacing_mm=1.6)
    inside = across(0.25, 0.6, along) * (1 - across(0.95, 1.05, along))
    return (draws["hair.lower_lash_density"][:, None, None] * root * hairs * inside).clamp(0, 1)


def _along(geometry: EyeGeometry, grid: PixelGrid) -> Tensor:
    """Return the position (N, 1, W) along the lids: 0 at the inner corner, 1 at the outer corner."""
    inner = geometry.upper_lid[:, 0, 0, None, None]
    return (grid.x - inner) / (geometry.upper_lid[:, -1, 0, None, None] - inner).clamp(min=5)


def _strands(x: Tensor, *, spacing_mm: float) -> Tensor:
    """Return the irregular density of clumped hairs over x in mm, about 0 to 1."""
    turns = x * (6.2832 / spacing_mm)
    clumps = torch.sin(turns * 0.29) + torch.sin(turns * 0.618 + 1.0)
    return (0.55 + 0.35 * torch.sin(turns + 1.5 * clumps) + 0.22 * clumps).clamp(0, 1.2)


def brow_opacity(draws: Draws, grid: PixelGrid, *, brow: ColumnCurve, grain: Tensor) -> Tensor:
    """Return the opacity (N, H, W) of the brow; ``grain`` (N, H, W) breaks it into hairs."""
    # The brow is thick at the nose and thin at the temple.
    taper = across(-20.0, -14.0, grid.x) * (1 - 0.75 * across(2.0, 22.0, grid.x))
    half = 0.5 * draws["hair.brow_thickness_mm"][:, None, None] * taper + 0.1
    inside = 1 - across(0.35, 1.25, brow.below(grid).abs() / half)
    return (draws["hair.brow_density"][:, None, None] * inside * (0.85 + 0.2 * grain)).clamp(0, 1)
