"""Light on an eye: a directional light, ambient light, and the tint of both."""

from dataclasses import dataclass

import torch
from torch import Tensor

from refiner.eyes.scene.sampling import Draws

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (BT.601, as in OpenCV and Pillow)."""


@dataclass(frozen=True)
class Light:
    """Light of N images. Strengths are factors on reflectance."""

    toward: Tensor
    """(N, 3) unit vectors towards the light, in camera axes."""
    direct: Tensor
    """(N,) strength of the directional light."""
    ambient: Tensor
    """(N,) strength of the ambient light."""
    tint: Tensor
    """(N, 3) red, green and blue; the luma of the tint is 1."""


def make_light(draws: Draws) -> Light:
    """Return the light of all images, from their drawn values."""
    elevation, azimuth = (torch.deg2rad(draws[f"light.{name}_degrees"]) for name in ("elevation", "azimuth"))
    toward = torch.stack(
        [
            torch.cos(elevation) * torch.sin(azimuth),
            -torch.sin(elevation),
            -torch.cos(elevation) * torch.cos(azimuth),
        ],
        dim=1,
    )
    warmth = draws["light.warmth"][:, None]
    tint = 1 + warmth * torch.tensor([1.0, 0.05, -1.2])
    return Light(toward=toward, direct=draws["light.direct"], ambient=draws["light.ambient"], tint=tint / luma(tint))


def luma(colour: Tensor) -> Tensor:
    """Return the grey values (N, 1) of colours (N, 3)."""
    return colour[:, 0:1] * LUMA[0] + colour[:, 1:2] * LUMA[1] + colour[:, 2:3] * LUMA[2]
