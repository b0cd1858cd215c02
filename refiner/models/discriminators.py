"""Local and global discriminator after the layer tables of the paper, and a DCGAN variant.

Dimension letters: N images, C channels, H height, W width of an image; h, w height and width of the map of patch
decisions. Images are float32 in [-1, 1]; a positive logit means *refined*.

Source: arXiv:1612.07828, sections 3.1 and 3.2 (layer tables of the gaze and the hand networks).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm as add_spectral_norm

from refiner.models.architecture import Padding

# Trunks of the paper's two discriminators and of a DCGAN: (kind, out channels, kernel, stride) of each layer.
_LAYERS: dict[str, Sequence[tuple[str, int, int, int]]] = {
    "gaze": (("conv", 96, 3, 2), ("conv", 64, 3, 2), ("pool", 0, 3, 1), ("conv", 32, 3, 1), ("conv", 32, 1, 1)),
    "hand": (("conv", 96, 7, 4), ("conv", 64, 5, 2), ("pool", 0, 3, 2), ("conv", 32, 3, 2), ("conv", 32, 1, 1)),
    "dcgan": (("conv", 64, 4, 2), ("conv", 128, 4, 2), ("conv", 256, 4, 2)),
}

DCGAN_SLOPE = 0.2
"""Negative slope of the leaky ReLUs; Radford et al. 2016, arXiv:1511.06434, section 4."""

DCGAN_SPREAD = 0.02
"""Standard deviation of the initial weights; Radford et al. 2016, arXiv:1511.06434, section 4."""

REGIONS = 3
"""Number of rows and columns of image regions that a global discriminator averages over."""


class DomainNorm(nn.Module):
    """Batch normalisation with separate statistics for each domain, but a shared gain and shift.

    A gain and shift for each domain would reveal to the discriminator which domain it looks at.

    Args:
        features: number of channels.

    Attributes:
        real: whether the next images are real; selects the statistics.

    Source:
        Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1; separate batches for each domain as in Chintala et al.,
        How to Train a GAN, NIPS 2016.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.statistics = nn.ModuleList(nn.BatchNorm2d(features, affine=False) for _ in ("refined", "real"))
        self.gain, self.shift = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.real = False

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise features, (N, features, h, w), with the statistics of the domain that :attr:`real` selects."""
        normal: Tensor = self.statistics[int(self.real)](inputs)
        return normal * self.gain[:, None, None] + self.shift[:, None, None]


class Discriminator(nn.Module):
    """Base class of the discriminators: a trunk, two scores, and one logit as their difference.

    The paper ends in two channels and a softmax, which depends only on the difference of the channels. The network
    therefore returns this difference without an activation. A positive logit means *refined*, a negative one *real*.

    Args:
        channels: number of image channels.
        layers: layer table of the trunk. "gaze" and "hand" are the paper's. "dcgan" has strides instead of pooling,
            leaky ReLUs and small initial weights.
        width: factor on the number of channels of every hidden layer; 1 is the paper's.
        spectral_norm: whether to divide every weight by its largest singular value, see :func:`normalize_spectrally`.
        batch_norm: whether to add a :class:`DomainNorm` after each convolution of the trunk except the first.
        padding: values outside the image and outside feature maps, see
            :class:`refiner.models.architecture.RefinerArchitecture`; the paper's is "zeros".

    Attributes:
        features: number of channels after the trunk.
    """

    features: int

    def __init__(
        self,
        channels: int = 1,
        *,
        layers: str = "gaze",
        width: float = 1.0,
        spectral_norm: bool = False,
        batch_norm: bool = False,
        padding: Padding = "replicate",
    ) -> None:
        super().__init__()
        # Build the trunk from its layer table.
        modules: list[nn.Module] = []
        for kind, out_channels, kernel, stride in _LAYERS[layers]:
            if kind == "pool":
                modules.append(nn.MaxPool2d(kernel, stride, padding=kernel // 2))
                continue
            out_channels = max(1, round(out_channels * width))
            unit = nn.LeakyReLU(DCGAN_SLOPE, inplace=True) if layers == "dcgan" else nn.ReLU(inplace=True)
            norm = [DomainNorm(out_channels)] if batch_norm and modules else []
            border = (kernel - 1) // 2
            mode = padding if border else "zeros"  # any other mode would copy the features, even without a border
            modules += [nn.Conv2d(channels, out_channels, kernel, stride, border, padding_mode=mode), *norm, unit]
            channels = out_channels
        self.trunk = nn.Sequential(*modules)
        self.features = channels
        self.add_head()
        # Initialise and normalise the weights once all layers exist.
        for module in self.modules() if layers == "dcgan" else ():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, std=DCGAN_SPREAD)
        if spectral_norm:
            normalize_spectrally(self)

    def forward(self, images: Tensor, *, real: bool = False) -> Tensor:
        """Classify each patch or each image as refined or real.

        Args:
            images: (N, C, H, W), float, in [-1, 1].
            real: whether the images are real; only batch normalisation uses this.

        Returns:
            (N, 1, h, w) logits, float32; positive means refined.
        """
        # Select the statistics of the domain.
        for module in self.modules():
            if isinstance(module, DomainNorm):
                module.real = real
        with parametrize.cached():
            # Compute the spectral norms once for each pass, and in fp32.
            with torch.autocast(images.device.type, enabled=False):
                for module in self.modules():
                    if parametrize.is_parametrized(module):
                        _ = module.weight
            hidden = self.trunk(images)
            with torch.autocast(images.device.type, enabled=False):
                scores = self.scores(hidden.float())  # (N, 2, h, w): real, refined
        return scores[:, 1:2] - scores[:, 0:1]  # (N, 1, h, w)

    def add_head(self) -> None:
        """Create the layers after the trunk."""
        raise NotImplementedError

    def scores(self, hidden: Tensor) -> Tensor:
        """Return the scores for real and for refined, (N, 2, ...), from the trunk's (N, features, h, w)."""
        raise NotImplementedError


class PatchDiscriminator(Discriminator):
    """Local discriminator of the paper: one decision for each local patch of the image, (N, 1, h, w).

    "gaze" has 75,906 parameters, a receptive field of 23 and 9x14 patches at 35x55. "hand" has 178,050 parameters, a
    receptive field of 71 and 7x7 patches at 224x224. "dcgan" has 657,346 parameters, a receptive field of 22 and 4x6
    patches at 35x55.
    """

    def add_head(self) -> None:
        """Create a 1x1 convolution to the two scores."""
        self.head = nn.Conv2d(self.features, 2, 1)

    def scores(self, hidden: Tensor) -> Tensor:
        """Return the scores of each patch, (N, 2, h, w), from the trunk's (N, features, h, w)."""
        scores: Tensor = self.head(hidden)
        return scores


class GlobalDiscriminator(Discriminator):
    """Global discriminator of the paper's ablation: one decision for the whole image, (N, 1, 1, 1).

    The features of the trunk are averaged over 3x3 regions of the image, and two dense layers combine all regions.
    The paper puts one dense layer on the whole map, which fixes the size of the image. Regions keep the layout and
    work at any size; the hidden layer lets the network combine distant regions of the image.

    The network has 85,154 parameters with "gaze" and 187,298 with "hand".

    Source:
        arXiv:1612.07828, section 3.3, the comparison of local and global adversarial loss.
    """

    def add_head(self) -> None:
        """Create the two dense layers."""
        self.regions = nn.Linear(self.features * REGIONS**2, self.features)
        self.head = nn.Linear(self.features, 2)

    def scores(self, hidden: Tensor) -> Tensor:
        """Return the scores of each image, (N, 2, 1, 1), from the trunk's (N, features, h, w)."""
        regions = functional.adaptive_avg_pool2d(hidden, REGIONS).flatten(1)  # (N, 9 features)
        scores: Tensor = self.head(functional.relu(self.regions(regions)))
        return scores[..., None, None]


DISCRIMINATORS: dict[str, type[Discriminator]] = {"local": PatchDiscriminator, "global": GlobalDiscriminator}
"""Discriminators by the name of their scope in a configuration."""


def normalize_spectrally(network: nn.Module) -> None:
    """Keep the spectral norm of every convolution and dense layer at 1, which bounds the slope of the network.

    Each forward pass in training mode does one power iteration; evaluation mode does none. The vectors of the
    iteration are buffers and therefore part of the network's state.

    Source:
        Miyato et al. 2018, arXiv:1802.05957, algorithm 1; a convolution counts as the matrix (out, in x k x k).
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            add_spectral_norm(module)
