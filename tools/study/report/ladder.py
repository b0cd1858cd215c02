"""The table of the summaries: what each step adds, on other days of one person and on other people."""

from collections.abc import Mapping

from tools.study.report.costs import ADAPTING, TRAINING, common_processor, median_and_range, seconds
from tools.study.report.outcomes import Outcome
from tools.study.report.tables import NOT_RUN, markdown

STEPS = {
    "raw": "renders",
    "augmented": "augmented renders",
    "fourier": "Fourier adaptation",
    "fourier_augmented": "Fourier adaptation, augmented",
    "refined": "refined renders",
    "refined_augmented": "refined renders, augmented",
    "both_augmented": "Fourier adaptation, then refined, augmented",
    "fourier_three": "mean of three: Fourier adaptation, augmented",
    "refined_three": "mean of three: refined renders",
    "fourier_co_taught": "three co-taught: Fourier adaptation, augmented",
    "both_co_taught": "three co-taught: Fourier adaptation, then refined, augmented",
    "real": "real labels of the other days or people",
}
"""Variants of the ladder, which both studies name alike, and what their estimators are trained on."""

SHORT = ("raw", "augmented", "fourier_augmented", "refined", "refined_augmented")
"""Variants of the short table."""

TARGETS = (("other_days", None, "one person, other days"), ("other_people", "head straight", "other people"))
"""Name of each study, slice of its test images, and title of its columns."""

COST = "other_days"
"""Study whose seconds of adaptation and estimators the table shows."""

PROTOCOL = "inductive"


def ladder_tables(outcomes: Mapping[str, Outcome]) -> dict[str, str]:
    """Return the tables ``ladder`` and ``ladder short``; none unless both studies have results.

    Args:
        outcomes: outcomes of studies by name.
    """
    if any(study not in outcomes for study, _, _ in TARGETS):
        return {}
    return {"ladder": _full(outcomes), "ladder short": _short(outcomes)}


def _full(outcomes: Mapping[str, Outcome]) -> str:
    """Return errors with and without the bias, and the seconds on one core."""
    head = ["trained on"]
    for _, _, title in TARGETS:
        head += [f"{title}, °", "bias removed, °"]
    rows = []
    for variant, label in STEPS.items():
        if not any(outcomes[study].of(variant, PROTOCOL) for study, _, _ in TARGETS):
            continue
        row = [label]
        for study, part, _ in TARGETS:
            row += [_error(outcomes[study], variant, part, unbiased=unbiased) for unbiased in (False, True)]
        rows.append([*row, median_and_range(seconds(outcomes[COST], variant, PROTOCOL, (*ADAPTING, TRAINING)))])
    return markdown([*head, f"seconds on one core of an {common_processor(outcomes[COST], PROTOCOL)}"], rows)


def _short(outcomes: Mapping[str, Outcome]) -> str:
    """Return the errors of a few variants."""
    head = ["trained on", *(f"{title}, degrees" for _, _, title in TARGETS)]
    rows = [[STEPS[name], *(_error(outcomes[study], name, part) for study, part, _ in TARGETS)] for name in SHORT]
    return markdown(head, rows)


def _error(outcome: Outcome, variant: str, part: str | None, *, unbiased: bool = False) -> str:
    return str(outcome.interval(variant, PROTOCOL, part, unbiased=unbiased) or NOT_RUN)
