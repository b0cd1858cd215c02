"""The sections of a training configuration about its two networks."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """A frozen group of settings that knows no other key."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class RefinerSection(Section):
    """The refiner network; see ``refiner.models.refiner.RefinerNetwork``."""

    features: int = Field(64, ge=1)
    """Channels of the trunk."""
    blocks: int = Field(4, ge=0)
    """Residual blocks."""
    stem_kernel: int = Field(3, ge=1)
    """Side of the first convolution, odd."""
    kernel: int = Field(3, ge=1)
    """Side of the convolutions in the blocks, odd."""
    unshuffle: int = Field(1, ge=1, le=4)
    """Side of the pixel block folded into channels: 2 runs the trunk at half resolution, for a quarter of the work."""
    output: Literal["tanh", "residual"] = "tanh"
    """tanh, as in the paper; residual learns a bounded change and starts as the identity."""
    max_change: float = Field(2.0, gt=0, le=2)
    """Largest change of a pixel with residual output, in units of [-1, 1]."""
    keep_background: bool = False
    """Whether pixels at the highest level, which are the background of cut depth images, stay as they are."""
    smooth_change: bool = False
    """Whether that change is smoothed over neighbouring pixels, so that none is a checkerboard."""

    @model_validator(mode="after")
    def _kernels_are_odd(self) -> "RefinerSection":
        if self.stem_kernel % 2 == 0 or self.kernel % 2 == 0:
            raise ValueError("refiner.stem_kernel and refiner.kernel must be odd, so that the image keeps its size")
        if self.smooth_change and self.output != "residual":
            raise ValueError(
                "refiner.smooth_change smooths a residual; set refiner.output to residual, or leave it out"
            )
        return self


class DiscriminatorAugmentationSection(Section):
    """Random changes of all that the discriminator sees; see ``refiner.training.methods.diffaugment``.

    The usual strengths are ``{translation: 0.125, cutout: 0.5, brightness: 0.5, contrast: 0.5}``; 0 switches one off.
    """

    translation: float = Field(0.0, ge=0, le=0.5)
    """Farthest shift, as a share of height and of width."""
    cutout: float = Field(0.0, ge=0, lt=1)
    """Height and width of the rectangle that is cut out, as shares of those of the image."""
    brightness: float = Field(0.0, ge=0, le=2)
    """Largest shift of the grey levels, in units of [-1, 1]."""
    contrast: float = Field(0.0, ge=0, le=1)
    """Largest change of the factor on the distance to the image's mean: 0.5 draws from 0.5 to 1.5."""
    blur: float = Field(0.0, ge=0, le=8)
    """Largest standard deviation of a Gaussian blur, in pixels; evenly drawn from 0 on."""


class DiscriminatorSection(Section):
    """The discriminator; see ``refiner.models.refiner``."""

    scope: Literal["local", "global"] = "local"
    """local decides on each patch, as in the paper; global once on the whole image, as in its ablation."""
    layers: Literal["gaze", "hand", "dcgan"] = "gaze"
    """Layer table: the paper's, gaze for small images and hand for 224x224, or one after DCGAN's guidelines."""
    width: float = Field(1.0, gt=0)
    """Factor on the channels of every hidden layer; 1 is the paper's."""
    spectral_norm: bool = False
    """Whether the weights of every layer are divided by their largest singular value, see
    ``refiner.models.discriminators.normalize_spectrally``."""
    batch_norm: bool = False
    """Whether batches are normalised behind each convolution but the first, photographs and refined images by
    statistics of their own; see ``refiner.models.discriminators.DomainNorm``."""
    condition: Literal["none", "gaze"] = "none"
    """gaze: it is told where each eye looks, by the label of a render and by ``data.estimator`` of a photograph."""
    r1_weight: float = Field(0.0, ge=0)
    """Gamma of the R1 penalty on photographs, half of which multiplies the mean squared norm of the logits' gradients,
    see ``refiner.losses.penalties.r1_penalty``; 0 does without."""
    r1_every: int = Field(1, ge=1)
    """The penalty is taken in every r1_every-th update of the discriminator, that many times as heavy."""
    gradient_penalty: float = Field(0.0, ge=0)
    """Weight of the penalty that keeps the slope of a critic at 1; 10 is usual
    with ``objective: wasserstein``, which needs it."""
    augmentation: DiscriminatorAugmentationSection = DiscriminatorAugmentationSection()
