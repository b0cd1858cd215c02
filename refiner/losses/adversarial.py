"""Adversarial losses of the discriminator and the refiner, as functions of the discriminator's logits.

Logits have the shape (N, 1, h, w); a positive logit means *refined*. Each loss is a scalar tensor, the mean over
images and patches.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional


def cross_entropy_discriminator_loss(refined_logits: Tensor, real_logits: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the discriminator: refined patches are class 1, real patches class 0.

    Args:
        refined_logits: (N, 1, h, w), logits of refined images, detached from the refiner, and of history images.
        real_logits: (N, 1, h, w), logits of real images.
        smoothing: target of real patches instead of 0 (one-sided label smoothing; 0.1 is usual). The target of
            refined patches stays 1, because smoothing it would reward errors far from real images.

    Returns:
        Scalar tensor; 2 ln 2 = 1.386 when every logit is 0.

    Source:
        arXiv:1612.07828, equation 2, averaged over images and over the patches of section 2.2.
    """
    # Softplus of a logit is -log of a probability, without its overflow.
    refined_loss = functional.softplus(-refined_logits).mean()  # -log D
    real_loss = (functional.softplus(real_logits) - smoothing * real_logits).mean()  # -log(1 - D) at smoothing 0
    return refined_loss + real_loss


def cross_entropy_refiner_loss(refined_logits: Tensor) -> Tensor:
    """Cross-entropy of the refiner, the mean of -log(1 - D): low if the discriminator takes refined patches for real.

    Args:
        refined_logits: (N, 1, h, w). Gradients flow through them into the refiner.

    Returns:
        Scalar tensor; ln 2 = 0.693 when every logit is 0.

    Source:
        arXiv:1612.07828, equation 4, first term. With the paper's labels this is the non-saturating form.
    """
    return functional.softplus(refined_logits).mean()


def minimax_refiner_loss(refined_logits: Tensor) -> Tensor:
    """Minimax loss of the refiner, the mean of log D: the negative of the discriminator's loss on refined patches.

    Its gradient vanishes if the discriminator is certain, exactly when the refiner has most to learn. It is provided
    only for comparison.

    Source:
        Goodfellow et al. 2014, arXiv:1406.2661, equation 1, with refined as class 1.
    """
    return -functional.softplus(-refined_logits).mean()


def least_squares_discriminator_loss(refined_logits: Tensor, real_logits: Tensor) -> Tensor:
    """Least-squares loss of the discriminator: targets 1 for refined and -1 for real patches; 1 if all logits are 0.

    Source:
        Mao et al. 2017, arXiv:1611.04076, equation 2, with targets on both sides of 0.
    """
    return 0.5 * (refined_logits - 1).square().mean() + 0.5 * (real_logits + 1).square().mean()


def least_squares_refiner_loss(refined_logits: Tensor) -> Tensor:
    """Least-squares loss of the refiner: target -1, that of real patches, for refined patches."""
    return 0.5 * (refined_logits + 1).square().mean()


def hinge_discriminator_loss(refined_logits: Tensor, real_logits: Tensor) -> Tensor:
    """Hinge loss of the discriminator: refined logits of at least 1 and real ones of at most -1 cost nothing.

    The loss is 2 if all logits are 0.

    Source:
        Lim and Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, equation 16.
    """
    return functional.relu(1 - refined_logits).mean() + functional.relu(1 + real_logits).mean()


def wasserstein_discriminator_loss(refined_logits: Tensor, real_logits: Tensor) -> Tensor:
    """Wasserstein loss of the critic: mean logit of real patches minus mean logit of refined patches.

    Source:
        Gulrajani et al. 2017, arXiv:1704.00028, equation 3, without the gradient penalty.
    """
    return real_logits.mean() - refined_logits.mean()


def mean_refiner_loss(refined_logits: Tensor) -> Tensor:
    """Mean logit, the refiner's loss for the hinge and the Wasserstein objective."""
    return refined_logits.mean()


class Objective(NamedTuple):
    """Adversarial objective: the losses of discriminator and refiner.

    Attributes:
        discriminator: function of (refined_logits, real_logits) that returns the loss of the discriminator. It also
            accepts ``smoothing`` if ``log_odds`` is true.
        refiner: function of (refined_logits) that returns the loss of the refiner.
        chance_loss: loss of a discriminator that guesses, with all logits 0.
        log_odds: whether logits are log odds, so that targets can be smoothed.
    """

    discriminator: Callable[..., Tensor]
    refiner: Callable[[Tensor], Tensor]
    chance_loss: float
    log_odds: bool = False


_CHANCE_CROSS_ENTROPY = 2 * math.log(2)

OBJECTIVES: dict[str, Objective] = {
    "cross_entropy": Objective(
        cross_entropy_discriminator_loss, cross_entropy_refiner_loss, _CHANCE_CROSS_ENTROPY, log_odds=True
    ),
    "minimax": Objective(cross_entropy_discriminator_loss, minimax_refiner_loss, _CHANCE_CROSS_ENTROPY, log_odds=True),
    "least_squares": Objective(least_squares_discriminator_loss, least_squares_refiner_loss, 1.0),
    "hinge": Objective(hinge_discriminator_loss, mean_refiner_loss, 2.0),
    "wasserstein": Objective(wasserstein_discriminator_loss, mean_refiner_loss, 0.0),
}
"""Adversarial objectives by their name in a configuration."""
