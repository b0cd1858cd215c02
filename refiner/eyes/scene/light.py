"""The light on an eye: one direction, ambient light, and the tint of both."""

from dataclasses import dataclass

import torch
from torch import Tensor

from refiner.eyes.scene.sampling import Draws

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (BT.601, as OpenCV and Pillow use it)."""


@dataclass(frozen=True)
class Light:
    """Light of each image; strengths are factors on reflectance."""

    toward: Tensor
    """(N, 3) unit vector to the light, camera axes."""
    direct: Tensor
    """(N,)."""
    ambient: Tensor
    """(N,)."""
    tint: Tensor
    """(N, 3) red, green, blue; luma of the tint is 1."""


def make_light(draws: Draws) -> Light:
    """Light of all images from their drawn values."""
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
    """Grey (N, 1) of colours (N, 3)."""
    return colour[:, 0:1] * LUMA[0] + colour[:, 1:2] * LUMA[1] + colour[:, 2:3] * LUMA[2]
