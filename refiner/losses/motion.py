"""Motion loss: apparent motion (optical flow) between a synthetic image and its refined image.

The loss lets appearance change, but penalises structures that move.

Dimension letters: N images, C channels, H height, W width, h by w neighbourhoods.
"""

import torch
from torch import Tensor
from torch.nn import functional

NEIGHBOURHOOD = 13
"""Side in pixels of the squares that are assumed to move as a whole; about an iris of a 36x60 patch."""

STRIDE = 4
"""Distance in pixels from one square to the next."""

NOISE = 0.06
"""Image gradient, in units of [-1, 1] per pixel, below which a square counts as flat; damps the least squares."""


def motion_loss(refined: Tensor, synthetic: Tensor) -> Tensor:
    """Mean length, in pixels, of the apparent motion of all neighbourhoods.

    Self-regularization penalises new shading as much as an iris that moves. The motion loss ignores shading. With it,
    a smaller lambda lets the refiner change the appearance while labels stay valid.

    Args:
        refined: (N, C, H, W), float32, in [-1, 1]; H and W at least 2. Gradients flow through it.
        synthetic: same shape and device as ``refined``.

    Returns:
        Scalar tensor, at least 0.01. This offset keeps the gradient finite if nothing moves.
    """
    # The small constant keeps the slope of the root finite where nothing moves.
    return (apparent_motion(refined, synthetic).square().sum(dim=1) + 1e-4).sqrt().mean()


def apparent_motion(moved: Tensor, still: Tensor) -> Tensor:
    """Estimate the shift in pixels of each neighbourhood from ``still`` to ``moved``.

    Each square is fitted by least squares: moved = still - x d(still)/dx - y d(still)/dy + contrast * still +
    brightness. Local changes of light and contrast thus do not count as motion. The estimate is linear in ``moved``. It
    finds about two thirds of a shift of up to a pixel, less if edges are faint, and 0 if there are none.

    Args:
        moved: (N, C, H, W), float32, in [-1, 1]; channels are averaged. Gradients flow through it.
        still: (N, C, H, W), the images before the motion.

    Returns:
        (N, 2, h, w), shifts in x and y.

    Source:
        Lucas and Kanade 1981, with light and contrast as in Hager and Belhumeur 1998.
    """
    # Average over 3x3 pixels first, which suppresses noise.
    still, moved = (_mean(images.mean(dim=1, keepdim=True), 3, 1) for images in (still, moved))
    # Invert the normal equations of each square; they depend only on the still image.
    with torch.no_grad():
        regressors = torch.cat([-_slope(still, -1), -_slope(still, -2), still], dim=1)  # (N, 3, H, W)
        means = _mean(regressors)
        products = (regressors[:, :, None] * regressors[:, None]).flatten(1, 2)
        covariances = _mean(products).unflatten(1, (3, 3)) - means[:, :, None] * means[:, None]
        # The damping makes the estimate 0 in flat squares.
        matrices = covariances.permute(0, 3, 4, 1, 2) + NOISE**2 * torch.eye(3, device=still.device)
        inverses = torch.linalg.inv(matrices)[..., :2, :]
    # Solve for the shift of each square.
    change = moved - still
    shared = _mean(regressors * change) - means * _mean(change)
    return torch.einsum("nhwij,njhw->nihw", inverses, shared)


def _mean(images: Tensor, side: int = NEIGHBOURHOOD, stride: int = STRIDE) -> Tensor:
    """Mean over the square around each pixel; pixels outside the image do not count."""
    return functional.avg_pool2d(images, side, stride=stride, padding=side // 2, count_include_pad=False)


def _slope(images: Tensor, axis: int) -> Tensor:
    """Central differences along an axis, one-sided at the borders."""
    (slope,) = torch.gradient(images, dim=axis)
    return slope
