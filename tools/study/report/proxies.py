"""Validity of label-free scores: do variants with better scores have lower errors on real labels?"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from refiner.core.rng import numpy_generator
from refiner.metrics.intervals import Interval
from tools.study.report.outcomes import Outcome

FEWEST = 5
"""Smallest number of variants for a rank correlation."""

RESAMPLES = 2000
"""Bootstrap resamples of the variants, for the interval."""


class Proxy(NamedTuple):
    """A label-free score, lower is better, and its rank correlation with the error.

    Attributes:
        name: label for tables.
        variants: number of variants that have the score.
        correlation: Spearman's, over variants, with a 95 % bootstrap interval; 1 is the order of the errors.
    """

    name: str
    variants: int
    correlation: Interval


def measured_proxies(outcome: Outcome, protocol: str) -> Iterator[Proxy]:
    """Yield each label-free score that enough variants of a study have; controls are left out."""
    variants = [variant for variant in outcome.variants_of(protocol) if _scores(outcome, variant, protocol)]
    errors = {variant: float(np.mean(list(outcome.errors(variant, protocol).values()))) for variant in variants}
    for name, score in PROXIES.items():
        pairs = [
            (value, errors[variant]) for variant in variants if (value := score(outcome, variant, protocol)) is not None
        ]
        if len(pairs) >= FEWEST:
            yield Proxy(name, len(pairs), rank_correlation(np.array(pairs)))


def rank_correlation(pairs: np.ndarray[Any, np.dtype[np.float64]]) -> Interval:
    """Return Spearman's correlation of pairs (N, 2), with a 95 % bootstrap interval."""
    rng = numpy_generator(0, "rank-correlation")
    resampled = [_spearman(pairs[rng.integers(len(pairs), size=len(pairs))]) for _ in range(RESAMPLES)]
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return Interval(_spearman(pairs), float(low), float(high))


def _spearman(pairs: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Return Pearson's correlation of the ranks; NaN if one side is constant."""
    ranks = stats.rankdata(pairs, axis=0)
    spread = ranks.std(axis=0)
    return float(np.corrcoef(ranks.T)[0, 1]) if spread.all() else float("nan")


def _scores(outcome: Outcome, variant: str, protocol: str) -> list[dict[str, Any]]:
    """Return the scores of every seed; none of the control with shuffled labels."""
    if variant == "permuted":
        return []
    return [result["scores"] for result in outcome.of(variant, protocol).values() if result["scores"]]


def _mean_score(key: str) -> Callable[[Outcome, str, str], float | None]:
    def score(outcome: Outcome, variant: str, protocol: str) -> float | None:
        scores = _scores(outcome, variant, protocol)
        if any(one.get(key) is None for one in scores):
            return None
        return float(np.mean([one[key] for one in scores]))

    return score


PROXIES: dict[str, Callable[[Outcome, str, str], float | None]] = {
    "C2ST accuracy": _mean_score("c2st_accuracy"),
    "distance to real images": _mean_score("distance"),
    "pupil drift, length": _mean_score("drift_distance"),
    "disagreement of seeds": Outcome.disagreement,
}
"""Scores by the name of their rows."""
