"""Configuration of the training of a gaze estimator."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from refiner.config.sections import AugmentationStep, Section, augmentation_steps


class GazeDataSection(Section):
    """Training data of the estimator."""

    train: list[Path] = Field([])
    """Images labelled with gaze: a folder or a store, or a list of them, for example raw and refined renders."""
    held_out: float = Field(0.1, ge=0, lt=1)
    """Share of the training images that is held out to choose the best weights. Whole subjects are held out if the
    labels name them, at least one, else single images. The images of a single subject are split by image, with a
    warning. Raw and refined versions of one image fall on the same side. 0 holds out none and saves the last
    weights."""
    unlabelled: list[Path] = Field([])
    """Real images for co-teaching: a folder or a store, or a list of them. Their gaze labels are not used, if they
    have any. With them, several estimators are trained together; see co_teaching."""

    @field_validator("train", "unlabelled", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> list[Path]:
        values = value if isinstance(value, list | tuple) else [] if value is None else [value]
        return [Path(str(entry)).expanduser() for entry in values]


class GazeOptimizerSection(Section):
    """The optimizer: AdamW and its learning rate."""

    learning_rate: float = Field(1e-3, gt=0)
    """Learning rate at the first step."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Course of the learning rate. cosine falls to zero over all steps, even if training stops early."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay, decoupled from the gradient as in AdamW."""


class GazeAugmentationSection(Section):
    """Augmentation of the training images, after equalisation. The refiner comes first, before equalisation."""

    refiner: Path | None = None
    """A refiner, file or run folder, that refines the training images, raw renders, anew in every batch. A refiner that
    draws, such as one of ``method: fourier`` or ``adaptation: fourier``, gives an image another result each time.
    Held-out images are refined once."""
    refined_share: float = Field(1.0, ge=0, le=1)
    """Share of the images of a batch that augmentation.refiner refines; the others stay as rendered."""
    strong: float = Field(0.0, ge=0, le=2)
    """Strength of the built-in changes of light, sharpness, noise, position and occlusion; 0 is off, 1 is strong. See
    refiner.gaze.training.augmentation."""
    transforms: list[AugmentationStep] = Field([])
    """albumentations transforms, in order; slower than strong. Labels follow flips and rotations, see
    refiner.data.augmentation."""

    @field_validator("refiner")
    @classmethod
    def _expand_home(cls, path: Path | None) -> Path | None:
        return path.expanduser() if path else None

    @model_validator(mode="after")
    def _share_has_a_refiner(self) -> "GazeAugmentationSection":
        if self.refined_share != 1 and self.refiner is None:
            raise ValueError(
                f"refined_share is {self.refined_share}, but no refiner is set; set refiner, or leave it out"
            )
        return self

    @field_validator("transforms", mode="before")
    @classmethod
    def _is_a_list_of_transforms(cls, value: Any, info: ValidationInfo) -> list[AugmentationStep]:
        return augmentation_steps(value, f"augmentation.{info.field_name}")


class NeighboursSection(Section):
    """The nearest-neighbour baseline, network: knn; see refiner.gaze.networks.knn."""

    count: int = Field(50, ge=1)
    """Number of neighbours whose gaze is averaged."""
    size: tuple[int, int] = (9, 15)
    """Height and width at which images are compared."""


class CoTeachingSection(Section):
    """Co-teaching on the unlabelled images of data.unlabelled; see refiner.gaze.training.co_teaching."""

    members: int = Field(3, ge=2)
    """Number of estimators that are trained together. They differ in their initial weights and their batches."""
    weight: float = Field(1.0, ge=0)
    """Weight of the loss on unlabelled images, next to the loss on labelled images."""
    warm_up: float = Field(0.6, ge=0, lt=1)
    """Share of the steps that use labelled images alone. The weight then grows over a tenth of the other steps."""
    tolerance_degrees: float = Field(3.0, gt=0)
    """Disagreement of the estimators, in degrees, at which an unlabelled image counts 1/e of one that they agree on."""
    batch_size: int | None = Field(None, ge=2)
    """Unlabelled images per update; null takes the batch_size of the labelled images."""


class GazeConfiguration(Section):
    """Configuration of a training run of a gaze estimator."""

    seed: int = Field(0, ge=0)
    """Every random choice follows from it."""
    network: Literal["small", "resnet", "lenet", "paper", "knn"] = "small"
    """Network by its name in refiner.gaze.networks.estimators.ESTIMATORS, or knn: nearest neighbours, which need no
    steps."""
    size: tuple[int, int] = (36, 60)
    """Height and width of the images. Images of nearly the same aspect ratio are resized to it."""
    head_pose: Literal[False, True, "yaw"] = False
    """Condition the estimator on head pose, or on its yaw only. Then every image needs a head pose, pitch and yaw. On
    real eyes the yaw helps. The zero of the pitch differs between data sets: MPIIGaze measures the plane of eyes and
    mouth, Columbia Gaze knows no pitch and writes 0."""
    equalize: bool = False
    """Equalise the histogram of every image, in training and in prediction. It makes renders comparable to
    real images that are stored equalised; equalised images do not change."""
    standardize: bool = False
    """Scale every image to mean 0 and standard deviation 1 in the network."""
    steps: int = Field(4000, ge=1)
    """Number of updates. A finished run continues when this number is raised. With ``schedule: cosine`` the learning
    rate then follows the longer schedule, so the result differs from a run that had all steps from the start."""
    batch_size: int = Field(64, ge=1)
    """Images per update."""
    loss: Literal["angular", "smooth_l1"] = "angular"
    """Loss by its name in refiner.gaze.training.learner.LOSSES."""
    ema_decay: float = Field(0.99, ge=0, lt=1)
    """Decay of the exponential moving average of the weights, which is evaluated and saved; 0 turns it off."""
    patience: int = Field(0, ge=0)
    """Evaluations on held-out images without a new best after which training stops; 0 never stops early."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the network. auto takes bf16 if the processor computes it natively and a short trial confirms it."""
    log_every: int = Field(100, ge=1)
    """Steps between two lines of metrics.jsonl, each with means since the previous one. Every evaluation also writes a
    line."""
    evaluate_every: int = Field(200, ge=1)
    """Steps between two evaluations on held-out images."""
    checkpoint_every: int = Field(1000, ge=1)
    """Steps between two checkpoints: the most that a killed run loses."""

    data: GazeDataSection = GazeDataSection()
    optimizer: GazeOptimizerSection = GazeOptimizerSection()
    augmentation: GazeAugmentationSection = GazeAugmentationSection()
    co_teaching: CoTeachingSection = CoTeachingSection()
    neighbours: NeighboursSection = NeighboursSection()

    @model_validator(mode="after")
    def _fits_together(self) -> "GazeConfiguration":
        # Check the sizes.
        if min(*self.size, *self.neighbours.size) < 1:
            raise ValueError("size and neighbours.size must be a height and a width of 1 or more")
        if self.network in _SMALLEST and min(self.size) < _SMALLEST[self.network]:
            least = _SMALLEST[self.network]
            raise ValueError(
                f"size is {list(self.size)}, but network {self.network} needs a height and a width of {least} or more"
            )
        # Check that the options which depend on each other agree.
        if self.network == "knn" and self.head_pose:
            value = str(self.head_pose).lower()
            raise ValueError(f"head_pose is {value}, but network knn compares images only; set head_pose: false")
        if self.network == "knn" and self.augmentation.refiner:
            raise ValueError(
                "augmentation.refiner refines batches, but network knn has none; refine the images first, or set "
                "another network"
            )
        if self.patience and not self.data.held_out:
            raise ValueError("patience needs held-out images; set data.held_out above 0, or patience: 0")
        return self

    @model_validator(mode="after")
    def _can_co_teach(self) -> "GazeConfiguration":
        if not self.data.unlabelled:
            return self
        if self.network == "knn":
            raise ValueError(
                "network knn cannot be co-taught on data.unlabelled, because it has no weights to train; leave "
                "data.unlabelled out, or set another network"
            )
        if self.patience:
            raise ValueError(
                f"patience is {self.patience}, but held-out renders cannot tell when co-teaching on data.unlabelled "
                "should stop; set patience: 0"
            )
        if not self.augmentation.strong:
            raise ValueError(
                "co-teaching on data.unlabelled compares answers on images with and without strong augmentation; set "
                "augmentation.strong above 0"
            )
        if self.unlabelled_batch_size < 2:
            raise ValueError("co-teaching compares the images of a batch; set co_teaching.batch_size to 2 or more")
        return self

    @property
    def unlabelled_batch_size(self) -> int:
        """Number of unlabelled images per update."""
        return self.co_teaching.batch_size or self.batch_size


_SMALLEST = {"paper": 23, "lenet": 16}
"""Smallest height and width for networks whose convolutions have no padding."""
