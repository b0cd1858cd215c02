"""Draw the random values of the eyes: a value for each range, and the noise textures, per person and per view.

Each image reads its own uniform numbers from generators for (seed, person) and (seed, image), in a fixed order of
fields. Image i therefore never depends on the batch, and widening one range does not change the other values.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from refiner.core.rng import torch_generator
from refiner.eyes.scene.parameters import EyeParameters, HeadRanges, Section

PERSON_SECTIONS = ("geometry", "lids", "hair", "skin", "iris", "sclera", "glasses")
VIEW_SECTIONS = ("gaze", "head", "expression", "light", "placement", "optics")

SKIN_TEXELS = 96
"""Height and width of a skin texture. Its noise has mean 0 and a standard deviation of about 1."""
SKIN_SPAN_MM = 72.0
"""Width of the face that a skin texture covers."""
IRIS_TEXELS = 48
"""Height and width of an iris texture."""

SKEWED = {"iris.luminance": 3}
"""Exponents of uniform draws: most irises are dark."""

Draws = dict[str, Tensor]
"""Drawn values, each (N,), under "section.field"; "glasses.worn" is 0 or 1."""


def draw_values(parameters: EyeParameters, indices: Sequence[int], *, seed: int) -> Draws:
    """Draw the values of all ranges for the images ``indices``.

    Args:
        parameters: ranges to draw from.
        indices: image numbers.
        seed: seed of the data set.

    Returns:
        A tensor (N,), float32, for each "section.field", in the field's own unit.
    """
    people = [index // parameters.images_per_person for index in indices]
    person_uniform = {person: _uniform(seed, "eyes-person", person) for person in set(people)}
    values = _scale(parameters, PERSON_SECTIONS, torch.stack([person_uniform[person] for person in people]))
    view_uniform = torch.stack([_uniform(seed, "eyes-view", index) for index in indices])
    values |= _scale(parameters, VIEW_SECTIONS, view_uniform)
    _follow_gaze(values, parameters.head)
    return values


def _follow_gaze(values: Draws, limits: HeadRanges) -> None:
    """Turn heads, in place, until no eye is turned in its head beyond the limits."""
    upright = {"pitch": values["geometry.face_tilt_degrees"], "yaw": torch.zeros_like(values["gaze.yaw_degrees"])}
    for axis, limit in (("pitch", limits.eye_pitch_limit_degrees), ("yaw", limits.eye_yaw_limit_degrees)):
        straight = values[f"gaze.{axis}_degrees"] + upright[axis]
        head = values[f"head.{axis}_degrees"]
        values[f"head.{axis}_degrees"] = torch.minimum(torch.maximum(head, straight - limit), straight + limit)


def _uniform(seed: int, purpose: str, position: int) -> Tensor:
    """Return 64 uniform numbers, more than a person or a view has fields."""
    return torch.rand(64, generator=torch_generator(seed, purpose, position))


def _scale(parameters: EyeParameters, sections: Sequence[str], uniform: Tensor) -> Draws:
    values: Draws = {}
    column = 0
    for name in sections:
        section: Section = getattr(parameters, name)
        for field in type(section).model_fields:
            unit = uniform[:, column]
            column += 1
            bounds = getattr(section, field)
            if name == "glasses" and field == "probability":
                values["glasses.worn"] = (unit < bounds).float()
                continue
            if not isinstance(bounds, tuple):
                continue  # a limit, not a range
            unit = unit ** SKEWED.get(f"{name}.{field}", 1)
            values[f"{name}.{field}"] = bounds[0] + (bounds[1] - bounds[0]) * unit
    return values


def draw_textures(parameters: EyeParameters, indices: Sequence[int], *, seed: int) -> tuple[Tensor, Tensor]:
    """Draw the noise textures of the people in the images ``indices``.

    Returns:
        Skin (N, 2, SKIN_TEXELS, SKIN_TEXELS) with the channels blotches and grain, and iris (N, 1, IRIS_TEXELS,
        IRIS_TEXELS) with radial fibres, on a square that encloses the limbus.
    """
    people = [index // parameters.images_per_person for index in indices]
    # Draw each person's textures once, then repeat them for the person's images.
    unique = sorted(set(people))
    order = torch.tensor([unique.index(person) for person in people])
    generators = [torch_generator(seed, "eyes-texture", person) for person in unique]
    skin = torch.cat([_skin_texture(generator) for generator in generators])
    iris = torch.cat([_iris_texture(generator) for generator in generators])
    return skin[order], iris[order]


def _skin_texture(generator: torch.Generator) -> Tensor:
    blotches = functional.interpolate(
        torch.randn(1, 1, 18, 18, generator=generator), size=SKIN_TEXELS, mode="bicubic", align_corners=False
    )
    grain = torch.randn(1, 1, SKIN_TEXELS, SKIN_TEXELS, generator=generator)
    # Wrinkles around the eye are horizontal: average along x only.
    wrinkles = functional.avg_pool2d(grain, (1, 3), stride=1, padding=(0, 1), count_include_pad=False) * 1.4
    return torch.cat([blotches, wrinkles], dim=1)


def _iris_texture(generator: torch.Generator) -> Tensor:
    axis = (torch.arange(IRIS_TEXELS, dtype=torch.float32) + 0.5) / IRIS_TEXELS * 2 - 1
    y, x = axis[:, None], axis[None, :]
    angle, radius = torch.atan2(y, x), torch.sqrt(x * x + y * y)
    texture = torch.zeros(IRIS_TEXELS, IRIS_TEXELS)
    phase = torch.rand(12, generator=generator) * 6.2832
    strength = torch.randn(12, generator=generator)
    # Fibres: a sum of waves around the centre, each bent a little along the radius.
    for row, waves in enumerate((1, 2, 3, 5, 8, 11, 13, 17, 19, 23, 29, 31)):
        texture += strength[row] * torch.cos(waves * angle + phase[row] + 1.5 * radius * strength[row - 1]) * 0.4
    # Collarette: a lighter ring around the pupil.
    texture += 0.6 * torch.exp(-(((radius - 0.5) / 0.15) ** 2))
    return texture[None, None]
