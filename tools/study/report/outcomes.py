"""What came out of studies, read from their committed results alone."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.errors import DataError
from refiner.data.labels.angles import Angles, angular_error_degrees
from refiner.metrics.intervals import Interval, seed_interval
from tools.study.results import FORMAT_VERSION, OVERVIEW_FILE, read_result

Results = dict[int, dict[str, Any]]
"""By seed."""


@dataclass(frozen=True)
class Difference:
    """An arm against another, paired by seed.

    Attributes:
        degrees: error of the arm minus that of the other: below 0, the arm is better.
        share: the mean of that as a share of the other's error.
        seeds: number of pairs.
    """

    degrees: Interval
    share: float
    seeds: int

    @property
    def verdict(self) -> str:
        """In words."""
        if self.seeds < 2:
            return "one seed"
        if self.degrees.high < 0:
            return "helps"
        return "hurts" if self.degrees.low > 0 else "not resolved"


@dataclass(frozen=True)
class Choice:
    """A checkpoint of a training that the label-free score chooses, and the one that is best on real labels.

    Attributes:
        seed: of the training.
        chosen, best: numbers of steps.
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
        name: of the study.
        folder: of its results.
        slices: names of the parts of the test images.
        arms: by name, what the overview says of them.
        results: by (arm, protocol); those of an arm that was changed since are left out.
    """

    name: str
    folder: Path
    slices: Sequence[str]
    variants: dict[str, dict[str, Any]]
    results: dict[tuple[str, str], Results]

    @property
    def protocols(self) -> list[str]:
        """By which any arm is run."""
        return list(dict.fromkeys(protocol for variant in self.variants.values() for protocol in variant["designs"]))

    def of(self, variant: str, protocol: str) -> Results:
        """Results of an arm; an arm that is run by the other protocol alone has none."""
        return self.results.get((variant, protocol), {})

    def variants_of(self, protocol: str) -> list[str]:
        """Arms that are to be run by a protocol."""
        return [name for name, variant in self.variants.items() if protocol in variant["designs"]]

    def errors(
        self, variant: str, protocol: str, part: str | None = None, *, unbiased: bool = False
    ) -> dict[int, float]:
        """Mean error in degrees by seed, of all test images or of a slice; as it is, or with its bias removed."""
        found = {seed: metrics(result, part) for seed, result in self.of(variant, protocol).items()}
        return {
            seed: entry["unbiased"] if unbiased else entry["error"]["mean"] for seed, entry in found.items() if entry
        }

    def difference(
        self, variant: str, other: str, protocol: str, part: str | None = None, *, unbiased: bool = False
    ) -> Difference | None:
        """An arm against another over the seeds that both have; None without any."""
        first, second = (self.errors(name, protocol, part, unbiased=unbiased) for name in (variant, other))
        seeds = sorted(set(first) & set(second))
        if not seeds:
            return None
        degrees = seed_interval([first[seed] - second[seed] for seed in seeds])
        return Difference(degrees, degrees.mean / float(np.mean([second[seed] for seed in seeds])), len(seeds))

    def disagreement(self, variant: str, protocol: str) -> float | None:
        """Mean angle between the answers of two seeds, in degrees, over all pairs; None without two."""
        answers = [_answers(found) for found in self.of(variant, protocol).values() if "answers" in found]
        angles = [angular_error_degrees(*pair).mean() for pair in combinations(answers, 2)]
        return float(np.mean(angles)) if angles else None

    def baseline(self, protocol: str, key: str, part: str | None = None) -> float | None:
        """Error of a constant answer, from the first arm that has a result."""
        for variant in self.variants_of(protocol):
            values = [entry[key] for result in self.of(variant, protocol).values() if (entry := metrics(result, part))]
            if values:
                return float(np.mean(values))
        return None

    def choices(self, protocol: str) -> Iterator[Choice]:
        """What the score chooses among arms whose refiners are checkpoints of one training, seed by seed."""
        trainings: dict[tuple[str, int], list[tuple[float, float, int]]] = {}
        for name in self.variants_of(protocol):
            variant = self.variants[name]
            for seed, result in self.of(name, protocol).items():
                if variant.get("trajectory") and "score" in result["scores"]:
                    found = result["scores"]["score"], result["error"]["mean"], variant["steps"]
                    trainings.setdefault((variant["trajectory"], seed), []).append(found)
        for (_, seed), found in trainings.items():
            if len(found) > 1:
                chosen, best = min(found), min(found, key=lambda one: one[1])
                yield Choice(seed, chosen[2], best[2], chosen[1], best[1])

    def curves(self, protocol: str) -> Iterator[list[str]]:
        """Groups of arms that differ in the number of their photographs alone, fewest first."""
        families: dict[str, list[str]] = {}
        for name in self.variants_of(protocol):
            families.setdefault(self.variants[name]["family"], []).append(name)
        for names in families.values():
            if len({self.variants[name]["real"] for name in names}) > 1:
                yield sorted(names, key=lambda name: self.variants[name]["real"] or np.inf)


def _answers(result: dict[str, Any]) -> Angles:
    """Pitch and yaw of some tested images, (N, 2), in radians."""
    lines = [[float(value) for value in result["answers"][name].split()] for name in ("pitch", "yaw")]
    return np.radians(np.array(lines).T)


def metrics(result: dict[str, Any], part: str | None) -> dict[str, Any]:
    """The figures of all test images, or of a slice, empty where no image is in it."""
    return result if part is None else result["slices"].get(part, {})


def read_outcomes(folder: Path) -> list[Outcome]:
    """Studies in the folders below ``folder``, by name.

    Raises:
        DataError: there are none, or an overview is damaged.
    """
    outcomes = [_read(path) for path in sorted(folder.glob(f"*/{OVERVIEW_FILE}"))]
    if not outcomes:
        raise DataError(f"{folder}: no folder in it holds {OVERVIEW_FILE}; name the folder above those of the studies")
    return outcomes


def _read(path: Path) -> Outcome:
    try:
        overview = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); run the study again") from error
    if overview["format_version"] != FORMAT_VERSION:
        raise DataError(f"{path}: is of another release; run the study again")
    results: dict[tuple[str, str], Results] = {}
    for file in sorted(path.parent.glob("*.json")):
        result = read_result(file) if file != path else None
        if result is None or result["variant"] not in overview["variants"]:
            continue
        protocol = result["protocol"]
        if overview["variants"][result["variant"]]["designs"].get(protocol) == result["design"]:
            results.setdefault((result["variant"], protocol), {})[result["seed"]] = result
    ordered = {key: dict(sorted(by_seed.items())) for key, by_seed in results.items()}
    return Outcome(overview["study"], path.parent, overview["slices"], overview["variants"], ordered)
