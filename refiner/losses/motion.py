"""Apparent motion between a render and its refined image, as a loss: appearance may change, places may not.

Dimension letters: N images, C channels, H height, W width, h by w neighbourhoods.
"""

import torch
from torch import Tensor
from torch.nn import functional

NEIGHBOURHOOD = 13
"""Side in pixels of the squares that are assumed to move as one: an iris of a 36x60 patch."""

STRIDE = 4
"""Pixels from one square to the next."""

NOISE = 0.06
"""Slopes, in levels of [-1, 1] a pixel, that count as flat."""


def motion_loss(refined: Tensor, synthetic: Tensor) -> Tensor:
    """Mean length, in pixels, of the apparent motion of all neighbourhoods.

    Self-regularization holds every pixel a little, and pays as much for new shading as for an iris that moves. This
    one is blind to shading, so that a smaller lambda may let a refiner change what labels do not describe.

    Args:
        refined: (N, C, H, W), float32, in [-1, 1]; H and W at least 2. Gradients flow through it.
        synthetic: same shape and device as ``refined``.

    Returns:
        Scalar tensor, at least 0; 0.01 when nothing moves, since a length has no slope at 0.
    """
    return (apparent_motion(refined, synthetic).square().sum(dim=1) + 1e-4).sqrt().mean()


def apparent_motion(moved: Tensor, still: Tensor) -> Tensor:
    """How far each neighbourhood of ``still`` seems to have moved in ``moved``, in pixels.

    Least squares over a square: moved = still - x d(still)/dx - y d(still)/dy + contrast * still + brightness, so that
    light and contrast may change from place to place without counting as motion. Linear in ``moved``; finds some two
    thirds of a shift of up to a pixel, less where edges are faint, and 0 where there is none.

    Args:
        moved: (N, C, H, W), float32, in [-1, 1]; channels are averaged. Gradients flow through it.
        still: the same shape.

    Returns:
        (N, 2, h, w), x and y, from ``still`` to ``moved``.

    Source:
        Lucas and Kanade 1981, with light and contrast as in Hager and Belhumeur 1998.
    """
    still, moved = (_mean(images.mean(dim=1, keepdim=True), 3, 1) for images in (still, moved))
    with torch.no_grad():
        regressors = torch.cat([-_slope(still, -1), -_slope(still, -2), still], dim=1)  # (N, 3, H, W)
        means = _mean(regressors)
        products = (regressors[:, :, None] * regressors[:, None]).flatten(1, 2)
        covariances = _mean(products).unflatten(1, (3, 3)) - means[:, :, None] * means[:, None]
        matrices = covariances.permute(0, 3, 4, 1, 2) + NOISE**2 * torch.eye(3, device=still.device)
        inverses = torch.linalg.inv(matrices)[..., :2, :]
    change = moved - still
    shared = _mean(regressors * change) - means * _mean(change)
    return torch.einsum("nhwij,njhw->nihw", inverses, shared)


def _mean(images: Tensor, side: int = NEIGHBOURHOOD, stride: int = STRIDE) -> Tensor:
    """Over the squares around pixels, of what lies inside the image."""
    return functional.avg_pool2d(images, side, stride=stride, padding=side // 2, count_include_pad=False)


def _slope(images: Tensor, axis: int) -> Tensor:
    """Central differences along an axis, one-sided at the borders."""
    (slope,) = torch.gradient(images, dim=axis)
    return slope
