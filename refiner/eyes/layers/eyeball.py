"""Eyeball between the lids: sclera, iris, pupil, the lid's shadow, reflections on the cornea, caruncle."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from refiner.eyes.layers.rasters import ColumnCurve, PixelGrid, across, bump, lerp
from refiner.eyes.scene.geometry import EyeGeometry, caruncle
from refiner.eyes.scene.light import Light
from refiner.eyes.scene.sampling import Draws

CORNEA_RADIUS_MM = 7.8
"""Radius of the cornea's sphere."""
CORNEA_CENTRE_MM = 5.6
"""Distance of the cornea's centre in front of the eyeball's: its tip is 13.4 mm from the centre of rotation."""


@dataclass(frozen=True)
class EyeballLayers:
    """Fields (N, H, W) of the eyeball: weights in [0, 1], and brightness at weight 1."""

    iris: Tensor
    """Weight of the iris (pupil included) over the sclera."""
    iris_brightness: Tensor
    """Brightness of iris and pupil."""
    sclera_brightness: Tensor
    """Brightness of the sclera."""
    veins: Tensor
    """Weight of red on the sclera."""
    caruncle: Tensor
    """Weight of the caruncle over the eyeball."""
    shade: Tensor
    """Light that reaches the eyeball, a factor on the brightness of all its parts."""
    highlight: Tensor
    """White light added by reflections."""


def eyeball_layers(
    draws: Draws,
    geometry: EyeGeometry,
    grid: PixelGrid,
    *,
    light: Light,
    below_upper: Tensor,
    above_lower: Tensor,
    iris_texture: Tensor,
    skin_texture: Tensor,
) -> EyeballLayers:
    """Shade the whole eyeball, including the area that the lids hide.

    Args:
        draws: drawn values.
        geometry: geometry of the eyes.
        grid: pixel grid of the picture.
        light: light on the eyes.
        below_upper, above_lower: (N, H, W) distances from the lid margins, mm, positive between the lids.
        iris_texture: (N, 1, T, T) fibres of the iris.
        skin_texture: (N, H, W) blotches of the skin, reused as veins.
    """
    # Shade a sphere.
    centre, radius = geometry.eyeball_centre, draws["geometry.eyeball_radius_mm"][:, None, None]
    dx, dy = grid.x - centre[:, 0, None, None], grid.y - centre[:, 1, None, None]
    sideways = (dx * dx + dy * dy) / radius.square()  # 0 at the eyeball's middle, 1 at its rim
    nz = torch.sqrt((1 - sideways).clamp(min=0.02))
    toward = light.toward[:, :, None, None]
    # The vertical direction counts less, because the cheek reflects light from below.
    facing = (dx * toward[:, 0] + 0.3 * dy * toward[:, 1]) / radius - nz * toward[:, 2]
    # The shading is half as directed as on skin: light arrives from all sides, and through the sclera itself.
    lit = light.ambient[:, None, None] + light.direct[:, None, None] * (0.45 + 0.45 * facing).clamp(min=0)

    # Compose sclera, veins and iris.
    iris, iris_brightness = _iris(draws, geometry, grid, iris_texture)
    sclera = draws["sclera.luminance"][:, None, None] * (
        1 - draws["sclera.corner_shade"][:, None, None] * sideways.clamp(max=1.3) * 0.7
    )
    veins = draws["sclera.redness"][:, None, None] * (0.35 * sideways + 0.18 * skin_texture.abs()).clamp(0, 1)
    return EyeballLayers(
        iris=iris,
        iris_brightness=iris_brightness,
        sclera_brightness=sclera * (1 - 0.25 * veins),
        veins=veins,
        caruncle=_caruncle(geometry, grid),
        shade=lit * _occlusion(draws, below_upper, above_lower),
        highlight=_highlights(draws, geometry, grid, light, iris),
    )


def _iris(draws: Draws, geometry: EyeGeometry, grid: PixelGrid, texture: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight and brightness of the iris, a flat disc that is seen as an ellipse."""
    u, v = _iris_plane(geometry, grid)
    radius = draws["geometry.iris_radius_mm"][:, None, None]
    distance = torch.sqrt(u * u + v * v)
    edge = torch.sqrt(draws["iris.limbus_width_mm"][:, None, None] ** 2 + grid.pixel_mm**2)
    weight = across(-0.5 * edge, 0.5 * edge, radius - distance)
    pupil_radius = draws["iris.pupil_radius_mm"][:, None, None]
    pupil_edge = (0.15**2 + grid.pixel_mm**2) ** 0.5
    pupil = ((pupil_radius - distance) / pupil_edge + 0.5).clamp(0, 1)
    where = torch.stack([u / radius, v / radius], dim=3)
    fibres = functional.grid_sample(texture, where, align_corners=False, padding_mode="border")[:, 0]
    ring = across(0.55 * radius, radius, distance)
    brightness = draws["iris.luminance"][:, None, None] * (1 + draws["iris.fibre_contrast"][:, None, None] * fibres)
    brightness = brightness * (1 - draws["iris.limbus_darkness"][:, None, None] * ring)
    return weight, lerp(brightness.clamp(min=0.02), torch.tensor(0.02), pupil)


def _iris_plane(geometry: EyeGeometry, grid: PixelGrid) -> tuple[Tensor, Tensor]:
    """Return the points, right and down in mm, at which the pixels' lines of sight meet the plane of the iris."""
    px = grid.x - geometry.iris_centre[:, 0, None, None]
    py = grid.y - geometry.iris_centre[:, 1, None, None]
    a, b = geometry.iris_axes[:, 0], geometry.iris_axes[:, 1]
    # A point (u, v) of the plane projects to u a + v b without its depth; invert this 2 x 2 matrix.
    determinant = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    a, b = (a / determinant[:, None])[:, :, None, None], (b / determinant[:, None])[:, :, None, None]
    return px * b[:, 1] - py * b[:, 0], py * a[:, 0] - px * a[:, 1]


def _occlusion(draws: Draws, below_upper: Tensor, above_lower: Tensor) -> Tensor:
    """Return the share of light that is left near the lids, which cast shadows, the upper one with its lashes."""
    shadow = draws["light.lid_shadow"][:, None, None]
    upper = 1 - shadow * bump(below_upper.clamp(min=0) / draws["light.lid_shadow_mm"][:, None, None])
    lower = 1 - 0.25 * shadow * bump(above_lower.clamp(min=0) / 0.6)
    return upper * lower


def _highlights(draws: Draws, geometry: EyeGeometry, grid: PixelGrid, light: Light, iris: Tensor) -> Tensor:
    screen = torch.stack(
        [
            torch.sin(torch.deg2rad(draws["light.screen_right_degrees"])),
            torch.sin(torch.deg2rad(draws["light.screen_down_degrees"])),
            torch.full_like(draws["light.screen_right_degrees"], -1.0),
        ],
        dim=1,
    )
    spot = _reflection(geometry, grid, light.toward, width_mm=0.5, height_mm=0.5)
    window = _reflection(
        geometry, grid, screen / torch.sqrt((screen**2).sum(1, keepdim=True)), width_mm=1.0, height_mm=0.7
    )
    total = draws["light.highlight"][:, None, None] * spot + draws["light.screen_highlight"][:, None, None] * window
    return total * (0.3 + 0.7 * iris)


def _reflection(geometry: EyeGeometry, grid: PixelGrid, toward: Tensor, *, width_mm: float, height_mm: float) -> Tensor:
    """Return the soft spot with which the cornea reflects light from direction ``toward`` (N, 3) into the camera."""
    # The surface normal at the reflection is halfway between the light and the camera.
    half = toward + torch.tensor([0.0, 0.0, -1.0])
    half = half / torch.sqrt((half**2).sum(1, keepdim=True))
    at = geometry.eyeball_centre + CORNEA_CENTRE_MM * geometry.gaze_direction + CORNEA_RADIUS_MM * half
    dx = (grid.x - at[:, 0, None, None]) / width_mm
    dy = (grid.y - at[:, 1, None, None]) / height_mm
    return bump(dx.square() + dy.square())


def _caruncle(geometry: EyeGeometry, grid: PixelGrid) -> Tensor:
    middle = caruncle(geometry)[..., :2].mean(dim=1)
    dx = (grid.x - middle[:, 0, None, None]) / 2.2
    dy = (grid.y - middle[:, 1, None, None]) / 1.6
    return 1 - across(0.3, 1.3, dx * dx + dy * dy)


def eye_opening(upper: ColumnCurve, lower: ColumnCurve, grid: PixelGrid) -> tuple[Tensor, Tensor, Tensor]:
    """Return the eyeball's weight over skin, and the distances in mm below the upper and above the lower margin."""
    below_upper, above_lower = upper.below(grid), -lower.below(grid)
    weight = (torch.minimum(below_upper, above_lower) / grid.pixel_mm + 0.5).clamp(0, 1)
    return weight, below_upper, above_lower
