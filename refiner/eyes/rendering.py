"""Render labelled procedural eyes: draw values, place the geometry, paint layers, apply the optics, project labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from refiner.eyes.layers.eyeball import EyeballLayers, eye_opening, eyeball_layers
from refiner.eyes.layers.glasses import add_glasses
from refiner.eyes.layers.hair import brow_opacity, lower_lashes, upper_lashes
from refiner.eyes.layers.rasters import WINDOW_MM, PixelGrid, column_curve, lerp, pixel_grid, to_pixels
from refiner.eyes.layers.skin import FaceCurves, lid_edges, sample_skin_texture, skin_brightness
from refiner.eyes.scene.geometry import EyeGeometry, caruncle, iris_outline, lid_outline, place_eyes
from refiner.eyes.scene.light import Light, luma, make_light
from refiner.eyes.scene.parameters import EyeParameters
from refiner.eyes.scene.sampling import Draws, draw_textures, draw_values

CHUNK_PIXELS = 200_000
"""Supersampled pixels rendered at once. About 30 arrays of this size should fit into the processor's cache."""


@dataclass(frozen=True)
class EyeBatch:
    """Labelled images of N eyes. The inner corner of the eye is at the image left, as in a left eye.

    Points are (x, y) in pixels. Pixel centres are at integers; (0, 0) is the centre of the top-left pixel. Points may
    be outside the image.
    """

    images: Tensor
    """(N, C, H, W) float32 in [-1, 1], C = 1 (luma) or 3 (RGB)."""
    gaze: Tensor
    """(N, 2) pitch and yaw of the eyeball's optical axis, radians, camera axes."""
    head_pose: Tensor
    """(N, 2) pitch and yaw as in MPIIGaze, radians; positive pitch: face up; positive yaw: to the image's left."""
    pupil: Tensor
    """(N, 2) centre of the pupil, pixels."""
    iris_outline: Tensor
    """(N, 32, 2) clockwise from the left, like UnityEyes' ``iris_2d``."""
    lid_outline: Tensor
    """(N, 16, 2) like UnityEyes' ``interior_margin_2d``: 0 inner corner, 1-7 upper lid, 8 outer corner, then lower."""
    caruncle: Tensor
    """(N, 7, 2) like UnityEyes' ``caruncle_2d``."""
    subjects: Tensor
    """(N,) int64, number of the person."""
    details: dict[str, Tensor]
    """(N,) drawn values under "section.field" (see ``EyeParameters``)."""


def render_eyes(
    parameters: EyeParameters,
    indices: Sequence[int],
    *,
    seed: int,
    size: tuple[int, int] = (36, 60),
    channels: int = 1,
) -> EyeBatch:
    """Render the images ``indices`` of the infinite data set that ``parameters`` and ``seed`` define.

    Image i depends only on (parameters, seed, i, size, channels), not on the batch or on global random state. The image
    is 37.5 mm wide at any size; a taller image shows more of the face.

    Args:
        parameters: ranges to draw from.
        indices: image numbers, at least 0; the person is ``index // parameters.images_per_person``.
        seed: seed of all random values.
        size: (height, width) in pixels.
        channels: 1 (grey) or 3 (RGB).

    Returns:
        Images and labels, in the order of ``indices``.

    Raises:
        ValueError: ``indices`` is empty or holds a negative number, the size is below 4 x 4, or ``channels`` is neither
            1 nor 3.
    """
    height, width = size
    if len(indices) == 0 or min(indices) < 0:
        raise ValueError(f"indices are {list(indices)[:5]}..., but must be one or more numbers of at least 0")
    if height < 4 or width < 4:
        raise ValueError(f"size is {height}x{width} (height x width), but must be at least 4x4")
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels}, but must be 1 (grey) or 3 (RGB)")
    factor = supersampling(width)
    chunk = max(1, CHUNK_PIXELS // (height * width * factor * factor))
    with torch.no_grad():
        chunks = [
            _render_chunk(parameters, indices[start : start + chunk], seed=seed, size=size, channels=channels)
            for start in range(0, len(indices), chunk)
        ]
    return _concatenate(chunks)


def supersampling(width: int) -> int:
    """Return the samples along each side of a pixel. Hairs and edges need about 120 columns."""
    return 2 if width < 110 else 1


def _concatenate(chunks: Sequence[EyeBatch]) -> EyeBatch:
    names = [field.name for field in fields(EyeBatch) if field.name != "details"]
    joined = {name: torch.cat([getattr(chunk, name) for chunk in chunks]) for name in names}
    details = {name: torch.cat([chunk.details[name] for chunk in chunks]) for name in chunks[0].details}
    return EyeBatch(**joined, details=details)


def _render_chunk(
    parameters: EyeParameters, indices: Sequence[int], *, seed: int, size: tuple[int, int], channels: int
) -> EyeBatch:
    height, width = size

    # Draw the values of each image and place the eyes.
    draws = draw_values(parameters, indices, seed=seed)
    skin_texture, iris_texture = draw_textures(parameters, indices, seed=seed)
    geometry = place_eyes(draws)
    scale = draws["placement.scale"]
    shift = _placement(draws, geometry)

    # Paint, supersampled, then reduce and apply the optics.
    factor = supersampling(width)
    grid = pixel_grid(shift, scale, size=(height * factor, width * factor))
    picture = _paint(draws, geometry, grid, skin_texture=skin_texture, iris_texture=iris_texture, channels=channels)
    if factor > 1:
        picture = functional.avg_pool2d(picture, factor)
    picture = _optics(picture, draws, widest_blur_mm=parameters.optics.blur_mm[1], pixel_mm=WINDOW_MM / width)

    def pixels(points: Tensor) -> Tensor:
        return to_pixels(points, shift, scale, size=size)

    return EyeBatch(
        images=picture * 2 - 1,
        gaze=geometry.gaze,
        head_pose=geometry.head_pose,
        pupil=pixels(geometry.iris_centre[:, None])[:, 0],
        iris_outline=pixels(iris_outline(geometry, draws["geometry.iris_radius_mm"])),
        lid_outline=pixels(lid_outline(geometry)),
        caruncle=pixels(caruncle(geometry)),
        subjects=torch.tensor([index // parameters.images_per_person for index in indices]),
        details=draws,
    )


def _placement(draws: Draws, geometry: EyeGeometry) -> Tensor:
    """Return the shift (N, 2) of the eye in the patch, right and down, in millimetres of the patch."""
    moved = (geometry.iris_centre - geometry.eyeball_centre)[:, :2] * draws["placement.scale"][:, None]
    follow = torch.stack([draws["placement.follow_right"], draws["placement.follow_down"]], dim=1)
    return torch.stack([draws["placement.right_mm"], draws["placement.down_mm"]], dim=1) - follow * moved


def _paint(
    draws: Draws,
    geometry: EyeGeometry,
    grid: PixelGrid,
    *,
    skin_texture: Tensor,
    iris_texture: Tensor,
    channels: int,
) -> Tensor:
    """Paint the supersampled picture (N, C, H, W), display-referred, about 0 to 1."""
    # Compute the fields that all layers share: light, curves over the columns, distances from the lids, skin texture.
    light = make_light(draws)
    curves = FaceCurves(
        **{
            name: column_curve(points, grid, steepest=steepest, beyond=beyond)
            for name, points, steepest, beyond in (
                ("upper", geometry.upper_lid, 2.0, 0.4),
                ("lower", geometry.lower_lid, 2.0, -0.4),
                ("crease", geometry.crease, 0.7, 0.3),
                ("furrow", geometry.furrow, 0.5, -0.2),
                ("brow", geometry.brow, 0.5, 0.2),
            )
        }
    )
    opening, below_upper, above_lower = eye_opening(curves.upper, curves.lower, grid)
    blotches, grain = sample_skin_texture(draws, geometry, grid, skin_texture)
    lids = {"below_upper": below_upper, "above_lower": above_lower}

    # Shade the eyeball and the skin.
    eyeball = eyeball_layers(
        draws, geometry, grid, light=light, iris_texture=iris_texture, skin_texture=blotches, **lids
    )
    skin = skin_brightness(draws, geometry, grid, light=light, curves=curves, blotches=blotches, grain=grain, **lids)
    upper_edge, lower_edge = lid_edges(draws, below_upper, above_lower, opening)

    # Compose from back to front: skin, lid edges, eyeball, lashes, brow, glasses.
    palette = _Palette(draws, light, channels=channels)
    picture = palette.skin * skin[:, None]
    picture = lerp(picture, palette.flesh * skin[:, None] * 0.6, upper_edge[:, None] * 0.8)
    picture = lerp(picture, palette.waterline * eyeball.shade[:, None], lower_edge[:, None])
    picture = lerp(picture, _eyeball_colour(palette, eyeball), opening[:, None])
    dark = palette.hair * (light.ambient + 0.3 * light.direct)[:, None, None, None]
    picture = lerp(picture, dark, lower_lashes(draws, geometry, grid, above_lower=above_lower)[:, None])
    picture = lerp(picture, dark, upper_lashes(draws, geometry, grid, **lids)[:, None])
    picture = lerp(picture, dark, brow_opacity(draws, grid, brow=curves.brow, grain=grain)[:, None])
    return add_glasses(picture, draws, geometry, grid)


class _Palette:
    """Colours (N, C, 1, 1) of the materials under the tint of the light; grey if C is 1."""

    def __init__(self, draws: Draws, light: Light, *, channels: int) -> None:
        self._light, self._channels = light, channels
        red = draws["skin.redness"][:, None]
        skin = draws["skin.luminance"][:, None] * torch.tensor([1.22, 0.96, 0.78])
        skin = skin * (1 + (red - 0.5) * torch.tensor([0.10, -0.08, 0.14]))
        skin = skin * (draws["skin.luminance"][:, None] / luma(skin))
        darkness = draws["hair.darkness"][:, None]
        grey_iris = (draws["iris.luminance"][:, None] / 0.36).clamp(0, 1)
        iris = torch.lerp(torch.tensor([1.5, 0.85, 0.45]), torch.tensor([0.85, 1.02, 1.2]), grey_iris)
        self.skin = self._colour(skin)
        self.flesh = self._colour(skin * torch.tensor([0.9, 0.68, 0.68]))
        self.waterline = self._colour(
            torch.tensor([[0.85, 0.68, 0.64]]) * skin.mean(1, keepdim=True).clamp(min=0.4) * 1.5
        )
        self.hair = self._colour((1 - darkness) * skin * 0.8 + 0.03 * torch.tensor([1.2, 1.0, 0.8]))
        self.iris = self._colour(iris / luma(iris))
        self.sclera = self._colour(torch.tensor([[1.04, 1.0, 0.93]]).expand(len(skin), 3))
        self.vein = self._colour(torch.tensor([[1.0, 0.62, 0.58]]).expand(len(skin), 3))
        self.caruncle = self._colour(torch.tensor([[0.78, 0.5, 0.46]]).expand(len(skin), 3))

    def _colour(self, rgb: Tensor) -> Tensor:
        tinted = rgb * self._light.tint
        return (luma(tinted) if self._channels == 1 else tinted)[:, :, None, None]


def _eyeball_colour(palette: _Palette, layers: EyeballLayers) -> Tensor:
    sclera = lerp(palette.sclera, palette.vein, layers.veins[:, None]) * layers.sclera_brightness[:, None]
    colour = lerp(sclera, palette.caruncle, 0.8 * layers.caruncle[:, None])
    colour = lerp(colour, palette.iris * layers.iris_brightness[:, None], layers.iris[:, None])
    return colour * layers.shade[:, None] + layers.highlight[:, None]


def _optics(picture: Tensor, draws: Draws, *, widest_blur_mm: float, pixel_mm: float) -> Tensor:
    """Apply exposure, contrast and blur, and clip to [0, 1]."""
    # Cameras compensate for the available light, but not fully.
    lightness = (draws["light.ambient"] + 0.6 * draws["light.direct"]) * (0.3 + draws["skin.luminance"])
    exposure, contrast = draws["optics.exposure"] * 0.86 * lightness**-0.75, draws["optics.contrast"]
    picture = picture * (exposure * contrast)[:, None, None, None] + (0.4 * (1 - contrast))[:, None, None, None]
    return _blur(picture, draws["optics.blur_mm"] / pixel_mm, widest=widest_blur_mm / pixel_mm).clamp(0, 1)


def _blur(picture: Tensor, sigma: Tensor, *, widest: float) -> Tensor:
    """Blur images (N, C, H, W) with a Gaussian of standard deviation ``sigma`` (N,), in pixels.

    The kernel size follows ``widest``. If it followed the batch, an image would depend on the others in its batch.
    """
    reach = max(1, math.ceil(2.5 * widest))
    offset = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offset[None] / sigma.clamp(min=1e-3)[:, None]) ** 2)
    weights = (weights / weights.sum(1, keepdim=True))[:, :, None, None, None]
    # Convolve rows, then columns, with the border repeated.
    for dim in (2, 3):
        before, after = picture.narrow(dim, 0, 1), picture.narrow(dim, picture.shape[dim] - 1, 1)
        padded = torch.cat([before] * reach + [picture] + [after] * reach, dim=dim)
        picture = sum(
            (weights[:, step] * padded.narrow(dim, step, picture.shape[dim]) for step in range(2 * reach + 1)),
            start=torch.zeros(()),
        )
    return picture
