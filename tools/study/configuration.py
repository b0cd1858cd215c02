"""Configuration of a study: its target, its variants, and the settings that all variants share."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from refiner.config.sections import Section
from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import read_configuration, write_configuration
from refiner.core.errors import ConfigurationError
from refiner.eyes.scene.parameters import EyeParameters
from refiner.gaze.config import GazeConfiguration

Protocol = Literal["inductive", "transductive"]
"""inductive: adaptation sees half of the groups (days or people) of the target, and the other half is tested on. Seeds
2k and 2k+1 swap the halves, and each k has halves of its own. Seeds in such pairs test every group equally often.
transductive: adaptation sees all images of the target, and all are tested on."""


class TargetSection(Section):
    """The labelled real images of the test. Adaptation sees only their pixels."""

    data: str
    """Folder or store. Environment variables such as $REFINER_REAL_DATA are expanded."""
    group: str = "subject"
    """Label column whose values (days or people) are kept together in the halves and in the bootstrap."""
    slices: dict[str, dict[str, list[str | int]]] = Field({})
    """Subsets of the test images that are reported separately: by name, a label column and the values it may have."""


class BaseSection(Section):
    """A configuration file that all variants start from."""

    base: Path
    """The file, relative to the study's file."""
    overrides: dict[str, Any] = Field({})
    """Settings of the study that replace those of the file."""


class RendererSection(Section):
    """Source of labelled eyes."""

    parameters: EyeParameters = EyeParameters()
    """Ranges that differ from the renderer's defaults, such as an assumed range of gaze."""
    calibrate: bool = False
    """Fit the ranges that ``parameters`` does not set to the unlabelled real images first."""


class AdaptationSection(Section):
    """A change of the renders that makes them look like real images."""

    method: Literal["refiner", "histogram_matching", "fourier"] = "refiner"
    """refiner: a refiner file by ``refiner train``, of any method of its configuration, also ``method: fourier``.
    histogram_matching, fourier: the albumentations transform that matches each render to a random real image, as in the
    first studies."""
    base: Path | None = None
    """Configuration of the refiner instead of the study's, relative to the study's file. ``../fourier.yaml`` and
    ``../histogram.yaml`` need no training."""
    overrides: dict[str, Any] = Field({})
    """Changes of that configuration, after the study's own."""
    arguments: dict[str, Any] = Field({})
    """Arguments of the albumentations transform."""
    after: str | None = None
    """Name of another adaptation that is applied first."""
    consistent: bool = False
    """Keep the answers of an estimator of another seed, trained on all renders with augmentation, that sees only the
    image: see ``data.estimator`` of a refiner's configuration."""
    guides: int = Field(1, ge=1)
    """Number of such estimators with ``consistent``."""
    gaze_matched: bool = False
    """Train the refiner on a subset of the renders whose gaze is distributed as that of the real images, as predicted
    by an estimator of another seed. All renders are refined."""


class VariantSection(Section):
    """One way to train an estimator."""

    about: str = ""
    """A few words for the tables."""
    renderer: str = "default"
    """Name of an entry of ``renderers``."""
    adaptation: str | None = None
    """Name of an entry of ``adaptations``; None takes the renders unchanged."""
    redrawn: bool = False
    """Train the estimator on the renders before ``adaptation``, and refine every batch anew with its refiner file. The
    label-free scores are still those of renders that are refined once."""
    augmented: bool = False
    """Augment the estimator's training as its configuration says; otherwise not at all."""
    members: int = Field(1, ge=1)
    """Number of estimators whose mean prediction is tested."""
    co_taught: bool = False
    """Train the members together, so that they learn from each other on the unlabelled real images."""
    estimator: dict[str, Any] = Field({})
    """Changes of the estimator's configuration, after the study's own, such as ``{head_pose: yaw}``."""
    synthetic_factor: int = Field(1, ge=1)
    """Factor on the number of renders."""
    bias_corrected: bool = False
    """Shift the estimator's answers by a constant, so that their mean over the real images is the mean of the training
    labels. No real label is read; people are assumed to look, on average, where the renders do."""
    labels: Literal["synthetic", "permuted", "real"] = "synthetic"
    """synthetic: the renders' labels. permuted: the same, shuffled, as a control. real: no renders, but the real images
    of the other half with their labels, as an upper bound."""
    real_count: int | None = Field(None, ge=2)
    """Number of known real images, drawn by the seed; None takes all."""
    equalize: bool = True
    """Equalize the histograms of renders, of real images, of adapted renders (again), and of test images."""
    seeds: list[int] | None = None
    """Seeds instead of the study's."""
    protocols: list[Protocol] | None = None
    """Protocols instead of the study's."""
    against: list[str] | None = None
    """Variants that this one is compared with, seed by seed; None takes the study's."""


class ScoresSection(Section):
    """Label-free scores of adapted renders."""

    steps: int = Field(200, ge=1)
    """Updates of the network of the classifier two-sample test."""
    images: int = Field(2000, ge=8)
    """Maximum number of images of each domain in the test, half of them for training. Pupils are compared in half as
    many."""


class StudyConfiguration(Section):
    """Variants x seeds x protocols on one target."""

    target: TargetSection
    size: tuple[int, int] = (36, 60)
    """Height and width of all images."""
    synthetic_count: int = Field(12000, ge=8)
    """Number of labelled renders of a variant."""
    seeds: list[int] = Field([0, 1, 2])
    """Seeds of renders, of the choice of real images, of refiners and of estimators."""
    protocols: list[Protocol] = Field(["inductive", "transductive"])
    """Protocols that variants are run by."""
    against: list[str] = Field([])
    """Variants that all others are compared with."""
    refiner: BaseSection
    estimator: BaseSection
    renderers: dict[str, RendererSection] = Field({"default": RendererSection()})
    adaptations: dict[str, AdaptationSection] = Field({})
    variants: dict[str, VariantSection]
    scores: ScoresSection = ScoresSection()

    @model_validator(mode="after")
    def _names_are_known(self) -> "StudyConfiguration":
        for name, adaptation in self.adaptations.items():
            if adaptation.method != "refiner" and (adaptation.consistent or adaptation.gaze_matched):
                raise ValueError(
                    f"adaptations.{name}: consistent and gaze_matched apply only to method: refiner; leave them out"
                )
            if adaptation.after is not None:
                _check(f"adaptations.{name}.after", adaptation.after, self.adaptations)
                if self.adaptations[adaptation.after].after is not None:
                    raise ValueError(
                        f"adaptations.{name}.after is {adaptation.after}, which itself follows another adaptation; "
                        "only two can be chained"
                    )
        for name, variant in self.variants.items():
            self._check_variant(name, variant)
        for other in self.against:
            _check("against", other, self.variants)
        return self

    def _check_variant(self, name: str, variant: VariantSection) -> None:
        if not name.replace("_", "").isalnum():
            raise ValueError(f"variants.{name}: a name may hold only letters, digits and underscores")
        _check(f"variants.{name}.renderer", variant.renderer, self.renderers)
        if variant.adaptation is not None:
            _check(f"variants.{name}.adaptation", variant.adaptation, self.adaptations)
        if variant.redrawn:
            adaptation = None if variant.adaptation is None else self.adaptations[variant.adaptation]
            if adaptation is None or adaptation.method != "refiner" or variant.labels == "real":
                raise ValueError(
                    f"variants.{name}.redrawn needs renders and an adaptation of method: refiner, whose file refines "
                    "every batch; leave it out, or name such an adaptation"
                )
        if variant.co_taught and (variant.members < 2 or variant.labels != "synthetic"):
            raise ValueError(f"variants.{name}.co_taught needs the labels of renders and members: 2 or more")
        if variant.members > 1 and (variant.bias_corrected or variant.labels == "real"):
            raise ValueError(
                f"variants.{name}.members is {variant.members}, but bias_corrected and labels: real test one "
                "estimator; set members: 1"
            )
        if variant.bias_corrected and variant.labels == "real":
            raise ValueError(f"variants.{name}.bias_corrected: real labels need no bias correction; leave it out")
        for key in variant.estimator:
            if key in _SET_ELSEWHERE or (key == "augmentation" and not variant.augmented):
                place = _SET_ELSEWHERE.get(key, f"variants.{name}.augmented, which is false")
                raise ValueError(f"variants.{name}.estimator.{key} would have no effect: it follows from {place}")
        for other in variant.against or []:
            _check(f"variants.{name}.against", other, self.variants)


ADAPTATION = "adaptation"
"""Stands for the refiner file of a variant's adaptation until it is made."""

UNLABELLED = "unlabelled"
"""Stands for the unlabelled real images of a co-taught variant until they are copied."""

_SET_ELSEWHERE = {"seed": "seeds", "size": "the study's size", "equalize": "the variant's equalize"}
"""Keys of an estimator that a variant cannot change in ``estimator``."""


def _check(key: str, name: str, known: Mapping[str, Any]) -> None:
    if name not in known:
        raise ValueError(f"{key} is {name}, expected one of {', '.join(known) or 'none'}")


@dataclass(frozen=True)
class Study:
    """A configuration and the place it was read from.

    Attributes:
        name: name of its file.
        folder: folder that other configurations are relative to.
        configuration: its settings.
    """

    name: str
    folder: Path
    configuration: StudyConfiguration

    def digest(self) -> str:
        """Return the SHA-256 of the configuration."""
        return hashlib.sha256(write_configuration(self.configuration).encode()).hexdigest()

    def target(self) -> Path:
        """Return the path of the labelled real images.

        Raises:
            ConfigurationError: an environment variable is not set.
        """
        path = os.path.expandvars(self.configuration.target.data)
        if "$" in path:
            raise ConfigurationError(f"target.data is {path}; set that environment variable to the folder of the data")
        return Path(path)

    def refiner(self, adaptation: AdaptationSection, seed: int) -> TrainingConfiguration:
        """Return the configuration of the refiner that an adaptation trains or fits, without its data.

        Raises:
            ConfigurationError: the adaptation cannot have this configuration.
        """
        study = self.configuration
        overrides = study.refiner.overrides if adaptation.base is None else {}
        settings = [*_assignments(overrides), *_assignments(adaptation.overrides), *self._common(seed)]
        base = self.folder / (adaptation.base or study.refiner.base)
        refiner = read_configuration(base, TrainingConfiguration, overrides=settings)
        if refiner.fits_statistics and (adaptation.consistent or adaptation.gaze_matched):
            raise ConfigurationError(
                f"an adaptation of {base} is consistent or gaze_matched, but method {refiner.method} trains no "
                "network; leave these settings out"
            )
        return refiner

    def estimator(self, variant: VariantSection, seed: int) -> GazeConfiguration:
        """Return the configuration of the estimator that a variant trains, without its data."""
        section = self.configuration.estimator
        overrides = [*_assignments(section.overrides), *_assignments(variant.estimator)]
        settings = [*overrides, *self._common(seed), f"equalize={json.dumps(variant.equalize)}"]
        if not variant.augmented:
            settings += ["augmentation.strong=0", "augmentation.transforms=[]"]
        if variant.redrawn:
            settings += [f"augmentation.refiner={ADAPTATION}"]
        if variant.co_taught:
            settings += [f"data.unlabelled={UNLABELLED}", f"co_teaching.members={variant.members}"]
        return read_configuration(self.folder / section.base, GazeConfiguration, overrides=settings)

    def _common(self, seed: int) -> list[str]:
        return [f"seed={seed}", f"size={list(self.configuration.size)}"]


def read_study(path: Path) -> Study:
    """Read and check the configuration of a study.

    Raises:
        ConfigurationError: the file is missing or holds settings that cannot be used.
    """
    return Study(path.stem, path.parent, read_configuration(path, StudyConfiguration))


def _assignments(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield nested values as ``section.key=value``, the form of the command line."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _assignments(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={json.dumps(value)}"
