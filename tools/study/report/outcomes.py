"""Outcomes of studies, read only from their results files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import numpy as np

from refiner.core.errors import DataError
from refiner.data.labels.angles import Angles, angular_error_degrees
from refiner.metrics.intervals import Interval, seed_interval
from tools.study.configuration import Protocol
from tools.study.report.cells import cell_interval, error_cells, has_cells, mean_error, paired_cells
from tools.study.results_file import SUFFIX, read_results_file

Results = dict[int, dict[str, Any]]
"""Results of one variant and protocol, by seed."""


@dataclass(frozen=True)
class Difference:
    """The difference between two variants, paired by seed, or by seed and group under a cross-validated protocol.

    Attributes:
        degrees: error of the variant minus that of the other; below 0, the variant is better.
        share: the mean difference as a share of the other's error.
        seeds: number of seeds of both.
        groups: number of groups that the interval is over; None if it is over seeds only.
    """

    degrees: Interval
    share: float
    seeds: int
    groups: int | None = None

    @property
    def pairs(self) -> str:
        """The number of seeds, and of groups if the interval is over them too."""
        if self.groups is None:
            return str(self.seeds)
        return f"{self.seeds} {'seed' if self.seeds == 1 else 'seeds'}, {self.groups} groups"

    @property
    def effect(self) -> str:
        """The difference in words."""
        if self.seeds < 2:
            return "one seed"
        if self.degrees.high < 0:
            return "helps"
        return "hurts" if self.degrees.low > 0 else "not significant"


@dataclass(frozen=True)
class Choice:
    """The checkpoint of a training that the label-free score chooses, and the one that is best on real labels.

    Attributes:
        seed: seed of the training.
        chosen, best: their numbers of steps.
        error, least: their errors in degrees.
    """

    seed: int
    chosen: int
    best: int
    error: float
    least: float


@dataclass(frozen=True)
class Outcome:
    """The results of one study.

    Attributes:
        name: name of the study.
        slices: names of the subsets of the test images.
        variants: the variants of the overview, by name.
        results: results by (variant, protocol); those of an earlier configuration of a variant are left out.
    """

    name: str
    slices: Sequence[str]
    variants: dict[str, dict[str, Any]]
    results: dict[tuple[str, str], Results]

    @property
    def protocols(self) -> list[str]:
        """Protocols that at least one variant is run by, the inductive one first."""
        return [protocol for protocol in get_args(Protocol) if self.variants_of(protocol)]

    def cross_validated(self, protocol: str) -> bool:
        """Check whether seeds test different halves, so that intervals are over seeds and groups together.

        The first studies tested one half with all seeds. Their intervals are over seeds.
        """
        return protocol == "inductive" and self._inductive_cells

    @cached_property
    def _inductive_cells(self) -> bool:
        results = [result for name in self.variants for result in self.of(name, "inductive").values()]
        return all(has_cells(entry) for result in results for entry in (result, *result["slices"].values()))

    def of(self, variant: str, protocol: str) -> Results:
        """Return the results of a variant, empty if it is run only by the other protocol."""
        return self.results.get((variant, protocol), {})

    def variants_of(self, protocol: str) -> list[str]:
        """Return the variants that are run by a protocol."""
        return [name for name, variant in self.variants.items() if protocol in variant["designs"]]

    def errors(
        self, variant: str, protocol: str, part: str | None = None, *, unbiased: bool = False
    ) -> dict[int, float]:
        """Return the mean error in degrees by seed, on all test images or a slice, with or without its bias."""
        found = self._metrics(variant, protocol, part)
        return {seed: entry["unbiased"] if unbiased else entry["error"]["mean"] for seed, entry in found.items()}

    def interval(
        self, variant: str, protocol: str, part: str | None = None, *, unbiased: bool = False
    ) -> Interval | None:
        """Return the mean error with its interval over seeds, and over groups if cross-validated; None if not run."""
        found = self._metrics(variant, protocol, part)
        if found and self.cross_validated(protocol):
            return cell_interval(error_cells(found, unbiased=unbiased))
        errors = list(self.errors(variant, protocol, part, unbiased=unbiased).values())
        return seed_interval(errors) if errors else None

    def _metrics(self, variant: str, protocol: str, part: str | None) -> Results:
        """Return the metrics by seed, on all test images or a slice; seeds without images in the slice are left out."""
        found = {seed: metrics(result, part) for seed, result in self.of(variant, protocol).items()}
        return {seed: entry for seed, entry in found.items() if entry}

    def difference(
        self, variant: str, other: str, protocol: str, part: str | None = None, *, unbiased: bool = False
    ) -> Difference | None:
        """Compare two variants over the seeds that both have; None if there are none."""
        if self.cross_validated(protocol):
            found = (self._metrics(name, protocol, part) for name in (variant, other))
            cells, base = paired_cells(*(error_cells(entries, unbiased=unbiased) for entries in found))
            if not cells:
                return None
            interval = cell_interval(cells)
            seeds, groups = (len(set(names)) for names in zip(*cells, strict=True))
            return Difference(interval, interval.mean / mean_error(base), seeds, groups)
        first, second = (self.errors(name, protocol, part, unbiased=unbiased) for name in (variant, other))
        both = sorted(set(first) & set(second))
        if not both:
            return None
        degrees = seed_interval([first[seed] - second[seed] for seed in both])
        return Difference(degrees, degrees.mean / float(np.mean([second[seed] for seed in both])), len(both))

    def disagreement(self, variant: str, protocol: str) -> float | None:
        """Return the mean angle between the predictions of two seeds, in degrees; None if no two share an image."""
        answers = [_answers(found) for found in self.of(variant, protocol).values() if "answers" in found]
        shared = [[(one[image], two[image]) for image in one if image in two] for one, two in combinations(answers, 2)]
        angles = [angular_error_degrees(*np.array(pairs).swapaxes(0, 1)).mean() for pairs in shared if pairs]
        return float(np.mean(angles)) if angles else None

    def baseline(self, protocol: str, key: str, part: str | None = None) -> float | None:
        """Return the error of a constant prediction, from the first variant that has a result."""
        for variant in self.variants_of(protocol):
            values = [entry[key] for result in self.of(variant, protocol).values() if (entry := metrics(result, part))]
            if values:
                return float(np.mean(values))
        return None

    def choices(self, protocol: str) -> Iterator[Choice]:
        """Yield the choice of the score among variants whose refiners are checkpoints of one training, seed by seed."""
        trainings: dict[tuple[str, int], list[tuple[float, float, int]]] = {}
        for name in self.variants_of(protocol):
            variant = self.variants[name]
            for seed, result in self.of(name, protocol).items():
                if variant.get("trajectory") and "score" in result["scores"]:
                    found = result["scores"]["score"], result["error"]["mean"], variant["steps"]
                    trainings.setdefault((variant["trajectory"], seed), []).append(found)
        for (_, seed), checkpoints in trainings.items():
            if len(checkpoints) > 1:
                chosen, best = min(checkpoints), min(checkpoints, key=lambda one: one[1])
                yield Choice(seed, chosen[2], best[2], chosen[1], best[1])

    def curves(self, protocol: str) -> Iterator[list[str]]:
        """Yield groups of variants that differ only in the number of real images, the smallest number first."""
        families: dict[str, list[str]] = {}
        for name in self.variants_of(protocol):
            families.setdefault(self.variants[name]["family"], []).append(name)
        for names in families.values():
            if len({self.variants[name]["real_count"] for name in names}) > 1:
                yield sorted(names, key=lambda name: self.variants[name]["real_count"] or np.inf)


def _answers(result: dict[str, Any]) -> dict[str, Angles]:
    """Return pitch and yaw of some predictions, (2,), in radians, by the number of the image.

    Without numbers, all results hold predictions of the same images.
    """
    lines = [[float(value) for value in result["answers"][name].split()] for name in ("pitch", "yaw")]
    angles = np.radians(np.array(lines).T)
    images = result["answers"].get("images")
    names = list(map(str, range(len(angles)))) if images is None else images.split()
    return dict(zip(names, angles, strict=True))


def metrics(result: dict[str, Any], part: str | None) -> dict[str, Any]:
    """Return the metrics of all test images, or of a slice; empty if no image is in it."""
    return result if part is None else result["slices"].get(part, {})


def read_outcomes(folder: Path) -> list[Outcome]:
    """Read the results files in a folder, sorted by name.

    Raises:
        DataError: there are none, or one is damaged.
    """
    outcomes = [_read(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
    if not outcomes:
        raise DataError(f"{folder} holds no results of a study, such as short{SUFFIX}; name the folder of such files")
    return outcomes


def _read(path: Path) -> Outcome:
    file = read_results_file(path)
    variants = file.overview["variants"]
    results: dict[tuple[str, str], Results] = {}
    for (name, seed, protocol), result in sorted(file.results.items()):
        if variants.get(name, {}).get("designs", {}).get(protocol) == result["design"]:
            results.setdefault((name, protocol), {})[seed] = result
    return Outcome(file.overview["study"], file.overview["slices"], variants, results)
