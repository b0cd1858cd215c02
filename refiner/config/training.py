"""The configuration of a training run: what can be set, what it means, and what makes no sense together.

About twenty knobs stand at the top level; the rest stands in the section of the method it belongs to.
"""

from typing import Literal

from pydantic import Field, model_validator

from refiner.config.networks import DiscriminatorSection, RefinerSection
from refiner.config.networks import Section as Section  # for other configurations
from refiner.config.sections import AugmentationSection, DataSection, OptimizerSection, PretrainingSection

SMALLEST_FOR_DCGAN = 8
"""Pixels each way."""


class TrainingConfiguration(Section):
    """A whole training run of a refiner."""

    seed: int = Field(0, ge=0)
    """Every random choice follows from it."""
    size: tuple[int, int] = (36, 60)
    """Height and width the networks are trained at; the refiner works at any size afterwards."""
    channels: Literal[1, 3] = 1
    """1 trains on grey (the luma of colour images), 3 on RGB."""
    batch_size: int = Field(64, ge=2)
    """Images of each domain in a step."""
    steps: int = Field(2000, ge=0)
    """Adversarial outer steps, after pre-training; each is refiner_updates plus discriminator_updates."""
    refiner_updates: int = Field(1, ge=1)
    """K_g of Algorithm 1: updates of the refiner in an outer step."""
    discriminator_updates: int = Field(1, ge=1)
    """K_d of Algorithm 1: updates of the discriminator in an outer step."""
    refiner_first: bool = True
    """Algorithm 1 updates the refiner first; false takes the order of the original GAN."""
    self_regularization_weight: float = Field(7.6, ge=0)
    """Lambda, on the mean absolute difference, beside the mean over patches. Paper's sums at 35x55: x 15.28."""
    self_regularization: Literal[
        "pixels", "channel_mean", "gradients", "pixels_and_gradients", "blurred", "features"
    ] = "pixels"
    """What is compared, by its name in ``SELF_REGULARIZATIONS``; or features, those of data.estimator."""
    consistency_weight: float = Field(20.0, ge=0)
    """Of the mean absolute change, in radians, of what data.estimator answers; not in pre-training."""
    motion_weight: float = Field(0.0, ge=0)
    """Of the mean apparent motion between renders and refined images, in pixels; not in pre-training."""
    correspondence: Literal["none", "cycle", "contrast"] = "none"
    """What else ties refined images to their renders: the way back of CycleGAN, or the contrast of places of CUT. With
    either, self_regularization_weight may be 0."""
    correspondence_weight: float = Field(1.0, ge=0)
    """Of it; CycleGAN takes 10, CUT 1."""
    objective: Literal["cross_entropy", "minimax", "least_squares", "hinge", "wasserstein"] = "cross_entropy"
    """The adversarial game, by its name in refiner.losses.adversarial.OBJECTIVES."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """One-sided: target of the real patches instead of 0."""
    history_size: int = Field(12800, ge=0)
    """Capacity of the buffer of refined images; 0 trains without one."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay of a running mean of the refiner's weights, which is then what is saved; 0 saves the last weights."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto takes bf16 where the processor computes it natively and a short trial does not refute it."""
    log_every: int = Field(20, ge=1)
    """Steps between two lines of metrics.jsonl, each the mean over those steps."""
    sample_every: int = Field(200, ge=1)
    """Steps between two sample sheets."""
    score_every: int = Field(0, ge=0)
    """Steps between two label-free scores a multiple of log_every; the refiner file then holds the
    weights that scored best. 0 scores nothing and keeps the last."""
    checkpoint_every: int = Field(200, ge=1)
    """Steps between two checkpoints: what a kill can cost."""

    data: DataSection = DataSection()
    refiner: RefinerSection = RefinerSection()
    discriminator: DiscriminatorSection = DiscriminatorSection()
    pretraining: PretrainingSection = PretrainingSection()
    refiner_optimizer: OptimizerSection = OptimizerSection()
    discriminator_optimizer: OptimizerSection = OptimizerSection()
    augmentation: AugmentationSection = AugmentationSection()

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainingConfiguration":
        if min(self.size) < 1:
            raise ValueError(f"size is {list(self.size)}, expected a height and a width of 1 or more")
        if self.score_every % self.log_every:
            raise ValueError(
                f"score_every is {self.score_every}, expected a multiple of log_every ({self.log_every}), with which "
                "scores are written"
            )
        if self.discriminator.layers == "dcgan" and min(self.size) < SMALLEST_FOR_DCGAN:
            raise ValueError(
                f"size is {list(self.size)}, but discriminator.layers: dcgan halves it three times; take "
                f"{SMALLEST_FOR_DCGAN} or more each way, or other layers"
            )
        if self.motion_weight and min(self.size) < 2:
            raise ValueError(f"size is {list(self.size)}, but motion_weight needs a height and a width of 2 or more")
        if 0 < self.history_size < self.batch_size // 2:
            raise ValueError(
                f"history_size is {self.history_size}, but must be 0 or at least half of batch_size "
                f"({self.batch_size}); set it to {self.batch_size // 2} or more"
            )
        self._check_game()
        self._check_discriminator()
        self._check_labels()
        if self.self_regularization == "channel_mean" and self.channels == 1:
            raise ValueError(
                "self_regularization is channel_mean, which is the same as pixels where channels is 1; set channels: 3 "
                "or self_regularization: pixels"
            )
        return self

    def _check_game(self) -> None:
        """Refuse what makes no sense of an objective."""
        penalty = self.discriminator.gradient_penalty
        if self.objective == "wasserstein" and not penalty:
            raise ValueError(
                "objective is wasserstein, which means something only where the critic's slope is kept at 1; set "
                "discriminator.gradient_penalty: 10"
            )
        if penalty and self.objective != "wasserstein":
            raise ValueError(
                f"discriminator.gradient_penalty keeps a critic's slope at 1, and objective {self.objective} has no "
                "critic; take objective: wasserstein, or discriminator.r1_weight"
            )
        if self.label_smoothing and self.objective not in ("cross_entropy", "minimax"):
            raise ValueError(
                f"label_smoothing is {self.label_smoothing}, but objective {self.objective} has no probabilities to "
                "smooth; set it to 0"
            )

    def _check_discriminator(self) -> None:
        """Refuse what makes no sense of batch normalisation or of a condition."""
        section = self.discriminator
        if section.batch_norm and (section.r1_weight or section.gradient_penalty):
            raise ValueError(
                "discriminator.batch_norm lets images change the logits of others, and r1_weight and gradient_penalty "
                "are about each image by itself; leave one out"
            )
        if section.batch_norm and section.spectral_norm:
            raise ValueError(
                "discriminator.batch_norm undoes what spectral_norm keeps, for it scales what layers make; take one"
            )
        if section.condition != "none" and section.gradient_penalty:
            raise ValueError(
                "discriminator.gradient_penalty mixes renders with photographs, and discriminator.condition would mix "
                "their gaze; leave one out"
            )

    def _check_labels(self) -> None:
        """Refuse what needs labels, masks or an estimator that are not there, or that would not fit."""
        for key, value in (("discriminator.condition", self.discriminator.condition), ("data.mask", self.data.mask)):
            if value not in (None, "none") and self.augmentation.synthetic:
                raise ValueError(f"augmentation.synthetic may move pixels, and {key} would stay; leave one out")
        if self.discriminator.condition == "gaze" and self.data.estimator is None:
            raise ValueError(
                "discriminator.condition is gaze, but photographs have no labels; set data.estimator, which guesses"
            )
        if self.self_regularization == "features" and self.data.estimator is None:
            raise ValueError("self_regularization is features, those of an estimator; set data.estimator")
        if self.self_regularization == "features" and self.data.mask is not None:
            raise ValueError(
                "data.mask weighs pixels, and self_regularization: features compares none; take pixels, or leave it out"
            )

    @property
    def total_steps(self) -> int:
        """Steps of all three phases."""
        return self.pretraining.refiner_steps + self.pretraining.discriminator_steps + self.steps
