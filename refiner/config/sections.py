"""Sections of a training configuration: data, other methods, pre-training, optimizers, augmentation."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DataSection(Section):
    """The two image domains, and optional inputs."""

    synthetic: Path | None = None
    """Renders: a folder (searched recursively) or a store. Masks and other label images in it are left out. Training
    uses a label only with discriminator.condition: gaze."""
    real: Path | None = None
    """Unlabelled real images: a folder (searched recursively) or a store."""
    estimator: Path | list[Path] | None = None
    """A gaze estimator, file or run folder, that sees only the image, or a list of them. Refining should not change
    their predictions; see ``consistency``."""
    mask: Path | None = None
    """Weight of each pixel in self-regularization: one image for all renders, or a folder of images named as the
    renders are. Bright pixels count."""
    include: list[str] = Field([])
    """Patterns such as 'left/*': of folders, only the images whose path matches one of them are used. Stores are used
    whole."""
    exclude: list[str] = Field([])
    """Patterns such as '*_bad.png': files of folders whose path matches one of them are left out."""
    preflight: Literal["refuse", "warn", "skip"] = "warn"
    """Reaction to two domains that do not fit each other: refuse to train, warn, or skip the comparison."""

    @field_validator("synthetic", "real", "estimator", "mask")
    @classmethod
    def _expand_home(cls, path: Path | list[Path] | None) -> Path | list[Path] | None:
        if isinstance(path, list):
            paths = [entry.expanduser() for entry in path]
            return paths if len(paths) > 1 else next(iter(paths), None)
        return path.expanduser() if path else None


class CycleGANSection(Section):
    """Weights of ``method: cyclegan`` (arXiv:1703.10593)."""

    cycle_weight: float = Field(10.0, ge=0)
    """Lambda: weight of cycle consistency in both directions."""
    identity_weight: float = Field(0.5, ge=0)
    """Weight of the identity loss, as a share of cycle_weight."""


class CUTSection(Section):
    """Weights of ``method: cut`` (arXiv:2007.15651)."""

    patch_nce_weight: float = Field(1.0, ge=0)
    """Weight of the PatchNCE loss of renders and of real images."""


class StatisticsSection(Section):
    """Settings of the methods and adaptations that keep statistics of real images."""

    examples: int = Field(500, ge=1)
    """Number of real images whose statistics are kept. If there are more, the seed draws them. Each render gets those
    of one, chosen by the digest of its pixels, or anew for each batch in training by ``adaptation``."""
    camera: bool = False
    """Also take sharpness and noise of the real image: damp details that are sharper, and add the noise that is
    missing."""


class FourierSection(StatisticsSection):
    """Settings of ``method: fourier`` and ``adaptation: fourier`` (Yang and Soatto, CVPR 2020)."""

    beta: tuple[float, float] = Field((0.03, 0.1))
    """Smallest and largest strength, from 0 to 0.5. Each render gets a strength between them. A strength of 0.1
    replaces the amplitudes up to a tenth of the smaller side of ``size``, in cycles per image."""

    @model_validator(mode="after")
    def _check_beta(self) -> "FourierSection":
        _check_range("fourier.beta", self.beta, highest=0.5)
        return self


class HistogramSection(StatisticsSection):
    """Settings of ``method: histogram`` and ``adaptation: histogram``."""

    blend: tuple[float, float] = Field((1.0, 1.0))
    """Smallest and largest weight of the matched image, from 0 to 1. Each render gets a weight between them. The rest
    is the render itself."""
    levels: int = Field(256, ge=2)
    """Largest number of points of each distribution. 256 are exact for images of 8 bits."""

    @model_validator(mode="after")
    def _check_blend(self) -> "HistogramSection":
        _check_range("histogram.blend", self.blend, highest=1)
        return self


def _check_range(key: str, pair: tuple[float, float], *, highest: float) -> None:
    if not 0 <= pair[0] <= pair[1] <= highest:
        raise ValueError(f"{key} is {list(pair)}, expected two numbers in increasing order, from 0 to {highest:g}")


class PretrainingSection(Section):
    """Steps of each network before the adversarial steps."""

    refiner_steps: int = Field(1000, ge=0)
    """Steps of the refiner on self-regularization only, until it is close to the identity. With method: cyclegan, the
    refiner of the way back is not pre-trained."""
    discriminator_steps: int = Field(200, ge=0)
    """Steps of the discriminator on refined and real images, with the refiner frozen."""


class OptimizerSection(Section):
    """The optimizer of one network."""

    name: Literal["adam", "sgd"] = "adam"
    """Adam, or plain SGD as in the paper."""
    learning_rate: float = Field(2e-4, gt=0)
    """Constant learning rate, for losses that are means."""
    beta1: float = Field(0.5, ge=0, lt=1)
    """Momentum of Adam; SGD ignores it."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of Adam's second moment; SGD ignores it."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Momentum of SGD; Adam ignores it."""


AugmentationStep = dict[str, dict[str, Any]]
"""One albumentations transform: ``{name: {argument: value}}``."""


class AugmentationSection(Section):
    """Random changes of the training images: lists of albumentations transforms, applied in order.

    For example ``synthetic: [{HorizontalFlip: {p: 0.5}}, {GaussNoise: {std_range: [0.01, 0.05], p: 0.3}}]``.
    """

    synthetic: list[AugmentationStep] = Field([])
    """Transforms of renders before the refiner sees them; size, channels and depth must not change."""
    real: list[AugmentationStep] = Field([])
    """Transforms of real images before the discriminator sees them."""

    @field_validator("synthetic", "real", mode="before")
    @classmethod
    def _is_a_list_of_transforms(cls, value: Any, info: ValidationInfo) -> list[AugmentationStep]:
        return augmentation_steps(value, f"augmentation.{info.field_name}")


def augmentation_steps(value: Any, key: str) -> list[AugmentationStep]:
    """Parse a list of transforms as it is written in YAML.

    A transform without arguments takes their defaults. Names and arguments are checked when the transforms are built.

    Raises:
        ValueError: the value is not such a list; the message names ``key`` and the position in the list.
    """
    if value is not None and not isinstance(value, list | tuple):
        raise ValueError(f"{key} is {value!r}, expected a list of transforms such as [{{HorizontalFlip: {{p: 0.5}}}}]")
    steps = []
    for number, entry in enumerate(value or []):
        step = {entry: {}} if isinstance(entry, str) else entry
        if isinstance(step, dict) and len(step) == 1:
            ((name, arguments),) = step.items()
            arguments = {} if arguments is None else arguments
            if isinstance(name, str) and isinstance(arguments, dict) and all(isinstance(k, str) for k in arguments):
                steps.append({name: dict(arguments)})
                continue
        raise ValueError(f"{key}[{number}] is {entry!r}, expected one transform such as {{HorizontalFlip: {{p: 0.5}}}}")
    return steps
