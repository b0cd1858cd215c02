"""The configuration of a gaze estimator: what can be set, and what it means."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from refiner.config.sections import AugmentationStep, augmentation_steps
from refiner.config.sections import Section


class GazeDataSection(Section):
    """What the estimator learns from."""

    train: list[Path] = Field([])
    """Labelled images: a folder or store with gaze, or a list of them (raw and refined renders, say)."""
    held_out: float = Field(0.1, ge=0, lt=1)
    """Share of the training images that is kept back to choose the best weights: whole subjects where the labels name
    them, single images otherwise; raw and refined versions of one image fall on the same side. 0 keeps the last."""

    @field_validator("train", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> list[Path]:
        values = value if isinstance(value, list | tuple) else [] if value is None else [value]
        return [Path(str(entry)).expanduser() for entry in values]


class GazeOptimizerSection(Section):
    """Adam, and how its learning rate falls."""

    learning_rate: float = Field(1e-3, gt=0)
    """At the start."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """cosine falls to zero over all steps, whether or not training stops before."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled from the gradient, as in AdamW."""


class GazeAugmentationSection(Section):
    """Random changes of the training images, after they are equalised."""

    strong: float = Field(0.0, ge=0, le=2)
    """Strength of the built-in changes of light, sharpness, noise, position and cover; 0 is off, 1 is strong. See
    refiner.gaze.augmentation."""
    transforms: list[AugmentationStep] = Field([])
    """albumentations transforms, in order; slower. Labels follow flips and rotations, see refiner.data.augmentation."""

    @field_validator("transforms", mode="before")
    @classmethod
    def _is_a_list_of_transforms(cls, value: Any, info: ValidationInfo) -> list[AugmentationStep]:
        return augmentation_steps(value, f"augmentation.{info.field_name}")


class NeighboursSection(Section):
    """The k-nearest-neighbour baseline; see refiner.gaze.networks.knn."""

    count: int = Field(50, ge=1)
    """Neighbours whose gaze is averaged."""
    size: tuple[int, int] = (9, 15)
    """Height and width at which images are compared."""


class GazeConfiguration(Section):
    """A whole training run of a gaze estimator."""

    seed: int = Field(0, ge=0)
    """Every random choice follows from it."""
    network: Literal["small", "resnet", "lenet", "paper", "knn"] = "small"
    """By its name in refiner.gaze.networks.estimators.ESTIMATORS, or knn: nearest neighbours, which need no steps."""
    size: tuple[int, int] = (36, 60)
    """Height and width of the images; others of nearly the same shape are resized to it."""
    head_pose: Literal[False, True, "yaw"] = False
    """Whether the estimator is also told the head pose, or its yaw alone; then every image needs one, pitch and yaw.
    The zero of the pitch differs between data sets (MPIIGaze measures the plane of eyes and mouth, Columbia Gaze knows
    none and writes 0), that of the yaw does not: on real eyes the yaw is what helps."""
    equalize: bool = False
    """Equalise the histogram of every image, in training and in prediction: lets raw renders meet equalised
    photographs. What is equalised already stays as it is."""
    standardize: bool = False
    """Bring every image to mean 0 and deviation 1 before the network sees it."""
    steps: int = Field(4000, ge=1)
    """Updates."""
    batch_size: int = Field(64, ge=1)
    """Images in an update."""
    loss: Literal["angular", "smooth_l1"] = "angular"
    """By its name in refiner.gaze.learner.LOSSES."""
    ema_decay: float = Field(0.99, ge=0, lt=1)
    """Decay of a running mean of the weights, which is then what is judged and saved; 0 takes the weights."""
    patience: int = Field(0, ge=0)
    """Stop after so many looks at the held-out images without a new best; 0 goes through all steps."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto trains in bf16 where the processor computes it natively and a short trial does not refute it."""
    log_every: int = Field(100, ge=1)
    """Steps between two lines of metrics.jsonl, each the mean since the line before; every look has a line too."""
    evaluate_every: int = Field(200, ge=1)
    """Steps between two looks at the held-out images."""
    checkpoint_every: int = Field(1000, ge=1)
    """Steps between two checkpoints: what a kill can cost."""

    data: GazeDataSection = GazeDataSection()
    optimizer: GazeOptimizerSection = GazeOptimizerSection()
    augmentation: GazeAugmentationSection = GazeAugmentationSection()
    neighbours: NeighboursSection = NeighboursSection()

    @model_validator(mode="after")
    def _fits_together(self) -> "GazeConfiguration":
        if min(*self.size, *self.neighbours.size) < 1:
            raise ValueError("size and neighbours.size are a height and a width of 1 or more")
        if self.network in _SMALLEST and min(self.size) < _SMALLEST[self.network]:
            least = _SMALLEST[self.network]
            raise ValueError(f"size is {list(self.size)}, but network {self.network} needs {least} or more each way")
        if self.network == "knn" and self.head_pose:
            told = str(self.head_pose).lower()
            raise ValueError(f"head_pose is {told}, but network knn looks at images alone; set head_pose: false")
        if self.patience and not self.data.held_out:
            raise ValueError("patience needs images to look at; set data.held_out above 0, or patience: 0")
        return self


_SMALLEST = {"paper": 23, "lenet": 16}
"""Smallest height and width of networks whose convolutions have no padding."""
