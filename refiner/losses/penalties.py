"""Penalties that hold the discriminator back: R1, and the slope of a Wasserstein critic."""

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
    """Mean, over images and patches, of the squared norm of a real patch's logit's gradient with respect to the image.

    One backward pass estimates it without bias: the logits are summed under random signs, whose products
    average to 0 for two patches and are 1 for a patch with itself. Without them the gradients of overlapping
    patches would add up or cancel. Exact where patches do not overlap, or where there is one an image.

    Args:
        discriminator: (N, C, H, W) to (N, 1, h, w) logits; no image may change the logits of another.
        real: (N, C, H, W), float32, in [-1, 1].
        generator: of the signs, on the CPU.
        rows: which of a batch the images are, that is drawn for as a whole; None is all of it.

    Returns:
        Scalar tensor, at least 0, in squared logits for a unit of [-1, 1]; its gradient reaches the
        discriminator's weights.

    Source:
        Mescheder et al. 2018, arXiv:1801.04406, equation 9, without gamma / 2; there a discriminator has one logit.
    """
    real = real.detach().requires_grad_()
    logits = discriminator(real)
    rows = rows or BatchSlice(0, len(real), len(real))
    drawn = torch.randint(2, (rows.batch_size, *logits.shape[1:]), generator=generator)[rows.slice]
    signs = 2.0 * drawn.to(logits.device) - 1
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
    """Mean squared distance from 1 of the slope of a critic, between refined images and photographs.

    A critic's judgement of an image is the mean over its patches.

    Args:
        discriminator: (N, C, H, W) to (N, 1, h, w); no image may change the logits of another.
        refined, real: (N, C, H, W), float32, in [-1, 1]; mixed in pairs.
        generator: of the places between them, on the CPU.
        rows: which of a batch the pairs are, that is drawn for as a whole; None is all of it.

    Returns:
        Scalar tensor, at least 0; its gradient reaches the discriminator's weights.

    Source:
        Gulrajani et al. 2017, arXiv:1704.00028, equation 3.
    """
    rows = rows or BatchSlice(0, len(real), len(real))
    share = torch.rand(rows.batch_size, generator=generator)[rows.slice].to(real.device)[:, None, None, None]
    mixed = (share * real + (1 - share) * refined).detach().requires_grad_()
    judgement = discriminator(mixed).flatten(1).mean(dim=1)
    (slope,) = torch.autograd.grad(judgement.sum(), mixed, create_graph=True)
    penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return penalty
