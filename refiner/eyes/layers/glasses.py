"""Glasses: the rim of one lens and a reflection on it."""

import torch
from torch import Tensor

from refiner.eyes.layers.rasters import PixelGrid, across, bump, lerp
from refiner.eyes.scene.geometry import EyeGeometry
from refiner.eyes.scene.sampling import Draws

LENS_FORWARD_MM = 18.0
"""Distance of a lens in front of the lid corners; because of it, turning the head moves the rim across the eye."""


def add_glasses(picture: Tensor, draws: Draws, geometry: EyeGeometry, grid: PixelGrid) -> Tensor:
    """Return the picture (N, C, H, W) with glasses added to the people who wear them."""
    worn = draws["glasses.worn"][:, None, None]
    if not bool(worn.any()):
        return picture
    middle = -LENS_FORWARD_MM * geometry.head_axes[:, 2]
    half_width, half_height = (
        draws["glasses.width_mm"][:, None, None] / 2,
        draws["glasses.height_mm"][:, None, None] / 2,
    )
    x = (grid.x - middle[:, 0, None, None] - 3.0).abs() / half_width
    y = (grid.y - middle[:, 1, None, None] - 3.0).abs() / half_height
    # The rim is a rounded box: the fourth power gives a shape between an ellipse and a rectangle.
    outward = torch.sqrt(torch.sqrt(x.square().square() + y.square().square()))
    from_rim = (outward - 1) * half_height
    rim = 1 - across(0.0, grid.pixel_mm, from_rim.abs() - 0.5 * draws["glasses.rim_mm"][:, None, None])
    shine = 0.35 * bump((from_rim + 0.3) / 0.4)
    streak = bump((grid.x + 0.7 * grid.y - 2 * draws["light.screen_right_degrees"][:, None, None] / 5) / 5.0)
    glare = draws["glasses.glare"][:, None, None] * streak * (outward < 1)
    picture = picture + (worn * glare)[:, None]
    return lerp(picture, (0.06 + shine)[:, None], (worn * rim)[:, None])
