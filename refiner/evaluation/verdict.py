"""The verdict: may labels of renders be trained on with refined images? From intervals, with reasons in sentences."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from refiner.data.labels.drift import LabelDrift
from refiner.evaluation.measurement import Figure

Decision = Literal["use", "use with rejection", "do not use"]

MAX_DRIFT = 1.0
"""Drift score above which an image is to be rejected: 3 degrees of gaze in a 36x60 patch."""

FEW = 0.02
"""Share of doubtful images that may be left in."""

MANY = 0.5
"""Share of doubtful images above which rejecting is no remedy."""

COMMON_SHIFT = 0.5
"""Shift that all images share, in pixels of a 36x60 patch, that no rejecting helps against: 1.5 degrees of gaze."""

COLLAPSE = 0.5
"""Diversity, as a share of the renders', that is too little."""

COPIES = 0.1
"""Share of copied photographs that is too much."""

NOTHING = 0.5
"""Grey levels of mean change that are no change."""

DISTANCES = ("sliced_wasserstein", "kernel")
"""Figures of which one at least has to come nearer to the photographs."""


@dataclass(frozen=True)
class Verdict:
    """What to do with a refiner.

    Attributes:
        decision: use it, use it with ``refiner refine --max-drift``, or do not.
        reasons: sentences, the decisive ones first.
    """

    decision: Decision
    reasons: list[str]


def judge(figures: Sequence[Figure], drifts: Sequence[LabelDrift], *, change: float) -> Verdict:
    """Weigh all figures.

    Args:
        figures: of realism and labels, and of usefulness where there are real labels.
        drifts: of each image.
        change: mean absolute change of a pixel, in grey levels.
    """
    by_key = {figure.key: figure for figure in figures}
    against = [reason for rule in RULES if (reason := rule(by_key, drifts, change)) is not None]
    if against:
        return Verdict("do not use", against)
    doubtful = _doubtful(drifts)
    reasons = [*_praise(by_key), f"labels of {1 - doubtful:.1%} of the images stayed in place"]
    if doubtful > FEW:
        advice = f"labels of {doubtful:.1%} of the images are to be doubted: refine with --max-drift {MAX_DRIFT:g}"
        return Verdict("use with rejection", [advice, *_praise(by_key)])
    return Verdict("use", reasons)


def _doubtful(drifts: Sequence[LabelDrift]) -> float:
    return sum(drift.score > MAX_DRIFT for drift in drifts) / max(1, len(drifts))


def _praise(figures: Mapping[str, Figure]) -> list[str]:
    """What speaks for the refiner."""
    said = [
        f"the {figures[key].name} to photographs fell by {figures[key].gain} from {_mean(figures[key])}"
        for key in DISTANCES
        if key in figures and _is_nearer(figures[key])
    ]
    error = figures.get("gaze_error")
    if error is not None and error.gain is not None:
        helps = "helps" if error.gain.low > 0 else "is not resolved"
        said.insert(0, f"on real labels refining {helps}: the error falls by {error.gain}°")
    return said


def _mean(figure: Figure) -> str:
    return "?" if figure.ceiling is None else f"{figure.ceiling.mean:.2f}"


def _is_nearer(figure: Figure) -> bool:
    return figure.gain is not None and figure.gain.low > 0


Rule = Callable[[Mapping[str, Figure], Sequence[LabelDrift], float], str | None]
"""A reason against the refiner, or None."""


def _changes_nothing(figures: Mapping[str, Figure], drifts: Sequence[LabelDrift], change: float) -> str | None:
    if change >= NOTHING:
        return None
    return f"it changes nothing: pixels move by {change:.2f} grey levels in the mean; lower self_regularization_weight"


def _is_no_nearer(figures: Mapping[str, Figure], drifts: Sequence[LabelDrift], change: float) -> str | None:
    found = [figures[key] for key in DISTANCES if key in figures]
    if not found or any(map(_is_nearer, found)):
        return None
    gains = "; ".join(f"{figure.name}: gain {figure.gain}" for figure in found)
    return f"refined images are no nearer to the photographs than renders are ({gains})"


def _collapses(figures: Mapping[str, Figure], drifts: Sequence[LabelDrift], change: float) -> str | None:
    figure = figures.get("diversity")
    if figure is None or figure.ceiling is None or figure.value.high >= COLLAPSE * min(1, figure.ceiling.mean):
        return None
    return (
        f"its outputs collapse: their spread is {figure.value} of the photographs', that of the renders "
        f"{figure.ceiling.mean:.2f}; a history buffer and a larger self_regularization_weight are the first remedies"
    )


def _copies(figures: Mapping[str, Figure], drifts: Sequence[LabelDrift], change: float) -> str | None:
    figure = figures.get("copies")
    if figure is None or figure.value.low < COPIES:
        return None
    return f"it pastes photographs: {figure.value.mean:.0%} of its images are nearer to one than photographs ever are"


def _moves_labels(figures: Mapping[str, Figure], drifts: Sequence[LabelDrift], change: float) -> str | None:
    share, figure = _doubtful(drifts), figures.get("common_shift")
    if figure is not None and figure.value.low > COMMON_SHIFT:
        return f"it moves what labels describe, in all images the same way, by {figure.value} px; raise motion_weight"
    if share > MANY:
        return f"labels of {share:.0%} of its images are to be doubted (drift score above {MAX_DRIFT:g})"
    return None


def _harms(figures: Mapping[str, Figure], drifts: Sequence[LabelDrift], change: float) -> str | None:
    figure = figures.get("gaze_error")
    if figure is None or figure.gain is None or figure.gain.high >= 0:
        return None
    return f"on real labels refining hurts: the error rises by {-figure.gain.mean:.2f}°, gain {figure.gain}°"


RULES: tuple[Rule, ...] = (_changes_nothing, _harms, _moves_labels, _copies, _collapses, _is_no_nearer)
"""In order of weight."""
