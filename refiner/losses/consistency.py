"""Task consistency: refining should not change the predictions of frozen task networks.

A task network is, for example, a gaze estimator trained on synthetic images. Pixels can stay close while lids or the
iris shift slightly in the same way in every image; a network that predicts the labels notices that. It is no proof of
label preservation, because the network may miss other changes.

Source: Hoffman et al., CyCADA, arXiv:1711.03213, section 3, semantic consistency, for numbers instead of classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_ROUNDING = 1e-4
"""Scatter below which the loss is smooth: its slope stays finite where nothing changes."""

_LEAST_SPREAD = 1e-3
"""Standard deviation of predictions, in their units, below which their slope counts less and less."""


def absolute_consistency_loss(refined: Tensor, synthetic: Tensor, task: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean change that refining causes in the predictions of a frozen task network.

    Args:
        refined: (N, C, H, W), float, in [-1, 1]. Gradients flow through it.
        synthetic: same shape and device as ``refined``.
        task: network with frozen weights that maps (N, C, H, W) images to (N, K) predictions.

    Returns:
        Scalar tensor, the mean absolute difference in units of the predictions.
    """
    change, _ = _change(refined, synthetic, task)
    return change.abs().mean()


def centred_consistency_loss(
    refined: Tensor,
    synthetic: Tensor,
    task: Callable[[Tensor], Tensor],
    *,
    mean_over_processes: Callable[[Tensor], Tensor] = lambda values: values,
) -> Tensor:
    """Change of the predictions that differs between images: their scatter, and their departure from slope 1.

    A task network that was trained on synthetic images is biased on realistic ones. The absolute loss would make the
    refiner keep that bias. This loss permits one constant change for all images. It also adds the slope, which the
    scatter hardly sees: with a narrower range of gaze in the real images, refiners shrink the visible gaze.

    Args:
        refined: (N, C, H, W), float, in [-1, 1]. Gradients flow through it.
        synthetic: same shape and device as ``refined``.
        task: network with frozen weights that maps (N, C, H, W) images to (N, K) predictions.
        mean_over_processes: mean of a tensor over the processes that share a batch, each with its own images.

    Returns:
        Scalar tensor, in units of the predictions, averaged over the components: the standard deviation of the change,
        plus the typical change that its slope over the prediction causes.
    """
    change, expected = _change(refined, synthetic, task)

    def shared(values: Tensor) -> Tensor:
        # The value is that of all processes. The gradient is that of this one, and gradients are averaged later.
        return values + (mean_over_processes(values) - values).detach()

    # No gradient passes through the means: centred values sum to 0, so it would vanish.
    change, expected = (values - mean_over_processes(values.mean(dim=0)).detach() for values in (change, expected))
    scatter = (shared(change.square().mean(dim=0)) + _ROUNDING**2).sqrt() - _ROUNDING
    # The slope of the change over the prediction, times the standard deviation of the predictions.
    covariance = shared((change * expected).mean(dim=0))
    spread = mean_over_processes(expected.square().mean(dim=0)).sqrt()
    return (scatter + covariance.abs() / spread.clamp(min=_LEAST_SPREAD)).mean()


def _change(refined: Tensor, synthetic: Tensor, task: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Return the change of the predictions, and those for the renders, (N, K) each."""
    # The render is the target, so no gradient flows through it.
    with torch.no_grad():
        expected = task(synthetic)
    return task(refined) - expected, expected
