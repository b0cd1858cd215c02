"""Gradient penalties on the discriminator: R1, and the gradient penalty of a Wasserstein critic."""

from collections.abc import Callable

import torch
from torch import Tensor

from refiner.core.rng import BatchSlice


def r1_penalty(
    discriminator: Callable[[Tensor], Tensor],
    real: Tensor,
    generator: torch.Generator,
    *,
    rows: BatchSlice | None = None,
) -> Tensor:
    """R1 penalty: the squared norm of the gradient of a real patch's logit with respect to the image.

    The penalty is the mean over images and patches. One backward pass estimates it without bias. The logits are summed
    with random signs; the product of two signs averages to 0 for different patches and is 1 for the same patch.
    Without the signs, gradients of overlapping patches would add up or cancel. The estimate is exact if patches do not
    overlap, or if there is one patch in each image.

    Args:
        discriminator: maps (N, C, H, W) images to (N, 1, h, w) logits. The logits of an image must not depend on other
            images.
        real: (N, C, H, W), float32, in [-1, 1].
        generator: CPU generator of the signs.
        rows: slice of the batch that the images are. Signs are drawn for the whole batch. None means the whole batch.

    Returns:
        Scalar tensor, at least 0, in squared logits per squared unit of [-1, 1]. Its gradient reaches the weights of
        the discriminator.

    Source:
        Mescheder et al. 2018, arXiv:1801.04406, equation 9, without the factor gamma / 2. The source's
        discriminator has one logit.
    """
    real = real.detach().requires_grad_()
    logits = discriminator(real)
    # Draw the signs for the whole batch, so that a slice of it gets the same ones.
    rows = rows or BatchSlice(0, len(real), len(real))
    bits = torch.randint(2, (rows.batch_size, *logits.shape[1:]), generator=generator)[rows.slice]
    # Sum the logits with the signs, and differentiate the sum with respect to the images.
    signs = 2.0 * bits.to(logits.device) - 1
    (gradient,) = torch.autograd.grad((signs * logits).sum(), real, create_graph=True)
    return gradient.square().sum() / logits.numel()


def gradient_penalty(
    discriminator: Callable[[Tensor], Tensor],
    refined: Tensor,
    real: Tensor,
    generator: torch.Generator,
    *,
    rows: BatchSlice | None = None,
) -> Tensor:
    """Gradient penalty of a Wasserstein critic: the mean squared difference of its gradient norm from 1.

    The gradient is taken at random points between refined and real images. The critic's value for an image is the mean
    over its patches.

    Args:
        discriminator: maps (N, C, H, W) images to (N, 1, h, w) logits. The logits of an image must not depend on other
            images.
        refined, real: (N, C, H, W), float32, in [-1, 1]; interpolated in pairs.
        generator: CPU generator of the interpolation weights.
        rows: slice of the batch that the pairs are. Weights are drawn for the whole batch. None means the whole batch.

    Returns:
        Scalar tensor, at least 0. Its gradient reaches the weights of the discriminator.

    Source:
        Gulrajani et al. 2017, arXiv:1704.00028, equation 3.
    """
    rows = rows or BatchSlice(0, len(real), len(real))
    # Interpolate each pair at a random point.
    share = torch.rand(rows.batch_size, generator=generator)[rows.slice].to(real.device)[:, None, None, None]
    mixed = (share * real + (1 - share) * refined).detach().requires_grad_()
    # Compare the gradient norm at these points with 1.
    values = discriminator(mixed).flatten(1).mean(dim=1)  # (N,)
    (gradient,) = torch.autograd.grad(values.sum(), mixed, create_graph=True)
    penalty: Tensor = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
    return penalty
