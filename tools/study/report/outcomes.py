"""Outcomes of studies, read only from their results files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.errors import DataError
from refiner.data.labels.angles import Angles, angular_error_degrees
from refiner.metrics.intervals import Interval, seed_interval
from tools.study.results_file import SUFFIX, read_results_file

Results = dict[int, dict[str, Any]]
"""Results of one variant and protocol, by seed."""


@dataclass(frozen=True)
class Difference:
    """The difference between two variants, paired by seed.

    Attributes:
        degrees: error of the variant minus that of the other; below 0, the variant is better.
        share: the mean difference as a share of the other's error.
        seeds: number of pairs.
    """

    degrees: Interval
    share: float
    seeds: int

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
        """Protocols that at least one variant is run by."""
        return list(dict.fromkeys(protocol for variant in self.variants.values() for protocol in variant["designs"]))

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
        found = {seed: metrics(result, part) for seed, result in self.of(variant, protocol).items()}
        return {
            seed: entry["unbiased"] if unbiased else entry["error"]["mean"] for seed, entry in found.items() if entry
        }

    def difference(
        self, variant: str, other: str, protocol: str, part: str | None = None, *, unbiased: bool = False
    ) -> Difference | None:
        """Compare two variants over the seeds that both have; None if there are none."""
        first, second = (self.errors(name, protocol, part, unbiased=unbiased) for name in (variant, other))
        seeds = sorted(set(first) & set(second))
        if not seeds:
            return None
        degrees = seed_interval([first[seed] - second[seed] for seed in seeds])
        return Difference(degrees, degrees.mean / float(np.mean([second[seed] for seed in seeds])), len(seeds))

    def disagreement(self, variant: str, protocol: str) -> float | None:
        """Return the mean angle between the predictions of two seeds, in degrees; None with fewer than two seeds."""
        answers = [_answers(found) for found in self.of(variant, protocol).values() if "answers" in found]
        angles = [angular_error_degrees(*pair).mean() for pair in combinations(answers, 2)]
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


def _answers(result: dict[str, Any]) -> Angles:
    """Return pitch and yaw of some predictions, (N, 2), in radians."""
    lines = [[float(value) for value in result["answers"][name].split()] for name in ("pitch", "yaw")]
    return np.asarray(np.radians(np.array(lines).T))


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
