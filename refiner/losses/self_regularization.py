"""Self-regularization losses, which keep a refined image close to its synthetic image.

Every loss is a mean over images and pixels, and adversarial losses are means over images and patches. No weight
therefore depends on the size of batch or image. The paper sums over the pixels and patches of an image. For N pixels
and P patches, its lambda is ours times P / N, and its learning rate is ours divided by P. At 35x55 with 9x14 patches,
multiply the paper's lambda by 15.28 and its learning rate by 126 to get ours.
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
    mean_over_processes: Callable[[Tensor], Tensor] = lambda values: values,
) -> Tensor:
    """Distance between refined images and the synthetic images they came from.

    The distance is the mean absolute difference over images, channels, rows and columns, or a weighted mean.

    Args:
        refined: (N, C, H, W), float, in [-1, 1]. Gradients flow through it.
        synthetic: same shape and device as ``refined``.
        features: the paper's psi, which maps images to the features that are compared; keeps N first. None compares
            pixels.
        weights: (N, 1, H, W), at least 0, weights of the pixels; ``features`` must then keep H and W.
        mean_over_processes: mean of a tensor over the processes that share a batch, each with its own images. The mean
            of their losses is then the weighted mean over the whole batch, whatever the weights of each process.

    Returns:
        Scalar tensor, at least 0; 0 if the images are equal.

    Raises:
        ValueError: the shapes differ, which broadcasting would hide.

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
    # Average the absolute differences, with weights if there are any.
    differences = (refined - synthetic).abs()
    if weights is None:
        return differences.mean()
    total = mean_over_processes(weights.expand_as(differences).sum())
    return (weights * differences).sum() / total.clamp(min=1e-6)


def channel_mean(images: Tensor) -> Tensor:
    """Average the channels, from (N, C, H, W) to (N, 1, H, W): hue may change, brightness may not.

    Source:
        arXiv:1612.07828, section 2.1, an example of psi.
    """
    return images.mean(dim=1, keepdim=True)


def image_gradients(images: Tensor) -> Tensor:
    """Compute differences to the pixel on the right and to the pixel below, from (N, C, H, W) to (N, 2C, H, W).

    Exposure may change, edges may not: a uniform change of brightness costs nothing. The difference across the border
    is 0.
    """
    right = torch.diff(images, dim=-1, append=images[..., -1:])
    below = torch.diff(images, dim=-2, append=images[..., -1:, :])
    return torch.cat([right, below], dim=1)


def pixels_and_gradients(images: Tensor) -> Tensor:
    """Concatenate pixels and :func:`image_gradients`, from (N, C, H, W) to (N, 3C, H, W).

    Shading may change a little, single pixels may not. With pixels only, an absolute difference costs the same whether
    it is spread over a patch or concentrated in a bright dot, and refiners learn such dots.
    """
    return torch.cat([images, image_gradients(images)], dim=1)


BLUR = 5
"""Side in pixels of the square over which :func:`blurred` averages."""


def blurred(images: Tensor) -> Tensor:
    """Average over the 5x5 pixels around each pixel, without those outside the image; keeps (N, C, H, W).

    Texture and noise may change; structure and shading larger than the square may not.
    """
    return functional.avg_pool2d(images, BLUR, stride=1, padding=BLUR // 2, count_include_pad=False)


def standardized(images: Tensor) -> Tensor:
    """Give each channel of each image mean 0 and standard deviation 1; keeps (N, C, H, W).

    Exposure, contrast and white balance of the whole image may change; colours within it may not trade places.
    """
    means = images.mean(dim=(-2, -1), keepdim=True)
    variances = (images - means).square().mean(dim=(-2, -1), keepdim=True)
    return (images - means) * (variances + 1e-3).rsqrt()  # an even image stays even


SELF_REGULARIZATIONS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "pixels": None,
    "channel_mean": channel_mean,
    "gradients": image_gradients,
    "pixels_and_gradients": pixels_and_gradients,
    "blurred": blurred,
    "standardized": standardized,
}
"""Feature maps that self-regularization compares, the paper's psi, by their name in a configuration."""
