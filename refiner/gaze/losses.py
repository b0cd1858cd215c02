"""What a gaze estimator is trained to make small; both are means over images, and finite everywhere."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

_ROUNDING = 0.01
"""Radians within which the angular loss is round rather than a cone (0.6 degrees)."""


def to_unit_vectors(angles: Tensor) -> Tensor:
    """Unit gaze vectors (N, 3) of (pitch, yaw) in radians (N, 2); see :mod:`refiner.data.labels.angles`."""
    pitch, yaw = angles[:, 0], angles[:, 1]
    return torch.stack([-pitch.cos() * yaw.sin(), -pitch.sin(), -pitch.cos() * yaw.cos()], dim=1)


def angular_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Angle between two gazes as the chord between their unit vectors, rounded off at zero.

    sqrt(chord^2 + r^2) - r with r = 0.01: an arc cosine has no finite slope at zero. The chord 2 sin(angle / 2) is
    within 1 % of the angle up to 28 degrees.

    Args:
        predicted, true: (N, 2), pitch and yaw in radians; gradients flow through the first.

    Returns:
        Scalar, at least 0.
    """
    squared = (to_unit_vectors(predicted) - to_unit_vectors(true)).square().sum(dim=1)
    return ((squared + _ROUNDING**2).sqrt() - _ROUNDING).mean()


def smooth_l1_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Absolute difference of pitch and of yaw, square below 0.05 radians (2.9 degrees)."""
    return functional.smooth_l1_loss(predicted, true, beta=0.05)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"angular": angular_loss, "smooth_l1": smooth_l1_loss}
"""Losses by name."""
