"""The discriminators, local and global, to the paper's layer tables and after DCGAN's guidelines.

Dimension letters: N images, C channels, H height, W width of an image; h, w height and width of the map of patch
decisions. Images are float32 in [-1, 1]; a positive logit means *refined*.

Source: arXiv:1612.07828, section 3.1 and 3.2 (layer tables of the gaze and the hand networks).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

# Layers of the two discriminators of the paper, and of one after DCGAN: (out channels, kernel, stride) of a
# convolution, or a max-pooling.
_DISCRIMINATOR_LAYERS: dict[str, Sequence[tuple[str, int, int, int]]] = {
    "gaze": (("conv", 96, 3, 2), ("conv", 64, 3, 2), ("pool", 0, 3, 1), ("conv", 32, 3, 1), ("conv", 32, 1, 1)),
    "hand": (("conv", 96, 7, 4), ("conv", 64, 5, 2), ("pool", 0, 3, 2), ("conv", 32, 3, 2), ("conv", 32, 1, 1)),
    "dcgan": (("conv", 64, 4, 2), ("conv", 128, 4, 2), ("conv", 256, 4, 2)),
}

DCGAN_SLOPE, DCGAN_SPREAD = 0.2, 0.02
"""Of its leaky units, and standard deviation of its first weights; Radford et al. 2016, arXiv:1511.06434, section 4."""


class DomainNorm(nn.Module):
    """Batch normalisation with statistics of each domain, and one gain and one shift for both.

    Were these of each domain, too, the discriminator would know from them which of the two it is looking at.

    Args:
        features: channels.

    Source:
        Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1; a batch of each domain by itself, as in Chintala et al.,
        How to Train a GAN, NIPS 2016.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.statistics = nn.ModuleList(nn.BatchNorm2d(features, affine=False) for _ in ("refined", "real"))
        self.gain, self.shift = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.real = False

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, features, h, w) to the same, by the statistics of the domain that :attr:`real` names."""
        normal: Tensor = self.statistics[int(self.real)](inputs)
        return normal * self.gain[:, None, None] + self.shift[:, None, None]


class Discriminator(nn.Module):
    """What the discriminators share: a trunk, two scores, and one logit as their difference.

    The paper ends in two channels and a softmax. Only their difference matters to it, so the network returns
    that difference: a logit, positive means *refined*, negative means *real*. There is no activation on it.

    Args:
        channels: channels of the images.
        layers: layer table, "gaze" or "hand" of the paper, or "dcgan": strides instead of pooling, leaky units, weights
            that begin small.
        width: factor on the number of channels of every hidden layer; 1 is the paper's.
        batch_norm: a :class:`DomainNorm` behind each convolution of the trunk but the first.
    """

    features: int

    def __init__(
        self, channels: int = 1, *, layers: str = "gaze", width: float = 1.0, batch_norm: bool = False
    ) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        for kind, out_channels, kernel, stride in _DISCRIMINATOR_LAYERS[layers]:
            if kind == "pool":
                modules.append(nn.MaxPool2d(kernel, stride, padding=kernel // 2))
                continue
            out_channels = max(1, round(out_channels * width))
            unit = nn.LeakyReLU(DCGAN_SLOPE, inplace=True) if layers == "dcgan" else nn.ReLU(inplace=True)
            norm = [DomainNorm(out_channels)] if batch_norm and modules else []
            modules += [nn.Conv2d(channels, out_channels, kernel, stride, (kernel - 1) // 2), *norm, unit]
            channels = out_channels
        self.trunk = nn.Sequential(*modules)
        self.features = channels

    def forward(self, images: Tensor, *, real: bool = False) -> Tensor:
        """Judge each patch, or each image.

        Args:
            images: (N, C, H, W), float, in [-1, 1].
            real: whether they are photographs: told to batch normalisation alone.

        Returns:
            (N, 1, h, w) logits, float32; positive means refined.
        """
        for module in self.modules():
            if isinstance(module, DomainNorm):
                module.real = real
        with parametrize.cached():
            with torch.autocast(images.device.type, enabled=False):
                for module in self.modules():  # weights under spectral norm are divided by their norm in fp32, and once
                    if parametrize.is_parametrized(module):
                        _ = module.weight
            hidden = self.trunk(images)
            with torch.autocast(images.device.type, enabled=False):
                scores = self.scores(hidden.float())  # (N, 2, h, w): real, refined
        return scores[:, 1:2] - scores[:, 0:1]  # (N, 1, h, w)

    def scores(self, hidden: Tensor) -> Tensor:
        """(N, features, h, w) of the trunk to (N, 2, ...): for real, for refined."""
        raise NotImplementedError

    def _begin(self, layers: str, *, spectral_norm: bool) -> None:
        """The first weights, when all layers are there."""
        for module in self.modules() if layers == "dcgan" else ():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, std=DCGAN_SPREAD)
        if spectral_norm:
            normalize_spectrally(self)


class PatchDiscriminator(Discriminator):
    """D of the paper: one decision for each local patch of the image, (N, 1, h, w).

    Args:
        channels: channels of the images.
        layers: "gaze" (75,906 parameters, receptive field 23, 9x14 patches at 35x55),
            "hand" (178,050 parameters, receptive field 71, 7x7 patches at 224x224) or
            "dcgan" (657,346 parameters, receptive field 22, 4x6 patches at 35x55).
        width: factor on the number of channels of every hidden layer; 1 is the paper's.
        spectral_norm: divide every weight by its largest singular value, see :func:`normalize_spectrally`.
        batch_norm: see :class:`Discriminator`.
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        layers: str = "gaze",
        width: float = 1.0,
        spectral_norm: bool = False,
        batch_norm: bool = False,
    ) -> None:
        super().__init__(channels, layers=layers, width=width, batch_norm=batch_norm)
        self.head = nn.Conv2d(self.features, 2, 1)
        self._begin(layers, spectral_norm=spectral_norm)

    def scores(self, hidden: Tensor) -> Tensor:
        """(N, features, h, w) to (N, 2, h, w)."""
        scores: Tensor = self.head(hidden)
        return scores


REGIONS = 3
"""Rows and columns of regions that a global discriminator sees the image in."""


class GlobalDiscriminator(Discriminator):
    """D of the paper's ablation: one decision for the whole image, (N, 1, 1, 1).

    The trunk of :class:`PatchDiscriminator`, averaged over 3x3 regions of the image, then two dense layers over
    all of them. The paper puts one dense layer on the whole map, which fixes the size of the image; regions keep
    the layout and work at any size, the hidden layer lets distant parts of the image be weighed together.

    Args:
        channels: channels of the images.
        layers: trunk, "gaze" (85,154 parameters in all) or "hand" (187,298).
        width: factor on the number of channels of every hidden layer.
        spectral_norm: divide every weight by its largest singular value, see :func:`normalize_spectrally`.
        batch_norm: see :class:`Discriminator`.

    Source:
        arXiv:1612.07828, section 3.3, the comparison of local and global adversarial loss.
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        layers: str = "gaze",
        width: float = 1.0,
        spectral_norm: bool = False,
        batch_norm: bool = False,
    ) -> None:
        super().__init__(channels, layers=layers, width=width, batch_norm=batch_norm)
        self.regions = nn.Linear(self.features * REGIONS**2, self.features)
        self.head = nn.Linear(self.features, 2)
        self._begin(layers, spectral_norm=spectral_norm)

    def scores(self, hidden: Tensor) -> Tensor:
        """(N, features, h, w) to (N, 2, 1, 1)."""
        regions = functional.adaptive_avg_pool2d(hidden, REGIONS).flatten(1)  # (N, 9 features)
        scores: Tensor = self.head(functional.relu(self.regions(regions)))
        return scores[..., None, None]


DISCRIMINATORS: dict[str, type[PatchDiscriminator] | type[GlobalDiscriminator]] = {
    "local": PatchDiscriminator,
    "global": GlobalDiscriminator,
}
"""Discriminators by the scope that a configuration names."""


def normalize_spectrally(network: nn.Module) -> None:
    """Keep every convolution and dense layer at spectral norm 1, so that no layer can make a step steep.

    One power iteration for each forward pass in training mode, none in evaluation mode; its vectors are buffers,
    so they are in the state of the network.

    Source:
        Miyato et al. 2018, arXiv:1802.05957, algorithm 1; a convolution counts as the matrix (out, in x k x k).
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            spectral_norm(module)
