"""Self-regularization, the adversarial losses of both players, and the penalty that holds the discriminator back.

Every loss is a mean over images and patches (or pixels), so that no weight depends on batch or image size.
The paper sums over the patches and pixels of an image: its lambda, for N pixels and P patches, is ours times
P / N, and its learning rate is ours divided by P. At 35x55 with 9x14 patches: lambda x 15.28, learning rate
x 126.

A logit is positive where the discriminator takes a patch for *refined*, as in the paper, whose D gives the
probability of refined.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def self_regularization_loss(
    refined: Tensor,
    synthetic: Tensor,
    *,
    features: Callable[[Tensor], Tensor] | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Distance between refined images and the synthetic images they came from.

    Absolute differences, averaged over images, channels, rows and columns, or as far as each place counts.

    Args:
        refined: (N, C, H, W), float, in [-1, 1]. Gradients flow through it.
        synthetic: same shape and device as ``refined``.
        features: the paper's psi, image space to the space compared; keeps N first. None compares pixels.
        weights: (N, 1, H, W), at least 0, of the places of an image; ``features`` must keep H and W.

    Returns:
        Scalar tensor, at least 0; 0 when the images agree.

    Raises:
        ValueError: the shapes differ; broadcasting would hide a wrong batch.

    Source:
        arXiv:1612.07828, section 2.1, equation 3.

    Examples:
        >>> self_regularization_loss(torch.zeros(3, 1, 2, 2), torch.full((3, 1, 2, 2), 0.5))
        tensor(0.5000)
    """
    if refined.shape != synthetic.shape:
        raise ValueError(f"refined is {tuple(refined.shape)}, synthetic {tuple(synthetic.shape)}: expected one shape")
    if features is not None:
        refined, synthetic = features(refined), features(synthetic)
    apart = (refined - synthetic).abs()
    if weights is None:
        return apart.mean()
    return (weights * apart).sum() / weights.expand_as(apart).sum().clamp(min=1e-6)


def channel_mean(images: Tensor) -> Tensor:
    """Mean of the channels, (N, C, H, W) to (N, 1, H, W): hue may move, brightness may not.

    Source:
        arXiv:1612.07828, section 2.1, an example of psi.
    """
    return images.mean(dim=1, keepdim=True)


def image_gradients(images: Tensor) -> Tensor:
    """Differences to the pixel on the right and to the one below, (N, C, H, W) to (N, 2C, H, W).

    Exposure may move, edges may not: a change of brightness costs nothing where it is the same everywhere. The
    difference across the border is 0.
    """
    right = torch.diff(images, dim=-1, append=images[..., -1:])
    below = torch.diff(images, dim=-2, append=images[..., -1:, :])
    return torch.cat([right, below], dim=1)


def pixels_and_gradients(images: Tensor) -> Tensor:
    """Pixels beside :func:`image_gradients`, (N, C, H, W) to (N, 3C, H, W).

    Shading may move a little, single pixels may not: on pixels alone an absolute difference costs the same whether
    it is spread over a patch or put into one bright dot, and refiners find the dots.
    """
    return torch.cat([images, image_gradients(images)], dim=1)


def consistency_loss(refined: Tensor, synthetic: Tensor, task: Callable[[Tensor], Tensor]) -> Tensor:
    """How far refining moves the answers of a frozen network, such as a gaze estimator trained on renders.

    Pixels can stay near and lids, shading or the iris still move a little, the same way in every image. A network
    that answers the question the labels answer sees that; it is no proof, for what it does not see may move.

    Args:
        refined: (N, C, H, W), float, in [-1, 1]. Gradients flow through it.
        synthetic: same shape and device as ``refined``.
        task: the network, whose weights are frozen: (N, C, H, W) to (N, K).

    Returns:
        Scalar tensor, the mean absolute difference in units of the answers.

    Source:
        Hoffman et al., CyCADA, arXiv:1711.03213, section 3, semantic consistency, for numbers instead of classes.
    """
    with torch.no_grad():
        expected = task(synthetic)
    return (task(refined) - expected).abs().mean()


BLUR = 5
"""Side in pixels of the square that :func:`blurred` averages over."""


def blurred(images: Tensor) -> Tensor:
    """Mean over the 5x5 pixels around each, of those that lie inside; keeps (N, C, H, W).

    Texture and noise may move, structure and shading larger than the square may not.
    """
    return functional.avg_pool2d(images, BLUR, stride=1, padding=BLUR // 2, count_include_pad=False)


SELF_REGULARIZATIONS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "pixels": None,
    "channel_mean": channel_mean,
    "gradients": image_gradients,
    "pixels_and_gradients": pixels_and_gradients,
    "blurred": blurred,
}
"""What self-regularization compares, the paper's psi, by the name it has in a configuration."""
