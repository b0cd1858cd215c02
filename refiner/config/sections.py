"""Sections of a training configuration: data, pre-training, optimizers, augmentation."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from refiner.config.networks import Section as Section  # for other configurations


class DataSection(Section):
    """Where the two domains come from."""

    synthetic: Path | None = None
    """Labelled synthetic images: a folder, searched recursively. Labels are not used for training the refiner."""
    real: Path | None = None
    """Unlabelled real images: a folder, searched recursively."""
    estimator: Path | None = None
    """A gaze estimator that sees the image alone, file or run folder: refining should leave its answers as they are."""
    mask: Path | None = None
    """What of a render self-regularization counts: an image whose bright pixels count in every one, or a folder of such
    images, by the renders' names."""
    preflight: Literal["refuse", "warn", "skip"] = "warn"
    """What to do when the two domains do not fit each other: stop, say so, or not look."""

    @field_validator("synthetic", "real", "estimator", "mask")
    @classmethod
    def _home_is_known(cls, path: Path | None) -> Path | None:
        return path.expanduser() if path else None


class PretrainingSection(Section):
    """Steps before the two networks meet."""

    refiner_steps: int = Field(1000, ge=0)
    """Steps of the refiner on self-regularization alone, until it is near the identity."""
    discriminator_steps: int = Field(200, ge=0)
    """Steps of the discriminator on refined and real images, with the refiner held still."""


class OptimizerSection(Section):
    """How one network is optimized."""

    name: Literal["adam", "sgd"] = "adam"
    """adam, or plain sgd as in the paper."""
    learning_rate: float = Field(2e-4, gt=0)
    """Constant learning rate, for losses that are means (see refiner.losses.self_regularization)."""
    beta1: float = Field(0.5, ge=0, lt=1)
    """Momentum of adam; unused by sgd."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of adam's second moment; unused by sgd."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Momentum of sgd; unused by adam."""


AugmentationStep = dict[str, dict[str, Any]]
"""One albumentations transform: ``{name: {argument: value}}``."""


class AugmentationSection(Section):
    """Random changes of the training images: lists of albumentations transforms, in order.

    For example ``synthetic: [{HorizontalFlip: {p: 0.5}}, {GaussNoise: {std_range: [0.01, 0.05], p: 0.3}}]``.
    """

    synthetic: list[AugmentationStep] = Field([])
    """What is done to renders before the refiner sees them; size, channels and depth must stay."""
    real: list[AugmentationStep] = Field([])
    """What is done to photographs before the discriminator sees them."""

    @field_validator("synthetic", "real", mode="before")
    @classmethod
    def _is_a_list_of_transforms(cls, value: Any, info: ValidationInfo) -> list[AugmentationStep]:
        return augmentation_steps(value, f"augmentation.{info.field_name}")


def augmentation_steps(value: Any, key: str) -> list[AugmentationStep]:
    """A list of transforms as it stands in YAML; names and arguments themselves are checked where it is used.

    A name alone, or with nothing after it, takes the arguments' defaults.

    Raises:
        ValueError: it is no such list; the message names ``key`` and the place in the list.
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
