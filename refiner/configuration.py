"""The configuration of a training run: what can be set, what it means, and how a file of it is read.

A configuration file is YAML. About fifteen knobs stand at the top level; the rest stands in the section of the
method it belongs to. Unknown or ill-typed keys are errors that name the key, the file and the nearest valid name.
"""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator, model_validator

from refiner.errors import ConfigurationError
from refiner.files import read_regular
from refiner.network_sections import DiscriminatorSection, RefinerSection
from refiner.network_sections import Section as Section  # for other configurations


class DataSection(Section):
    """Where the two domains come from."""

    renders: Path | None = None
    """Labelled synthetic images: a folder, searched recursively. Labels are not used for training the refiner."""
    photographs: Path | None = None
    """Unlabelled real images: a folder, searched recursively."""
    estimator: Path | None = None
    """A gaze estimator that sees the image alone, file or run folder: refining should leave its answers as they are."""
    preflight: Literal["refuse", "warn", "skip"] = "warn"
    """What to do when the two domains do not fit each other: stop, say so, or not look."""

    @field_validator("renders", "photographs", "estimator")
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
    """Constant learning rate, for losses that are means (see refiner.losses)."""
    beta1: float = Field(0.5, ge=0, lt=1)
    """Momentum of adam; unused by sgd."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of adam's second moment; unused by sgd."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Momentum of sgd; unused by adam."""


AugmentationStep = dict[str, dict[str, Any]]
"""One albumentations transform: ``{name: {argument: value}}``."""


class AugmentationSection(Section):
    """Random changes of the training images: lists of albumentations transforms, in order; see refiner.augmentation.

    For example ``renders: [{HorizontalFlip: {p: 0.5}}, {GaussNoise: {std_range: [0.01, 0.05], p: 0.3}}]``.
    """

    renders: list[AugmentationStep] = Field([])
    """What is done to renders before the refiner sees them; size, channels and depth must stay."""
    photographs: list[AugmentationStep] = Field([])
    """What is done to photographs before the discriminator sees them."""

    @field_validator("renders", "photographs", mode="before")
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
    self_regularization: Literal["pixels", "channel_mean", "gradients", "pixels_and_gradients", "blurred"] = "pixels"
    """What is compared, by its name in refiner.losses.SELF_REGULARIZATIONS."""
    consistency_weight: float = Field(20.0, ge=0)
    """Of the mean absolute change, in radians, of what data.estimator answers; not in pre-training."""
    motion_weight: float = Field(0.0, ge=0)
    """Of the mean apparent motion between renders and refined images, in pixels; not in pre-training."""
    correspondence: Literal["none", "cycle", "contrast"] = "none"
    """What else ties refined images to their renders: the way back of CycleGAN, or the contrast of places of CUT; see
    refiner.cycle and refiner.contrast. With either, self_regularization_weight may be 0."""
    correspondence_weight: float = Field(1.0, ge=0)
    """Of it; CycleGAN takes 10, CUT 1."""
    objective: Literal["cross_entropy", "minimax", "least_squares", "hinge", "wasserstein"] = "cross_entropy"
    """The adversarial game, by its name in refiner.objectives.OBJECTIVES."""
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
    """Steps between two label-free scores (refiner.scores), a multiple of log_every; the refiner file then holds the
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

    @property
    def total_steps(self) -> int:
        """Steps of all three phases."""
        return self.pretraining.refiner_steps + self.pretraining.discriminator_steps + self.steps


Model = TypeVar("Model", bound=BaseModel)


def read_configuration(path: Path | None, model: type[Model], *, overrides: Sequence[str] = ()) -> Model:
    """Read and check a YAML file against ``model``.

    Args:
        path: the file; None starts from the defaults.
        model: the configuration it must be.
        overrides: ``section.key=value``, the value in YAML; later ones win.

    Raises:
        ConfigurationError: the file is missing or no YAML, or a key or value is not what ``model`` knows.
    """
    source = str(path) if path else "the command line"
    values: Any = {}
    if path:
        try:
            values = yaml.safe_load(read_regular(path).decode()) or {}
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path}: cannot be read ({error}); name a YAML file") from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"{path}: is not valid YAML ({' '.join(str(error).split())})") from error
        if not isinstance(values, dict):
            raise ConfigurationError(f"{path}: holds a {type(values).__name__}, expected keys and values")
    values = {key: value for key, value in values.items() if value is not None}  # a section of comments alone
    for override in overrides:
        _override(values, override, model)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(f"{source}: {_sentence(error, model)}") from error


def write_configuration(configuration: BaseModel) -> str:
    """The whole configuration as YAML, defaults included."""
    return yaml.safe_dump(configuration.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def changed_keys(old: BaseModel, new: BaseModel) -> list[str]:
    """``section.key: old -> new`` for each value in which two configurations differ."""
    before, after = dict(_leaves(old.model_dump(mode="json"))), dict(_leaves(new.model_dump(mode="json")))
    keys = [*before, *(key for key in after if key not in before)]
    return [f"{key}: {before.get(key)} -> {after.get(key)}" for key in keys if before.get(key) != after.get(key)]


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _override(values: dict[str, Any], override: str, model: type[BaseModel]) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip("."):
        raise ConfigurationError(f"--set {override}: expected section.key=value")
    try:
        value = text if _takes_path(model, key) else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigurationError(f"--set {override}: the value is not valid YAML") from error
    *sections, name = key.split(".")
    for section in sections:
        if values.get(section) is None:
            values[section] = {}
        values = values[section]
        if not isinstance(values, dict):
            raise ConfigurationError(f"--set {override}: {section} is a value, not a section")
    values[name] = value


def _takes_path(model: type[BaseModel], key: str) -> bool:
    """Whether a key holds a path, whose text is taken as it is: YAML would cut ``a #2`` and make 123 a number."""
    section, _, rest = key.partition(".")
    field = model.model_fields.get(section)
    if field is None:
        return False
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        return _takes_path(field.annotation, rest)
    return field.annotation == Path | None


def _sentence(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem that pydantic found, in one sentence with the key, what was found and what to do."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model)
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        last = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
        hint = (
            f"did you mean {(near or last)[0]}?" if near or last else f"known here: {', '.join(_siblings(key, known))}"
        )
        return f"unknown key {key}; {hint}"
    if not key or problem["type"] == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    message = str(problem["msg"])
    return f"{key} is {problem['input']!r}: {message[:1].lower()}{message[1:]}"


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _known_keys(field.annotation, f"{prefix}{name}.")
    return keys


def _siblings(key: str, known: Sequence[str]) -> list[str]:
    section = key.rpartition(".")[0]
    return [name for name in known if name.rpartition(".")[0] == section]
