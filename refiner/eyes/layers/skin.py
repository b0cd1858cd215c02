"""Skin around the eye: a lit relief in millimetres, with creases, shaded hollows and texture."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from refiner.eyes.layers.rasters import ColumnCurve, PixelGrid, across, bump
from refiner.eyes.scene.geometry import EyeGeometry
from refiner.eyes.scene.light import Light
from refiner.eyes.scene.sampling import SKIN_SPAN_MM, Draws


@dataclass(frozen=True)
class FaceCurves:
    """Curves of the face over the columns."""

    upper: ColumnCurve
    lower: ColumnCurve
    crease: ColumnCurve
    furrow: ColumnCurve
    brow: ColumnCurve


def sample_skin_texture(draws: Draws, geometry: EyeGeometry, grid: PixelGrid, texture: Tensor) -> tuple[Tensor, Tensor]:
    """Return blotches and grain (N, H, W), sampled from textures (N, 2, T, T) that move with the head."""
    cos_pitch, cos_yaw = torch.cos(geometry.head_pose).unbind(1)
    u = (grid.x / cos_yaw[:, None, None]) * (2 / SKIN_SPAN_MM)
    v = (grid.y / cos_pitch[:, None, None]) * (2 / SKIN_SPAN_MM)
    where = torch.stack(torch.broadcast_tensors(u, v), dim=3)
    sampled = functional.grid_sample(texture, where, align_corners=False, padding_mode="reflection")
    return sampled[:, 0], sampled[:, 1]


def skin_brightness(
    draws: Draws,
    geometry: EyeGeometry,
    grid: PixelGrid,
    *,
    light: Light,
    curves: FaceCurves,
    below_upper: Tensor,
    above_lower: Tensor,
    blotches: Tensor,
    grain: Tensor,
) -> Tensor:
    """Return the light (N, H, W) that the skin sends to the camera, relative to the skin's luminance."""
    # Relief of the face and its shading.
    above_crease = -curves.crease.below(grid)
    below_furrow = curves.furrow.below(grid)
    relief, hollow = _relief(draws, geometry, grid, curves, above_crease, below_furrow)
    facing = _facing(relief, geometry, light, grid.pixel_mm)

    # Folds. The crease is a dark line with a soft shade above it, where the fold overhangs.
    column = draws["lids.crease_strength"][:, None, None]
    crease = bump(above_crease / 0.45) * 0.5 + bump((above_crease - 0.7) / 1.5) * 0.25
    crease = crease * column * _between(grid, -14.0, -8.0, 10.0, 17.0)
    furrow = bump(below_furrow / 1.2) * 0.16 * _between(grid, -13.0, -6.0, 7.0, 14.0)
    furrow = furrow * draws["lids.bag_strength"][:, None, None]
    fold = _outer_fold(draws, geometry, grid, below_upper)

    # Light, less in the hollows.
    ambient = light.ambient[:, None, None] * (1 - 0.55 * hollow)
    direct = light.direct[:, None, None] * ((facing + 0.15) / 1.15).clamp(min=0)
    gloss = draws["skin.gloss"][:, None, None] * light.direct[:, None, None] * facing.clamp(min=0) ** 8

    # Pigment, shadows next to the lids, and texture.
    over = (grid.x - 1.0) * (1 / 13.0), (grid.y - geometry.upper_lid[:, 16, 1, None, None] + 1.5) * (1 / 5.5)
    pigment = 1 - draws["skin.lid_darkness"][:, None, None] * bump(over[0] * over[0] + over[1] * over[1])
    # Little light reaches the skin next to the upper margin and in the inner corner.
    margin = 0.6 * bump(below_upper * 0.8) * _between(grid, -17.0, -11.0, 12.0, 18.0)
    corner = 0.5 * bump((grid.x + 13.5) * 0.22) * bump(grid.y * 0.16)
    recess = 1 - draws["light.lid_shadow"][:, None, None] * (margin + corner)
    under = (grid.x - 1.0) * (1 / 13.0), (grid.y - geometry.lower_lid[:, 16, 1, None, None] - 2.0) * (1 / 5.5)
    circle = 1 - draws["skin.dark_circle"][:, None, None] * bump(under[0] * under[0] + under[1] * under[1])
    texture = 1 + draws["skin.mottle"][:, None, None] * blotches + draws["skin.grain"][:, None, None] * grain
    return (ambient + direct + gloss) * (1 - crease) * (1 - fold) * (1 - furrow) * pigment * circle * recess * texture


def _outer_fold(draws: Draws, geometry: EyeGeometry, grid: PixelGrid, below_upper: Tensor) -> Tensor:
    """Return the darkness (N, H, W) of the fold by which the upper lid overhangs the outer corner."""
    outward = grid.x - geometry.upper_lid[:, -1, 0, None, None]
    length = draws["lids.outer_fold_mm"][:, None, None]
    along = across(-4.0, -0.5, outward) * (1 - across(0.4 * length, length + 0.1, outward))
    depth = bump(below_upper / 0.8) + 0.4 * bump((below_upper + 1.2) / 1.8)
    return draws["lids.outer_fold_strength"][:, None, None] * along * depth.clamp(max=1)


def _relief(
    draws: Draws,
    geometry: EyeGeometry,
    grid: PixelGrid,
    curves: FaceCurves,
    above_crease: Tensor,
    below_furrow: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the skin's height in front of the face's plane, mm, and its hollowness, 0 to 1; both (N, H, W)."""
    centre = geometry.eyeball_centre
    dx, dy = grid.x - centre[:, 0, None, None], grid.y - centre[:, 1, None, None]
    # The lids over the eyeball form a dome that flattens out softly, more slowly below the eye, into the cheek.
    fall = dy * dy * torch.where(dy > 0, 0.5, 1.0)
    height = draws["skin.bulge_mm"][:, None, None] * torch.reciprocal(1 + (dx * dx + fall) * (1 / 12.5**2)).square()
    # The nose rises beyond the inner corner, and the temple recedes beyond the outer one.
    nose = draws["skin.nose_slope"][:, None, None] * (-12.0 - grid.x).clamp(min=0).square() / 12
    temple = (grid.x - 9.0).clamp(min=0).square() / 35
    lowered = (grid.y - 2.0).clamp(min=0)
    cheek = draws["skin.cheek_slope"][:, None, None] * lowered * lowered / (lowered + 4.0)

    # The brow projects, and the socket below it is hollow.
    below_brow = curves.brow.below(grid)
    brow = draws["skin.brow_ridge_mm"][:, None, None] * (1 - across(-3.0, 9.0, below_brow))
    socket_shape = bump((below_brow - 8.0) / 6.0) * bump((grid.x + 9.0) / 12.0)
    socket = draws["skin.socket_depth_mm"][:, None, None] * socket_shape

    # The skin above the crease and the eye bag stand out.
    fold = (
        draws["lids.crease_strength"][:, None, None]
        * 0.6
        * across(-0.8, 1.2, above_crease)
        * _between(grid, -14.0, -8.0, 8.0, 16.0)
    )
    bag = (
        draws["lids.bag_strength"][:, None, None]
        * 1.2
        * across(0.0, 5.0, -below_furrow)
        * _between(grid, -15.0, -5.0, 6.0, 16.0)
    )
    hollow = (0.12 * socket).clamp(0, 1)
    return height + nose - temple + cheek + brow - socket + fold + bag, hollow


def _between(grid: PixelGrid, start: float, full: float, fading: float, end: float) -> Tensor:
    """Return weights (N, 1, W) of the columns: 0 before ``start``, 1 from ``full`` to ``fading``, 0 after ``end``."""
    return across(start, full, grid.x) * (1 - across(fading, end, grid.x))


def _facing(relief: Tensor, geometry: EyeGeometry, light: Light, pixel_mm: float) -> Tensor:
    """Return the cosine (N, H, W) of the angle between the relief's normal and the light."""
    right, down = (_slope(relief, axis) / pixel_mm for axis in (2, 1))
    back = geometry.head_axes[:, 2]
    # The face's own plane turns with the head: its height towards the camera grows by back / back_z.
    right = (right + (back[:, 0] / back[:, 2])[:, None, None]).clamp(-3, 3)
    down = (down + (back[:, 1] / back[:, 2])[:, None, None]).clamp(-3, 3)
    toward = light.toward[:, :, None, None]
    return (-right * toward[:, 0] - down * toward[:, 1] - toward[:, 2]) * torch.rsqrt(1 + right * right + down * down)


def _slope(relief: Tensor, axis: int) -> Tensor:
    """Return the differences (N, H, W) to the next pixel; the last one is repeated, so that borders have no frame."""
    slope = torch.diff(relief, dim=axis)
    return torch.cat([slope, slope.narrow(axis, -1, 1)], dim=axis)


def lid_edges(draws: Draws, below_upper: Tensor, above_lower: Tensor, opening: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights (N, H, W) of the dark upper and the wet lower lid edge, both outside the opening."""
    thickness = draws["lids.thickness_mm"][:, None, None]
    between_corners = across(-0.3, 1.0, below_upper + above_lower)
    upper = bump(below_upper / (0.7 * thickness)) * between_corners * (1 - opening)
    lower = bump((above_lower + 0.5 * thickness) / (0.6 * thickness)) * between_corners * (1 - opening)
    lower = lower * (below_upper > 0)
    return upper, lower * draws["lids.waterline"][:, None, None]
