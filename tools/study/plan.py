"""From arms to tasks: which products an arm needs, by seed and protocol."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from refiner.core.errors import DataError
from refiner.data.labels.tables import LABELS_FILE
from refiner.eyes.calibration import explicitly_set
from tools.study.configuration import AdaptationSection, Protocol, Study, VariantSection
from tools.study.tasks import Task

ALL, FIRST, SECOND = "all", "first", "second"
"""Parts of a target: everything, or every other group."""

JUDGE = 1000
"""Added to the seed of an estimator that a refiner is held to, so that it is none of those that are tested."""

TESTED: dict[Protocol, str] = {"transductive": ALL, "inductive": SECOND}
SEEN: dict[Protocol, str] = {"transductive": ALL, "inductive": FIRST}
"""Which part is tested on, and which part gives the photographs."""


def target_digest(path: Path) -> str:
    """By which a target is known, wherever it lies: of its labels, or of the whole file."""
    file = path / LABELS_FILE if path.is_dir() else path
    return hashlib.sha256(file.read_bytes() if file.is_file() else str(path).encode()).hexdigest()


def part_numbers(groups: Sequence[str]) -> dict[str, list[int]]:
    """Numbers of the images of each part; of the sorted groups every other one is in the first half.

    Args:
        groups: the day or the person of each image.

    Raises:
        DataError: there is one group alone.
    """
    order = {group: number for number, group in enumerate(sorted(set(groups)))}
    if len(order) < 2:
        raise DataError(f"all images are of one group ({next(iter(order), None)!r}); expected several to halve them by")
    halves = [order[group] % 2 for group in groups]
    first, second = ([number for number, half in enumerate(halves) if half == side] for side in (0, 1))
    return {ALL: list(range(len(groups))), FIRST: first, SECOND: second}


class Plan:
    """The tasks of a study.

    Args:
        study: what is to be done.
        digest: of the target's data.
    """

    def __init__(self, study: Study, digest: str) -> None:
        self.study, self.configuration, self.digest = study, study.configuration, digest

    def results(self, variants: Sequence[str] | None = None, seeds: Sequence[int] | None = None) -> Iterator[Task]:
        """Results in the order they are wanted: seed by seed, so that what is there soon can be compared.

        Args:
            arms: these alone.
            seeds: these, instead of those that study and arms name.
        """
        chosen = {
            name: variant
            for name, variant in self.configuration.variants.items()
            if variants is None or name in variants
        }
        named = {
            name: self.configuration.seeds if variant.seeds is None else variant.seeds
            for name, variant in chosen.items()
        }
        for seed in sorted({seed for some in named.values() for seed in some}) if seeds is None else seeds:
            for name in chosen:
                if seeds is not None or seed in named[name]:
                    yield from (self.result(name, seed, protocol) for protocol in self.protocols(name))

    def protocols(self, name: str) -> Sequence[Protocol]:
        """By which an arm is run."""
        return self.configuration.variants[name].protocols or self.configuration.protocols

    def result(self, name: str, seed: int, protocol: Protocol) -> Task:
        """One result; it also knows its design, by which results of an arm that was changed are told from new ones."""
        task = self._test(name, seed, protocol)
        run = {"variant": name, "seed": seed, "protocol": protocol, "design": self.design(name, protocol)}
        return replace(task, settings={**task.settings, **run})

    def design(self, name: str, protocol: Protocol) -> str:
        """Digest of all that the results of an arm follow from, but for the seed."""
        return self._test(name, 0, protocol).digest

    def family(self, name: str) -> str:
        """Digest that arms share which differ in the number of their photographs alone: points of one curve."""
        variant = self.configuration.variants[name]
        text = variant.model_dump_json(exclude={"about", "real", "seeds", "protocols", "against"})
        return hashlib.sha256(text.encode()).hexdigest()

    def steps(self, name: str) -> int | None:
        """Of the refiner that an arm trains; None where it trains none."""
        adaptation = self._trained(name)
        return None if adaptation is None else self.study.refiner(adaptation, 0).steps

    def trajectory(self, name: str) -> str | None:
        """Digest that arms share whose refiners are checkpoints of one training; None where an arm trains none."""
        adaptation = self._trained(name)
        if adaptation is None:
            return None
        variant = self.configuration.variants[name]
        text = variant.model_dump_json(exclude={"about", "adaptation", "seeds", "protocols", "against"})
        text += self.study.refiner(adaptation, 0).model_dump_json(exclude={"steps"})
        text += f"{adaptation.consistent}{'gaze matched' if adaptation.gaze_matched else ''}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _trained(self, name: str) -> AdaptationSection | None:
        variant = self.configuration.variants[name]
        adaptation = None if variant.adaptation is None else self.configuration.adaptations[variant.adaptation]
        return adaptation if adaptation is not None and adaptation.method == "refiner" else None

    def _test(self, name: str, seed: int, protocol: Protocol) -> Task:
        """The test of an arm's estimator, or of two that each test what the other has learnt from."""
        variant = self.configuration.variants[name]
        label = f"{name}, seed {seed}, {protocol}"
        inputs = {"target": self._target(variant)}
        if variant.labels == "real":
            tests = {"estimator": SECOND} if protocol == "inductive" else {"estimator": SECOND, "estimator-2": FIRST}
            for role, part in tests.items():
                known = self._labelled(variant, seed, label, FIRST if part == SECOND else SECOND)
                inputs[role] = self._estimator(variant, seed, label, known)
        else:
            tests = {"estimator": TESTED[protocol]}
            synthetic = self._synthetic(variant, seed, protocol, label)
            adapted = self._adapted(variant, variant.adaptation, seed, protocol, label, synthetic)
            inputs["synthetic"] = synthetic  # for their parameters
            if variant.adaptation is not None or self.configuration.renderers[variant.renderer].calibrate:
                inputs["real"] = self._real(variant, seed, protocol, label, variant.real)
            inputs["scores"] = self._scores(variant, seed, protocol, label, synthetic, adapted)
            if variant.labels == "permuted":
                adapted = Task("permuted", label, {"seed": seed}, {"images": adapted})
            else:
                inputs["adapted"] = adapted  # for its refiner
            estimator = self._estimator(variant, seed, label, adapted)
            inputs["estimator"] = (
                self._corrected(variant, seed, protocol, label, estimator) if variant.corrected else estimator
            )
        settings = {"tests": tests, "slices": self.configuration.target.slices, **self._group}
        return Task("result", label, settings, inputs)

    @property
    def _group(self) -> dict[str, Any]:
        return {"group": self.configuration.target.group}

    def _target(self, variant: VariantSection) -> Task:
        settings = {"digest": self.digest, "size": list(self.configuration.size), "equalize": variant.equalize}
        return Task("target", self.study.name, settings)

    def _task(self, stage: str, label: str, settings: dict[str, Any], variant: VariantSection) -> Task:
        return Task(stage, label, settings, {"target": self._target(variant)})

    def _real(self, variant: VariantSection, seed: int, protocol: Protocol, label: str, count: int | None) -> Task:
        """Unlabelled images: those that an arm knows, or all that the protocol allows."""
        return self._task("real", label, self._seen(seed, protocol, count), variant)

    def _seen(self, seed: int, protocol: Protocol, count: int | None) -> dict[str, Any]:
        """Which images of the target are photographs."""
        drawn = {} if count is None else {"count": count, "seed": seed}
        return {"part": SEEN[protocol], **drawn, **self._group}

    def _labelled(self, variant: VariantSection, seed: int, label: str, part: str) -> Task:
        """Images with their gaze, and with the head pose where the arm's estimator is told it."""
        posed = {"head_pose": True} if self.study.estimator(variant, seed).head_pose else {}
        return self._task("labelled", label, {"part": part, **posed, **self._group}, variant)

    def _synthetic(self, variant: VariantSection, seed: int, protocol: Protocol, label: str) -> Task:
        renderer = self.configuration.renderers[variant.renderer]
        parameters = renderer.parameters.model_dump(mode="json")  # whole: the renderer's own ranges may change
        settings = {
            "count": self.configuration.synthetic * variant.synthetic,
            "seed": seed,
            "size": list(self.configuration.size),
            "equalize": variant.equalize,
        }
        if not renderer.calibrate:
            return Task("synthetic", label, {"parameters": parameters, **settings})
        real = self._real(variant, seed, protocol, label, variant.real)
        fitted = {"parameters": parameters, "keep": explicitly_set(renderer.parameters)}
        calibration = Task("calibration", label, fitted, {"real": real})
        return Task("synthetic", label, settings, {"calibration": calibration})

    def _adapted(
        self, variant: VariantSection, name: str | None, seed: int, protocol: Protocol, label: str, synthetic: Task
    ) -> Task:
        if name is None:
            return synthetic
        adaptation = self.configuration.adaptations[name]
        synthetic = self._adapted(variant, adaptation.after, seed, protocol, label, synthetic)
        real = self._real(variant, seed, protocol, label, variant.real)
        if adaptation.method == "refiner":
            inputs = {"synthetic": synthetic, "real": real}
            if adaptation.gaze_matched:
                inputs["synthetic"] = self._drawn(variant, seed, protocol, label, synthetic)
            if adaptation.consistent:
                inputs["estimator"] = self._judge(variant, seed, label, synthetic, head_pose=False)
            refiner = self._refiner(adaptation, seed, label, inputs)
            return Task("refined", label, {"equalize": variant.equalize}, {"synthetic": synthetic, "refiner": refiner})
        settings = {
            "method": adaptation.method,
            "arguments": adaptation.arguments,
            "seed": seed,
            "equalize": variant.equalize,
        }
        return Task("matched", label, settings, {"synthetic": synthetic, "real": real})

    def _corrected(self, variant: VariantSection, seed: int, protocol: Protocol, label: str, estimator: Task) -> Task:
        """The estimator, its answers moved by a constant."""
        inputs = {"target": self._target(variant), "estimator": estimator}
        return Task("centred", label, self._seen(seed, protocol, variant.real), inputs)

    def _drawn(self, variant: VariantSection, seed: int, protocol: Protocol, label: str, synthetic: Task) -> Task:
        """Those renders whose gaze is like that of the photographs."""
        judge = self._judge(variant, seed, label, synthetic)
        settings = {**self._seen(seed, protocol, variant.real), "draw": seed}
        return Task(
            "drawn", label, settings, {"target": self._target(variant), "synthetic": synthetic, "estimator": judge}
        )

    def _judge(self, variant: VariantSection, seed: int, label: str, synthetic: Task, **told: Any) -> Task:
        """An estimator that judges renders or photographs for a refiner: another than the one that is tested."""
        judge = {"augmented": True, "estimator": {**variant.estimator, **told}}
        return self._estimator(variant.model_copy(update=judge), seed + JUDGE, label, synthetic)

    def _refiner(self, adaptation: AdaptationSection, seed: int, label: str, inputs: dict[str, Task]) -> Task:
        # Defaults are left out, so that a setting that is new in the package makes no result look old.
        settings = self.study.refiner(adaptation, seed).model_dump(mode="json", exclude_defaults=True, exclude={"data"})
        return Task("refiner", label, {"configuration": settings}, inputs)

    def _estimator(self, variant: VariantSection, seed: int, label: str, images: Task) -> Task:
        settings = self.study.estimator(variant, seed).model_dump(
            mode="json", exclude_defaults=True, exclude={"data": {"train"}}
        )
        return Task("estimator", label, {"configuration": settings}, {"images": images})

    def _scores(
        self, variant: VariantSection, seed: int, protocol: Protocol, label: str, synthetic: Task, adapted: Task
    ) -> Task:
        """Judged against all photographs of the protocol, however few of them the arm knows."""
        real = self._real(variant, seed, protocol, label, None)
        settings = {**self.configuration.scores.model_dump(), "seed": seed}
        inputs = {"synthetic": synthetic, "adapted": adapted, "real": real}
        return Task("scores", label, settings, inputs)
