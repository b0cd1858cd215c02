"""The configuration of a study: its target, its arms, and what every arm has in common."""

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

Protocol = Literal["transductive", "inductive"]
"""transductive: the photographs are all of the target's images, which are tested on, too. inductive: photographs from
every other group (day, person) of the target, tested on the groups between."""


class TargetSection(Section):
    """The labelled photographs that are tested on; adaptation sees their images alone."""

    data: str
    """Folder or store; environment variables such as $REFINER_REAL_DATA are filled in."""
    group: str = "subject"
    """Label column whose values, days or people, are kept together: in the halves, and in the bootstrap."""
    slices: dict[str, dict[str, list[str | int]]] = Field({})
    """Parts of the test images that are reported apart: by name, label column and the values that belong to it."""


class BaseSection(Section):
    """A configuration file that all arms start from."""

    base: Path
    """The file, relative to the study's."""
    overrides: dict[str, Any] = Field({})
    """What the study sets instead."""


class RendererSection(Section):
    """Where labelled eyes come from."""

    parameters: EyeParameters = EyeParameters()
    """What differs from the renderer's own ranges, such as a stated prior of the gaze."""
    calibrate: bool = False
    """Match the ranges that ``parameters`` does not set to the unlabelled photographs first."""


class AdaptationSection(Section):
    """What is done to renders so that they look like photographs."""

    method: Literal["refiner", "histogram_matching", "fourier"] = "refiner"
    """A refiner that is trained, or what albumentations does to each render with a random photograph."""
    base: Path | None = None
    """Another configuration of the refiner than the study's, relative to the study's file."""
    overrides: dict[str, Any] = Field({})
    """Changes of that configuration, after the study's own."""
    arguments: dict[str, Any] = Field({})
    """Of the albumentations transform."""
    after: str | None = None
    """Another adaptation, by its name, that comes before."""
    consistent: bool = False
    """Keep what an estimator of another seed, which sees the image alone and has learnt on all renders with
    augmentation, answers: see ``data.estimator`` of a refiner's configuration."""
    gaze_matched: bool = False
    """Train the refiner on those renders alone that are drawn like the photographs' gaze, as an estimator of another
    seed has it, which has learnt on all renders with augmentation. All renders are refined."""


class VariantSection(Section):
    """One way to train an estimator."""

    about: str = ""
    """What it is, in a few words for the tables."""
    renderer: str = "default"
    """By its name in ``renderers``."""
    adaptation: str | None = None
    """By its name in ``adaptations``; None takes renders as they are."""
    augmented: bool = False
    """Whether the estimator's training is augmented as its configuration says; otherwise not at all."""
    estimator: dict[str, Any] = Field({})
    """Changes of the estimator's configuration, after the study's own, such as ``{head_pose: yaw}``."""
    synthetic: int = Field(1, ge=1)
    """Factor on the number of renders."""
    corrected: bool = False
    """Move the estimator's answers by a constant, so that over the photographs they have the mean of the labels that
    it learnt from: no label is read, but people are assumed to look, in the mean, where the renders do."""
    labels: Literal["synthetic", "permuted", "real"] = "synthetic"
    """permuted: the renders' labels, shuffled, a control; real: no renders at all, but photographs of the other half
    with their labels, a ceiling."""
    real: int | None = Field(None, ge=2)
    """How many photographs are known, drawn by the seed; None takes all."""
    equalize: bool = True
    """Equalise the histogram of renders, of photographs, of adapted renders once more, and of test images."""
    seeds: list[int] | None = None
    """Instead of the study's."""
    protocols: list[Protocol] | None = None
    """Instead of the study's."""
    against: list[str] | None = None
    """Arms that it is compared with, seed by seed; None takes the study's."""


class ScoresSection(Section):
    """How adapted renders are judged without labels of photographs."""

    steps: int = Field(200, ge=1)
    """Updates of the network that tries to tell adapted renders from photographs."""
    images: int = Field(2000, ge=8)
    """At most so many of each are shown to it, half in training; pupils are compared in half as many."""


class StudyConfiguration(Section):
    """Arms x seeds x protocols on one target."""

    target: TargetSection
    size: tuple[int, int] = (36, 60)
    """Height and width of all images."""
    synthetic: int = Field(12000, ge=8)
    """Labelled renders of an arm."""
    seeds: list[int] = Field([0, 1, 2])
    """Renders, photographs drawn, refiner and estimator follow from them."""
    protocols: list[Protocol] = Field(["transductive", "inductive"])
    """Which arms are run by."""
    against: list[str] = Field([])
    """Arms that all others are compared with."""
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
                raise ValueError(f"adaptations.{name}: consistent and gaze_matched are of refiners; leave them out")
            if adaptation.after is not None:
                _check(f"adaptations.{name}.after", adaptation.after, self.adaptations)
                if self.adaptations[adaptation.after].after is not None:
                    raise ValueError(f"adaptations.{name}.after: {adaptation.after} comes after another already")
        for name, variant in self.variants.items():
            if not name.replace("_", "").isalnum():
                raise ValueError(f"arms.{name}: a name is made of letters, digits and underscores")
            _check(f"arms.{name}.renderer", variant.renderer, self.renderers)
            if variant.adaptation is not None:
                _check(f"arms.{name}.adaptation", variant.adaptation, self.adaptations)
            if variant.corrected and variant.labels == "real":
                raise ValueError(f"arms.{name}.centred: real labels need no centring; leave it out")
            for key in variant.estimator:
                if key in _SET_ELSEWHERE or (key == "augmentation" and not variant.augmented):
                    place = _SET_ELSEWHERE.get(key, f"arms.{name}.augmented, which is false")
                    raise ValueError(f"arms.{name}.estimator.{key} would have no effect: it follows from {place}")
            for other in variant.against or []:
                _check(f"arms.{name}.against", other, self.variants)
        for other in self.against:
            _check("against", other, self.variants)
        return self


_SET_ELSEWHERE = {"seed": "seeds", "size": "the study's size", "equalize": "the arm's equalize"}
"""Keys of an estimator that an arm cannot change in ``estimator``."""


def _check(key: str, name: str, known: Mapping[str, Any]) -> None:
    if name not in known:
        raise ValueError(f"{key} is {name}, expected one of {', '.join(known) or 'none'}")


@dataclass(frozen=True)
class Study:
    """A configuration, and where it was read.

    Attributes:
        name: of its file.
        folder: that other configurations are relative to.
        configuration: what it says.
    """

    name: str
    folder: Path
    configuration: StudyConfiguration

    def digest(self) -> str:
        """Of all that the configuration says."""
        return hashlib.sha256(write_configuration(self.configuration).encode()).hexdigest()

    def target(self) -> Path:
        """The labelled photographs.

        Raises:
            ConfigurationError: an environment variable is not set.
        """
        path = os.path.expandvars(self.configuration.target.data)
        if "$" in path:
            raise ConfigurationError(f"target.data is {path}; set that environment variable to the folder of the data")
        return Path(path)

    def refiner(self, adaptation: AdaptationSection, seed: int) -> TrainingConfiguration:
        """Of the refiner that an adaptation trains, without its data."""
        study = self.configuration
        overrides = study.refiner.overrides if adaptation.base is None else {}
        settings = [*_assignments(overrides), *_assignments(adaptation.overrides), *self._common(seed)]
        return read_configuration(
            self.folder / (adaptation.base or study.refiner.base), TrainingConfiguration, overrides=settings
        )

    def estimator(self, variant: VariantSection, seed: int) -> GazeConfiguration:
        """Of the estimator that an arm trains, without its data."""
        section = self.configuration.estimator
        overrides = [*_assignments(section.overrides), *_assignments(variant.estimator)]
        settings = [*overrides, *self._common(seed), f"equalize={json.dumps(variant.equalize)}"]
        if not variant.augmented:
            settings += ["augmentation.strong=0", "augmentation.transforms=[]"]
        return read_configuration(self.folder / section.base, GazeConfiguration, overrides=settings)

    def _common(self, seed: int) -> list[str]:
        return [f"seed={seed}", f"size={list(self.configuration.size)}"]


def read_study(path: Path) -> Study:
    """Read and check the configuration of a study.

    Raises:
        ConfigurationError: it cannot be used.
    """
    return Study(path.stem, path.parent, read_configuration(path, StudyConfiguration))


def _assignments(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """``section.key=value`` of nested values, as the command line would set them."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _assignments(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={json.dumps(value)}"
