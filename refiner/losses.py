"""Self-regularization and the local adversarial losses of both players.

Every loss is a mean over images and patches (or pixels), so that no weight depends on batch or image size.
The paper sums over the patches and pixels of an image: its lambda, for N pixels and P patches, is ours times
P / N, and its learning rate is ours divided by P. At 35x55 with 9x14 patches: lambda x 15.28, learning rate
x 126.

A logit is positive where the discriminator takes a patch for *refined*, as in the paper, whose D gives the
probability of refined.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional


def self_regularization_loss(
    refined: Tensor, synthetic: Tensor, *, features: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Distance between refined images and the synthetic images they came from.

    Absolute differences, averaged over images, channels, rows and columns.

    Args:
        refined: (N, C, H, W), float, in [-1, 1]. Gradients flow through it.
        synthetic: same shape and device as ``refined``.
        features: the paper's psi, image space to the space compared; keeps N first. None compares pixels.

    Returns:
        Scalar tensor, at least 0; 0 when the images agree.

    Raises:
        ValueError: the shapes differ; broadcasting would hide a wrong batch.

    Source:
        arXiv:1612.07828, section 2.1, equation 3.

    Example:
        >>> self_regularization_loss(torch.zeros(3, 1, 2, 2), torch.full((3, 1, 2, 2), 0.5))
        tensor(0.5000)
    """
    if refined.shape != synthetic.shape:
        raise ValueError(f"refined is {tuple(refined.shape)}, synthetic {tuple(synthetic.shape)}: expected one shape")
    if features is not None:
        refined, synthetic = features(refined), features(synthetic)
    return (refined - synthetic).abs().mean()


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


class Objective(NamedTuple):
    """The two sides of an adversarial game.

    Attributes:
        discriminator: (refined_logits, real_logits, *, smoothing) -> scalar loss of the discriminator.
        refiner: (refined_logits) -> scalar loss of the refiner.
    """

    discriminator: Callable[..., Tensor]
    refiner: Callable[[Tensor], Tensor]


OBJECTIVES: dict[str, Objective] = {
    "cross_entropy": Objective(cross_entropy_discriminator_loss, cross_entropy_refiner_loss),
}
"""Adversarial objectives by the name they have in a configuration."""
