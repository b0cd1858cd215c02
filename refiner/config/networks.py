"""Sections of a training configuration that describe its two networks."""

from typing import Literal

from pydantic import Field, model_validator

from refiner.config.sections import Section


class RefinerSection(Section):
    """The refiner network; see ``refiner.models.refiner.RefinerNetwork``."""

    features: int = Field(64, ge=1)
    """Channels of the trunk."""
    blocks: int = Field(4, ge=0)
    """Number of residual blocks."""
    stem_kernel: int = Field(3, ge=1)
    """Side of the first convolution; odd."""
    kernel: int = Field(3, ge=1)
    """Side of the convolutions in the blocks; odd."""
    unshuffle: int = Field(1, ge=1, le=4)
    """Side of the pixel block that is folded into channels. 2 runs the trunk at half resolution, for a quarter of the
    work."""
    output: Literal["tanh", "residual"] = "tanh"
    """``tanh``, as in the paper; ``residual`` learns a bounded change of its input and starts as the identity."""
    max_change: float = Field(2.0, gt=0, le=2)
    """Largest change of a pixel with residual output, in units of [-1, 1]."""
    keep_background: bool = False
    """Whether pixels at the highest level do not change. In cut depth images they are the background."""
    smooth_change: bool = False
    """Whether a residual is smoothed over neighbouring pixels, so that it cannot be a checkerboard."""
    padding: Literal["replicate", "zeros"] = "replicate"
    """Values outside the image: ``replicate`` repeats the nearest pixel; ``zeros``, as in the paper, leaves a faint
    frame in refined images."""

    @model_validator(mode="after")
    def _check_all(self) -> "RefinerSection":
        if self.stem_kernel % 2 == 0 or self.kernel % 2 == 0:
            raise ValueError("refiner.stem_kernel and refiner.kernel must be odd, so that the image keeps its size")
        if self.smooth_change and self.output != "residual":
            raise ValueError(
                "refiner.smooth_change smooths a residual; set refiner.output: residual, or remove smooth_change"
            )
        return self


class DiscriminatorAugmentationSection(Section):
    """Random changes of all images that the discriminator sees; see ``refiner.training.methods.diffaugment``.

    The usual strengths are ``{translation: 0.125, cutout: 0.5, brightness: 0.5, contrast: 0.5}``; 0 disables a change.
    """

    translation: float = Field(0.0, ge=0, le=0.5)
    """Largest shift, as a share of height and of width."""
    cutout: float = Field(0.0, ge=0, lt=1)
    """Height and width of the rectangle that is cut out, as shares of those of the image."""
    brightness: float = Field(0.0, ge=0, le=2)
    """Largest shift of the grey levels, in units of [-1, 1]."""
    contrast: float = Field(0.0, ge=0, le=1)
    """Largest change of the contrast factor: 0.5 draws factors from 0.5 to 1.5."""
    blur: float = Field(0.0, ge=0, le=8)
    """Largest standard deviation of a Gaussian blur, in pixels; drawn uniformly from 0."""


class DiscriminatorSection(Section):
    """The discriminator network; see ``refiner.models.discriminators``."""

    scope: Literal["local", "global"] = "local"
    """``local`` classifies each patch, as in the paper; ``global`` the whole image, as in the paper's ablation."""
    layers: Literal["gaze", "hand", "dcgan"] = "gaze"
    """Layer table: the paper's for small images (``gaze``) or for 224x224 (``hand``), or one after DCGAN."""
    width: float = Field(1.0, gt=0)
    """Factor on the channels of every hidden layer; 1 is the paper's width."""
    spectral_norm: bool = False
    """Whether spectral normalisation divides the weights of every layer by their largest singular value."""
    batch_norm: bool = False
    """Whether batch normalisation follows each convolution but the first, with separate statistics for real and for
    refined images."""
    padding: Literal["replicate", "zeros"] = "replicate"
    """Values outside the image: ``replicate`` repeats the nearest pixel; ``zeros`` as in the paper."""
    condition: Literal["none", "gaze"] = "none"
    """``gaze`` conditions the discriminator on gaze: the label of a render, the prediction of data.estimator for a real
    image."""
    r1_weight: float = Field(0.0, ge=0)
    """Gamma of the R1 penalty on real images; gamma / 2 multiplies the mean squared gradient norm. 0 disables it."""
    r1_every: int = Field(1, ge=1)
    """Interval of the R1 penalty in updates of the discriminator; the penalty is multiplied by the interval."""
    gradient_penalty: float = Field(0.0, ge=0)
    """Weight of the gradient penalty that keeps a critic's slope at 1. ``objective: wasserstein`` needs it; 10 is
    usual."""
    augmentation: DiscriminatorAugmentationSection = DiscriminatorAugmentationSection()
