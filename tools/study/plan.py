"""Plan of a study: the tasks that each variant needs, by seed and protocol."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from refiner.data.labels.tables import LABELS_FILE
from refiner.eyes.calibration import explicitly_set
from tools.study.configuration import AdaptationSection, Protocol, Study, VariantSection
from tools.study.halves import FIRST, SECOND, halves_of
from tools.study.tasks import Task

GUIDE_SEED_OFFSET = 1000
"""Added to the seed of an estimator that guides a refiner, so that it differs from all tested estimators."""

MEMBER_SEED_OFFSET = 100_000
"""Added to the seed of each further estimator whose mean prediction is tested."""


def target_digest(path: Path) -> str:
    """Return the digest of a target, wherever it is stored: of its labels, or of the whole file."""
    file = path / LABELS_FILE if path.is_dir() else path
    return hashlib.sha256(file.read_bytes() if file.is_file() else str(path).encode()).hexdigest()


class Plan:
    """The tasks of a study.

    Args:
        study: the study.
        digest: digest of the target's data.
    """

    def __init__(self, study: Study, digest: str) -> None:
        self.study, self.configuration, self.digest = study, study.configuration, digest

    def results(self, variants: Sequence[str] | None = None, seeds: Sequence[int] | None = None) -> Iterator[Task]:
        """Yield the tasks of results, seed by seed, so that early results can be compared.

        Args:
            variants: names of the variants; None takes all.
            seeds: seeds instead of those of the study and its variants.
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
        """Return the protocols that a variant is run by."""
        return self.configuration.variants[name].protocols or self.configuration.protocols

    def result(self, name: str, seed: int, protocol: Protocol) -> Task:
        """Return the task of one result. Its design tells current results from those of an earlier configuration."""
        task = self._test(name, seed, protocol)
        run = {"variant": name, "seed": seed, "protocol": protocol, "design": self.design(name, protocol)}
        return replace(task, settings={**task.settings, **run})

    def design(self, name: str, protocol: Protocol) -> str:
        """Return the digest of everything that the results of a variant follow from, except the seed."""
        return self._test(name, 0, protocol).digest

    def family(self, name: str) -> str:
        """Return a digest shared by variants that differ only in the number of real images: points of one curve."""
        variant = self.configuration.variants[name]
        text = variant.model_dump_json(exclude={"about", "real_count", "seeds", "protocols", "against"})
        return hashlib.sha256(text.encode()).hexdigest()

    def steps(self, name: str) -> int | None:
        """Return the steps of the refiner that a variant trains; None if it trains none."""
        adaptation = self._trained(name)
        return None if adaptation is None else self.study.refiner(adaptation, 0).steps

    def trajectory(self, name: str) -> str | None:
        """Return a digest shared by variants whose refiners are checkpoints of one training; None without a refiner."""
        adaptation = self._trained(name)
        if adaptation is None:
            return None
        variant = self.configuration.variants[name]
        text = variant.model_dump_json(exclude={"about", "adaptation", "seeds", "protocols", "against"})
        text += self.study.refiner(adaptation, 0).model_dump_json(exclude={"steps"})
        text += f"{adaptation.consistent}{'gaze matched' if adaptation.gaze_matched else ''}"
        text += f"{adaptation.guides} guides" if adaptation.guides > 1 else ""
        return hashlib.sha256(text.encode()).hexdigest()

    def _trained(self, name: str) -> AdaptationSection | None:
        """Return the adaptation of a variant if it trains a network."""
        variant = self.configuration.variants[name]
        adaptation = None if variant.adaptation is None else self.configuration.adaptations[variant.adaptation]
        if adaptation is None or adaptation.method != "refiner":
            return None
        return None if self.study.refiner(adaptation, 0).fits_statistics else adaptation

    def _test(self, name: str, seed: int, protocol: Protocol) -> Task:
        """Return the test of a variant's estimator, or of two that each test the other's training images."""
        variant = self.configuration.variants[name]
        label = f"{name}, seed {seed}, {protocol}"
        inputs, halves = {"target": self._target(variant)}, halves_of(seed, protocol)
        if variant.labels == "real":
            inductive = {"estimator": halves.tested}
            tests = inductive if protocol == "inductive" else {"estimator": SECOND, "estimator-2": FIRST}
            for role, part in tests.items():
                other = {"part": FIRST if part == SECOND else SECOND, **halves.settings}
                inputs[role] = self._estimator(variant, seed, label, self._labelled(variant, seed, label, other))
            if protocol == "inductive":
                inputs["scores"] = self._real_scores(variant, seed, label)
        else:
            tests = {"estimator": halves.tested}
            synthetic = self._synthetic(variant, seed, protocol, label)
            adapted = self._adapted(variant, variant.adaptation, seed, protocol, label, synthetic)
            inputs["synthetic"] = synthetic  # for their parameters
            calibrated = self.configuration.renderers[variant.renderer].calibrate
            if variant.adaptation is not None or calibrated or variant.co_taught:
                inputs["real"] = self._real(variant, seed, protocol, label, variant.real_count)
            inputs["scores"] = self._scores(variant, seed, protocol, label, synthetic, adapted)
            known = adapted.inputs["synthetic"] if variant.redrawn else adapted
            if variant.labels == "permuted":
                known = Task("permuted", label, {"seed": seed}, {"images": known})
            else:
                inputs["adapted"] = adapted  # for its refiner
            further = {"refiner": adapted.inputs["refiner"]} if variant.redrawn else {}
            if variant.co_taught:
                further["unlabelled"] = self._unlabelled(variant, seed, protocol, label)
            estimator = self._estimator(variant, seed, label, known, **further)
            inputs["estimator"] = (
                self._corrected(variant, seed, protocol, label, estimator) if variant.bias_corrected else estimator
            )
            # Estimators of the same part are averaged; co-taught ones share a run.
            for member in range(1, 1 if variant.co_taught else variant.members):
                own = seed + member * MEMBER_SEED_OFFSET
                inputs[f"member-{member + 1}"] = self._estimator(variant, own, label, known, **further)
                tests[f"member-{member + 1}"] = halves.tested
        settings = {"tests": tests, "slices": self.configuration.target.slices, **halves.settings, **self._group}
        if protocol == "inductive":
            settings["cross_validated"] = True  # the first studies tested the same half with every seed
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
        """Return the unlabelled real images: those that a variant knows, or all that the protocol allows."""
        return self._task("real", label, self._seen(seed, protocol, count), variant)

    def _seen(self, seed: int, protocol: Protocol, count: int | None) -> dict[str, Any]:
        """Return the settings that choose the unlabelled images of the target."""
        drawn = {} if count is None else {"count": count, "seed": seed}
        halves = halves_of(seed, protocol)
        return {"part": halves.seen, **halves.settings, **drawn, **self._group}

    def _labelled(self, variant: VariantSection, seed: int, label: str, known: dict[str, Any]) -> Task:
        """Return images with their gaze, and with the head pose if the estimator takes it."""
        posed = {"head_pose": True} if self.study.estimator(variant, seed).head_pose else {}
        return self._task("labelled", label, {**known, **posed, **self._group}, variant)

    def _unlabelled(self, variant: VariantSection, seed: int, protocol: Protocol, label: str) -> Task:
        """Return the real images that adaptation sees, without gaze, but with the head pose that estimators take."""
        posed = {"head_pose": True} if self.study.estimator(variant, seed).head_pose else {}
        settings = {**self._seen(seed, protocol, variant.real_count), **posed}
        return self._task("unlabelled", label, settings, variant)

    def _synthetic(self, variant: VariantSection, seed: int, protocol: Protocol, label: str) -> Task:
        renderer = self.configuration.renderers[variant.renderer]
        parameters = renderer.parameters.model_dump(mode="json")  # all of them: the renderer's defaults may change
        settings = {
            "count": self.configuration.synthetic_count * variant.synthetic_factor,
            "seed": seed,
            "size": list(self.configuration.size),
            "equalize": variant.equalize,
        }
        if not renderer.calibrate:
            return Task("synthetic", label, {"parameters": parameters, **settings})
        real = self._real(variant, seed, protocol, label, variant.real_count)
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
        real = self._real(variant, seed, protocol, label, variant.real_count)
        if adaptation.method == "refiner":
            inputs = {"synthetic": synthetic, "real": real}
            if adaptation.gaze_matched:
                inputs["synthetic"] = self._gaze_matched(variant, seed, protocol, label, synthetic)
            if adaptation.consistent:
                for number in range(adaptation.guides):
                    guide = self._guide(variant, seed + number * MEMBER_SEED_OFFSET, label, synthetic, head_pose=False)
                    inputs[f"estimator-{number + 1}" if number else "estimator"] = guide
            refiner = self._refiner(adaptation, seed, label, inputs)
            return Task("refined", label, {"equalize": variant.equalize}, {"synthetic": synthetic, "refiner": refiner})
        settings = {
            "method": adaptation.method,
            "arguments": adaptation.arguments,
            "seed": seed,
            "equalize": variant.equalize,
        }
        return Task("transformed", label, settings, {"synthetic": synthetic, "real": real})

    def _corrected(self, variant: VariantSection, seed: int, protocol: Protocol, label: str, estimator: Task) -> Task:
        """Return the estimator with its answers shifted by a constant."""
        inputs = {"target": self._target(variant), "estimator": estimator}
        return Task("corrected", label, self._seen(seed, protocol, variant.real_count), inputs)

    def _gaze_matched(
        self, variant: VariantSection, seed: int, protocol: Protocol, label: str, synthetic: Task
    ) -> Task:
        """Return the renders whose gaze is distributed as that of the real images."""
        guide = self._guide(variant, seed, label, synthetic)
        settings = {**self._seen(seed, protocol, variant.real_count), "draw": seed}
        inputs = {"target": self._target(variant), "synthetic": synthetic, "estimator": guide}
        return Task("gaze_matched", label, settings, inputs)

    def _guide(self, variant: VariantSection, seed: int, label: str, synthetic: Task, **changes: Any) -> Task:
        """Return an estimator that predicts gaze for the training of a refiner; it is never the tested one."""
        alone = {"augmented": True, "redrawn": False, "co_taught": False}
        settings = {**alone, "estimator": {**variant.estimator, **changes}}
        return self._estimator(variant.model_copy(update=settings), seed + GUIDE_SEED_OFFSET, label, synthetic)

    def _refiner(self, adaptation: AdaptationSection, seed: int, label: str, inputs: dict[str, Task]) -> Task:
        # Defaults are left out, so that a new setting of the package makes no result look outdated.
        settings = self.study.refiner(adaptation, seed).model_dump(mode="json", exclude_defaults=True, exclude={"data"})
        return Task("refiner", label, {"configuration": settings}, inputs)

    def _estimator(self, variant: VariantSection, seed: int, label: str, images: Task, **further: Task) -> Task:
        """Return the estimator that is trained on images.

        Its further inputs are a ``refiner`` if every batch is refined anew, and the ``unlabelled`` images of
        co-teaching.
        """
        settings = self.study.estimator(variant, seed).model_dump(
            mode="json", exclude_defaults=True, exclude={"data": {"train", "unlabelled"}}
        )
        return Task("estimator", label, {"configuration": settings}, {"images": images, **further})

    def _real_scores(self, variant: VariantSection, seed: int, label: str) -> Task:
        """Return the scores of the real images of other groups, which are the best that adapted renders can reach."""
        halves = halves_of(seed, "inductive")
        tested = {"part": halves.tested, **halves.settings, **self._group}
        seen, other = self._real(variant, seed, "inductive", label, None), self._task("real", label, tested, variant)
        settings = {**self.configuration.scores.model_dump(), "seed": seed}
        return Task("scores", label, settings, {"synthetic": seen, "adapted": seen, "real": other})

    def _scores(
        self, variant: VariantSection, seed: int, protocol: Protocol, label: str, synthetic: Task, adapted: Task
    ) -> Task:
        """Return the label-free scores, against all real images of the protocol, however few the variant knows."""
        real = self._real(variant, seed, protocol, label, None)
        settings = {**self.configuration.scores.model_dump(), "seed": seed}
        inputs = {"synthetic": synthetic, "adapted": adapted, "real": real}
        return Task("scores", label, settings, inputs)
