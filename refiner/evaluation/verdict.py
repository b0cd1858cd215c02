"""The verdict: may labels of renders be trained on with refined images? From intervals, with reasons in sentences."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from refiner.data.labels.drift import LabelDrift
from refiner.evaluation.measurement import Metric

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


def judge(metrics: Sequence[Metric], drifts: Sequence[LabelDrift], *, change: float) -> Verdict:
    """Weigh all figures.

    Args:
        figures: of realism and labels, and of usefulness where there are real labels.
        drifts: of each image.
        change: mean absolute change of a pixel, in grey levels.
    """
    by_key = {metric.key: metric for metric in metrics}
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


def _praise(metrics: Mapping[str, Metric]) -> list[str]:
    """What speaks for the refiner."""
    said = [
        f"the {metrics[key].name} to photographs fell by {metrics[key].gain} from {_mean(metrics[key])}"
        for key in DISTANCES
        if key in metrics and _is_nearer(metrics[key])
    ]
    error = metrics.get("gaze_error")
    if error is not None and error.gain is not None:
        helps = "helps" if error.gain.low > 0 else "is not resolved"
        said.insert(0, f"on real labels refining {helps}: the error falls by {error.gain}°")
    return said


def _mean(metric: Metric) -> str:
    return "?" if metric.baseline is None else f"{metric.baseline.mean:.2f}"


def _is_nearer(metric: Metric) -> bool:
    return metric.gain is not None and metric.gain.low > 0


Rule = Callable[[Mapping[str, Metric], Sequence[LabelDrift], float], str | None]
"""A reason against the refiner, or None."""


def _changes_nothing(metrics: Mapping[str, Metric], drifts: Sequence[LabelDrift], change: float) -> str | None:
    if change >= NOTHING:
        return None
    return f"it changes nothing: pixels move by {change:.2f} grey levels in the mean; lower self_regularization_weight"


def _is_no_nearer(metrics: Mapping[str, Metric], drifts: Sequence[LabelDrift], change: float) -> str | None:
    found = [metrics[key] for key in DISTANCES if key in metrics]
    if not found or any(map(_is_nearer, found)):
        return None
    gains = "; ".join(f"{metric.name}: gain {metric.gain}" for metric in found)
    return f"refined images are no nearer to the photographs than renders are ({gains})"


def _collapses(metrics: Mapping[str, Metric], drifts: Sequence[LabelDrift], change: float) -> str | None:
    metric = metrics.get("diversity")
    if metric is None or metric.baseline is None or metric.value.high >= COLLAPSE * min(1, metric.baseline.mean):
        return None
    return (
        f"its outputs collapse: their spread is {metric.value} of the photographs', that of the renders "
        f"{metric.baseline.mean:.2f}; a history buffer and a larger self_regularization_weight are the first remedies"
    )


def _copies(metrics: Mapping[str, Metric], drifts: Sequence[LabelDrift], change: float) -> str | None:
    metric = metrics.get("copies")
    if metric is None or metric.value.low < COPIES:
        return None
    return f"it pastes photographs: {metric.value.mean:.0%} of its images are nearer to one than photographs ever are"


def _moves_labels(metrics: Mapping[str, Metric], drifts: Sequence[LabelDrift], change: float) -> str | None:
    share, metric = _doubtful(drifts), metrics.get("common_shift")
    if metric is not None and metric.value.low > COMMON_SHIFT:
        return f"it moves what labels describe, in all images the same way, by {metric.value} px; raise motion_weight"
    if share > MANY:
        return f"labels of {share:.0%} of its images are to be doubted (drift score above {MAX_DRIFT:g})"
    return None


def _harms(metrics: Mapping[str, Metric], drifts: Sequence[LabelDrift], change: float) -> str | None:
    metric = metrics.get("gaze_error")
    if metric is None or metric.gain is None or metric.gain.high >= 0:
        return None
    return f"on real labels refining hurts: the error rises by {-metric.gain.mean:.2f}°, gain {metric.gain}°"


RULES: tuple[Rule, ...] = (_changes_nothing, _harms, _moves_labels, _copies, _collapses, _is_no_nearer)
"""In order of weight."""
