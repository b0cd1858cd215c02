"""The adversarial game: what discriminator and refiner want of the logits. Positive logits mean *refined*.

Each takes logits (N, 1, h, w) and gives a scalar tensor, the mean over images and patches.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional


def cross_entropy_discriminator_loss(refined_logits: Tensor, real_logits: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the discriminator: refined patches are class 1, real patches class 0.

    Args:
        refined_logits: (N, 1, h, w), of refined images (detached from the refiner) and of the history buffer.
        real_logits: (N, 1, h, w), of photographs.
        smoothing: target of the real patches instead of 0 (one-sided label smoothing, 0.1 is usual). The
            refined target stays 1: smoothing it would ask for wrong answers where no real patch lies.

    Returns:
        Scalar tensor; 2 ln 2 = 1.386 when every logit is 0.

    Source:
        arXiv:1612.07828, equation 2, averaged over images and over the patches of section 2.2.
    """
    refined_loss = functional.softplus(-refined_logits).mean()  # -log D
    real_loss = (functional.softplus(real_logits) - smoothing * real_logits).mean()  # -log(1 - D) at smoothing 0
    return refined_loss + real_loss


def cross_entropy_refiner_loss(refined_logits: Tensor) -> Tensor:
    """The refiner's wish that its patches pass for real: the mean of -log(1 - D).

    Args:
        refined_logits: (N, 1, h, w), with gradients into the refiner.

    Returns:
        Scalar tensor; ln 2 = 0.693 when every logit is 0.

    Source:
        arXiv:1612.07828, equation 4, first term. With the paper's labels this *is* the non-saturating form.
    """
    return functional.softplus(refined_logits).mean()


def minimax_refiner_loss(refined_logits: Tensor) -> Tensor:
    """What the discriminator wants of refined patches, turned round: the mean of log D.

    Its gradient dies where the discriminator is sure, which is where the refiner has most to learn: here to show why
    it is not used.

    Source:
        Goodfellow et al. 2014, arXiv:1406.2661, equation 1, with refined as class 1.
    """
    return -functional.softplus(-refined_logits).mean()


def least_squares_discriminator_loss(refined_logits: Tensor, real_logits: Tensor) -> Tensor:
    """Refined patches to 1, real ones to -1; 1 when every logit is 0.

    Source:
        Mao et al. 2017, arXiv:1611.04076, equation 2, with targets that have 0 between them.
    """
    return 0.5 * (refined_logits - 1).square().mean() + 0.5 * (real_logits + 1).square().mean()


def least_squares_refiner_loss(refined_logits: Tensor) -> Tensor:
    """Refined patches to -1, where real ones are: those far beyond the border are pulled, too."""
    return 0.5 * (refined_logits + 1).square().mean()


def hinge_discriminator_loss(refined_logits: Tensor, real_logits: Tensor) -> Tensor:
    """Refined patches to 1 and above, real ones to -1 and below, and no farther; 2 when every logit is 0.

    Source:
        Lim and Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, equation 16.
    """
    return functional.relu(1 - refined_logits).mean() + functional.relu(1 + real_logits).mean()


def wasserstein_discriminator_loss(refined_logits: Tensor, real_logits: Tensor) -> Tensor:
    """The mean of real patches less that of refined ones, which a critic of slope 1 makes as low as it can.

    Source:
        Gulrajani et al. 2017, arXiv:1704.00028, equation 3, without the penalty that keeps the slope.
    """
    return real_logits.mean() - refined_logits.mean()


def mean_refiner_loss(refined_logits: Tensor) -> Tensor:
    """The mean logit: the refiner's side of the hinge and of the Wasserstein game."""
    return refined_logits.mean()


class Objective(NamedTuple):
    """The two sides of an adversarial game.

    Attributes:
        discriminator: (refined_logits, real_logits) -> scalar loss of the discriminator; of log odds also
            ``smoothing``.
        refiner: (refined_logits) -> scalar loss of the refiner.
        ignorance: loss of a discriminator whose logits are all 0.
        log_odds: whether logits are log odds, so that targets can be smoothed.
    """

    discriminator: Callable[..., Tensor]
    refiner: Callable[[Tensor], Tensor]
    ignorance: float
    log_odds: bool = False


_TWO_COINS = 2 * math.log(2)

OBJECTIVES: dict[str, Objective] = {
    "cross_entropy": Objective(cross_entropy_discriminator_loss, cross_entropy_refiner_loss, _TWO_COINS, log_odds=True),
    "minimax": Objective(cross_entropy_discriminator_loss, minimax_refiner_loss, _TWO_COINS, log_odds=True),
    "least_squares": Objective(least_squares_discriminator_loss, least_squares_refiner_loss, 1.0),
    "hinge": Objective(hinge_discriminator_loss, mean_refiner_loss, 2.0),
    "wasserstein": Objective(wasserstein_discriminator_loss, mean_refiner_loss, 0.0),
}
"""Adversarial objectives by the name they have in a configuration."""
