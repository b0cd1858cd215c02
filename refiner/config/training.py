"""Configuration of a training run: the settings, their meaning, and the combinations that are refused.

General settings are at the top level. Settings of one method or of one network are in a section of their own.
"""

from typing import Literal

from pydantic import Field, model_validator

from refiner.config.networks import DiscriminatorSection, RefinerSection
from refiner.config.sections import (
    AugmentationSection,
    CUTSection,
    CycleGANSection,
    DataSection,
    FourierSection,
    HistogramSection,
    OptimizerSection,
    PretrainingSection,
    Section,
)

SMALLEST_FOR_DCGAN = 8
"""Smallest height and width for ``discriminator.layers: dcgan``, in pixels."""


PAIRED = ("pix2pix",)
"""Methods that train on pairs of a render and a real image of the same scene."""

STATISTICS = ("fourier", "histogram")
"""Methods that keep statistics of real images, and train no network."""


class TrainingConfiguration(Section):
    """All settings of a training run of a refiner."""

    seed: int = Field(0, ge=0)
    """Seed of every random choice."""
    size: tuple[int, int] = (36, 60)
    """Height and width of the training images. The refiner works at any size afterwards."""
    channels: Literal[1, 3] = 1
    """1 trains on grey images (the luma of colour images), 3 on RGB images."""
    batch_size: int = Field(64, ge=2)
    """Images of each domain in a step."""
    steps: int = Field(2000, ge=0)
    """Adversarial outer steps after pre-training, each of refiner_updates and discriminator_updates. A finished run
    continues when this number is raised."""
    method: Literal["simgan", "cyclegan", "cut", "pix2pix", "fourier", "histogram"] = "simgan"
    """Training method: SimGAN, or one of the baselines CycleGAN and CUT on the same networks. The baselines tie refined
    images to their renders in other ways, so that self_regularization_weight may be 0. pix2pix trains on pairs, a
    render and a real image of the same name; self-regularization then compares a refined image with the real one. The
    methods fourier and histogram train no network, but keep statistics of the real images. They use only seed, size,
    channels, data and the section of their name."""
    adaptation: Literal["none", "fourier", "histogram"] = "none"
    """Adaptation of renders before the network sees them, in training and in the refiner file: by the statistics of a
    real image that is drawn anew for each render of each batch. It takes its settings from the section of its name. For
    the methods simgan, cyclegan and cut."""
    refiner_updates: int = Field(1, ge=1)
    """K_g of Algorithm 1: updates of the refiner in an outer step."""
    discriminator_updates: int = Field(1, ge=1)
    """K_d of Algorithm 1: updates of the discriminator in an outer step."""
    refiner_first: bool = True
    """Whether the refiner is updated first in an outer step, as in Algorithm 1. The original GAN updates it last."""
    self_regularization_weight: float = Field(7.6, ge=0)
    """Lambda: weight of self-regularization, a mean over pixels, against the adversarial loss, a mean over patches. The
    lambda of the paper's sums is 15.28 times smaller at 35x55."""
    self_regularization: Literal[
        "pixels", "channel_mean", "gradients", "pixels_and_gradients", "blurred", "standardized", "features"
    ] = "pixels"
    """Psi of the paper: the features that self-regularization compares, by name. ``features`` are the last feature map
    of data.estimator."""
    consistency_weight: float = Field(20.0, ge=0)
    """Weight of the change, in radians, of the predictions of data.estimator. Not used in pre-training."""
    consistency: Literal["absolute", "centred"] = "absolute"
    """Change of the predictions that is penalised: the mean absolute change, or the centred one. centred permits one
    constant change for all images, so that the refiner does not keep the bias of the estimator. It also penalises a
    change of the slope."""
    motion_weight: float = Field(0.0, ge=0)
    """Weight of the mean apparent motion between renders and refined images, in pixels. Not used in pre-training."""
    objective: Literal["cross_entropy", "minimax", "least_squares", "hinge", "wasserstein"] = "cross_entropy"
    """Adversarial objective, by name."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Target of real patches instead of 0 (one-sided label smoothing)."""
    history_size: int = Field(12800, ge=0)
    """Capacity of the history buffer, in refined images; 0 trains without it."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay of the exponential moving average of the refiner's weights. The average is what is saved; 0 saves the last
    weights."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the convolutions. ``auto`` takes bf16 if the processor computes it natively and a short trial does
    not find it slow."""
    log_every: int = Field(20, ge=1)
    """Steps between two lines of metrics.jsonl. Each line holds the means over those steps."""
    sample_every: int = Field(200, ge=1)
    """Steps between two sample sheets."""
    score_every: int = Field(0, ge=0)
    """Steps between two label-free scores, a multiple of log_every. The refiner file then holds the weights with the
    best score; 0 computes no scores and keeps the last weights."""
    checkpoint_every: int = Field(200, ge=1)
    """Steps between two checkpoints: the most work that a kill can cost."""

    data: DataSection = DataSection()
    refiner: RefinerSection = RefinerSection()
    discriminator: DiscriminatorSection = DiscriminatorSection()
    cyclegan: CycleGANSection = CycleGANSection()
    cut: CUTSection = CUTSection()
    fourier: FourierSection = FourierSection()
    histogram: HistogramSection = HistogramSection()
    pretraining: PretrainingSection = PretrainingSection()
    refiner_optimizer: OptimizerSection = OptimizerSection()
    discriminator_optimizer: OptimizerSection = OptimizerSection()
    augmentation: AugmentationSection = AugmentationSection()

    @model_validator(mode="after")
    def _check_all(self) -> "TrainingConfiguration":
        self._check_sizes()
        self._check_objective()
        self._check_discriminator()
        self._check_labels()
        self._check_statistics()
        self._check_pairs()
        self._check_adaptation()
        if self.self_regularization == "channel_mean" and self.channels == 1:
            raise ValueError(
                "self_regularization is channel_mean, which is the same as pixels when channels is 1; set channels: 3 "
                "or self_regularization: pixels"
            )
        return self

    def _check_sizes(self) -> None:
        if min(self.size) < 1:
            raise ValueError(f"size is {list(self.size)}, expected a height and a width of 1 or more")
        if self.score_every % self.log_every:
            raise ValueError(
                f"score_every is {self.score_every}, expected a multiple of log_every ({self.log_every}), because "
                "scores are written with the other metrics"
            )
        if self.discriminator.layers == "dcgan" and min(self.size) < SMALLEST_FOR_DCGAN:
            raise ValueError(
                f"size is {list(self.size)}, but discriminator.layers: dcgan halves it three times; set "
                f"{SMALLEST_FOR_DCGAN} or more for height and width, or choose other layers"
            )
        if self.motion_weight and min(self.size) < 2:
            raise ValueError(f"size is {list(self.size)}, but motion_weight needs a height and a width of 2 or more")
        if 0 < self.history_size < self.batch_size // 2:
            raise ValueError(
                f"history_size is {self.history_size}, but must be 0 or at least half of batch_size "
                f"({self.batch_size}); set it to {self.batch_size // 2} or more"
            )

    def _check_objective(self) -> None:
        penalty = self.discriminator.gradient_penalty
        if self.objective == "wasserstein" and not penalty:
            raise ValueError(
                "objective is wasserstein, which needs a critic whose slope is kept at 1; set "
                "discriminator.gradient_penalty: 10"
            )
        if penalty and self.objective != "wasserstein":
            raise ValueError(
                f"discriminator.gradient_penalty keeps a critic's slope at 1, but objective {self.objective} has no "
                "critic; set objective: wasserstein, or use discriminator.r1_weight instead"
            )
        if self.label_smoothing and self.objective not in ("cross_entropy", "minimax"):
            raise ValueError(
                f"label_smoothing is {self.label_smoothing}, but objective {self.objective} has no probabilities to "
                "smooth; set it to 0"
            )

    def _check_discriminator(self) -> None:
        section = self.discriminator
        if section.batch_norm and (section.r1_weight or section.gradient_penalty):
            raise ValueError(
                "discriminator.batch_norm makes the logits of an image depend on other images, but r1_weight and "
                "gradient_penalty are defined for each image alone; remove one of them"
            )
        if section.batch_norm and section.spectral_norm:
            raise ValueError(
                "discriminator.batch_norm rescales the outputs that spectral_norm limits; remove one of them"
            )
        if section.condition != "none" and section.gradient_penalty:
            raise ValueError(
                "discriminator.gradient_penalty mixes renders with real images, and discriminator.condition would mix "
                "their gaze; remove one of them"
            )

    def _check_labels(self) -> None:
        for key, value in (("discriminator.condition", self.discriminator.condition), ("data.mask", self.data.mask)):
            if value not in (None, "none") and self.augmentation.synthetic:
                raise ValueError(f"augmentation.synthetic may move pixels, but {key} would not follow; remove one")
        if self.discriminator.condition == "gaze" and self.data.estimator is None:
            raise ValueError(
                "discriminator.condition is gaze, but real images have no labels; set data.estimator, which predicts "
                "their gaze"
            )
        if self.self_regularization == "features" and self.data.estimator is None:
            raise ValueError("self_regularization is features, which come from an estimator; set data.estimator")
        self._check_several_estimators()
        if self.self_regularization == "features" and self.data.mask is not None:
            raise ValueError(
                "data.mask weights pixels, but self_regularization: features compares no pixels; set "
                "self_regularization: pixels, or remove data.mask"
            )

    def _check_several_estimators(self) -> None:
        """Refuse several estimators where one answer is needed."""
        if not isinstance(self.data.estimator, list):
            return
        single = {
            "discriminator.condition": self.discriminator.condition == "gaze",
            "self_regularization": self.self_regularization == "features",
        }
        for key, needs_one in single.items():
            if needs_one:
                raise ValueError(f"{key} needs one estimator, but data.estimator names several; name one")

    def _check_statistics(self) -> None:
        """Refuse inputs that a method without networks would leave unused."""
        unused = {
            "data.mask": self.data.mask,
            "data.estimator": self.data.estimator,
            "augmentation.synthetic": self.augmentation.synthetic,
            "augmentation.real": self.augmentation.real,
        }
        for key, value in unused.items():
            if value and self.fits_statistics:
                raise ValueError(f"method {self.method} trains no network, so {key} would have no effect; remove it")

    def _check_pairs(self) -> None:
        """Refuse what would part the images of a pair."""
        if self.method not in PAIRED:
            return
        translation = self.discriminator.augmentation.translation
        parting = {"augmentation.synthetic": self.augmentation.synthetic, "augmentation.real": self.augmentation.real}
        for key, value in {**parting, "discriminator.augmentation.translation": translation}.items():
            if value:
                raise ValueError(f"method {self.method} compares pairs pixel by pixel, but {key} moves them; remove it")
        if self.discriminator.gradient_penalty:
            raise ValueError(
                f"discriminator.gradient_penalty mixes images, and method {self.method} would mix their renders; "
                "remove it, and choose another objective"
            )

    def _check_adaptation(self) -> None:
        """Refuse an adaptation without a network behind it, and what it would take the sense from."""
        if self.adaptation == "none":
            return
        if self.fits_statistics:
            raise ValueError(
                f"adaptation is {self.adaptation}, which comes before a network, but method {self.method} trains none; "
                f"set method: simgan, or adaptation: none for {self.method} alone"
            )
        if self.method in PAIRED:
            raise ValueError(
                f"adaptation is {self.adaptation}, which gives a render the look of any real image, but method "
                f"{self.method} learns that of its own partner; set adaptation: none"
            )
        if self.refiner.keep_background:
            raise ValueError(
                "refiner.keep_background keeps pixels at the highest level, but adaptation changes them before; remove "
                "one of them"
            )

    @property
    def fits_statistics(self) -> bool:
        """Whether the method keeps statistics of real images, and trains no network."""
        return self.method in STATISTICS

    @property
    def total_steps(self) -> int:
        """Number of steps of all three phases; 0 if no network is trained."""
        if self.fits_statistics:
            return 0
        return self.pretraining.refiner_steps + self.pretraining.discriminator_steps + self.steps
