"""The verdict on a refiner: may models be trained on refined images with the labels of the renders?

Every rule compares an interval with a limit, and gives its reason in a sentence.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from refiner.data.drift.table import UNKNOWN_DRIFT, UNKNOWN_OBJECTS, LabelDrift
from refiner.evaluation.measurement import Metric
from refiner.evaluation.realism import NEARER, NEARER_CONFIDENCE

Decision = Literal["use", "use with rejection", "do not use"]

MAX_DRIFT = 1.0
"""Drift score above which an image should be rejected: 3 degrees of gaze in an eye patch of any size."""

MAX_DOUBTFUL_TO_KEEP = 0.02
"""Largest share of images above :data:`MAX_DRIFT` that may stay in the training data; also of unknown drift."""

MAX_DOUBTFUL_TO_REJECT = 0.5
"""Largest share of images above :data:`MAX_DRIFT` at which rejecting them is a remedy."""

MAX_COMMON_SHIFT = 0.5
"""Largest mean shift of all images, in pixels of a 36x60 patch: 1.5 degrees of gaze. Rejecting cannot fix it."""

MIN_DIVERSITY = 0.5
"""Smallest diversity, as a share of the diversity of the renders."""

MAX_COPIES = 0.1
"""Largest share of copied real images."""

MIN_CHANGE = 0.5
"""Smallest mean change of a pixel, in grey levels, that counts as a change."""

MIN_GAP_CLOSED = 0.25
"""Smallest share of the gap to the real images that a refiner must close, by the metric in which it closes most."""

GAPS = ("c2st_accuracy", *NEARER)
"""Keys of the metrics that the share of the gap is named for."""


TASKS = {
    "gaze_error": "error",
    "point_error": "error",
    "mask_iou": "mean IoU",
    "class_accuracy": "balanced accuracy",
}
"""Names of the metrics on real labels, by their keys."""


@dataclass(frozen=True)
class Verdict:
    """Decision about a refiner, with its reasons.

    Attributes:
        decision: use it, use it with ``refiner refine --max-drift``, or do not use it.
        reasons: full sentences, the decisive ones first.
    """

    decision: Decision
    reasons: list[str]


def reach_verdict(
    metrics: Sequence[Metric],
    drifts: Sequence[LabelDrift],
    *,
    change: float,
    rejected: float = 0.0,
    dropped: float = 0.0,
) -> Verdict:
    """Weigh all metrics and return the verdict.

    Args:
        metrics: metrics of realism and label preservation; also of utility if there are real labels.
        drifts: label drift of each image.
        change: mean absolute change of a pixel, in grey levels from 0 to 255.
        rejected: share of all renders that ``--max-drift`` has rejected for a drift score above :data:`MAX_DRIFT`;
            ``drifts`` are those of the others.
        dropped: share of all objects whose annotations ``--drop-objects`` left out; ``drifts`` are without them.
    """
    by_key = {metric.key: metric for metric in metrics}
    # Any reason against the refiner decides.
    reasons = [reason for rule in RULES if (reason := rule(by_key, drifts, change)) is not None]
    share = _doubtful_share(drifts)
    if not reasons and rejected + (1 - rejected) * share > MAX_DOUBTFUL_TO_REJECT:
        reasons = [f"The drift score of {rejected:.0%} of the images was above {MAX_DRIFT:g}, so they were rejected."]
    if not reasons and dropped > MAX_DOUBTFUL_TO_REJECT:
        reasons = [f"The annotations of {dropped:.0%} of the objects were dropped, so too few labels are left."]
    if reasons:
        return Verdict("do not use", reasons)
    # Otherwise, decide by the share of images whose labels may be wrong.
    return Verdict(*_graded(drifts, rejected, dropped, _benefits(by_key)))


def _graded(
    drifts: Sequence[LabelDrift], rejected: float, dropped: float, benefits: Sequence[str]
) -> tuple[Decision, list[str]]:
    """Return the decision on a refiner that nothing speaks against, with its reasons; see :func:`reach_verdict`."""
    share = _doubtful_share(drifts)
    if rejected > MAX_DOUBTFUL_TO_KEEP and share <= MAX_DOUBTFUL_TO_KEEP:
        advice = (
            f"The drift score of {rejected:.1%} of the images was above {MAX_DRIFT:g}, and --max-drift rejected them. "
            f"Use the others only: the labels of {1 - share:.1%} of them stayed in place."
        )
        return "use with rejection", [advice, *benefits]
    if share > MAX_DOUBTFUL_TO_KEEP:
        advice = (
            f"The drift score of {share:.1%} of the images is above {MAX_DRIFT:g}, so their labels may be wrong. "
            f"Refine with --max-drift {MAX_DRIFT:g}.{_drop_advice(drifts)}"
        )
        return "use with rejection", [advice, *benefits]
    if unknown := _unknown_share(drifts):
        advice = (
            f"The drift of {unknown:.1%} of the images is unknown: {_why_unknown(drifts)}. Refine with --max-drift "
            f"{MAX_DRIFT:g}, which rejects them."
        )
        return "use with rejection", [advice, *benefits]
    stayed = f"The labels of {1 - share:.1%} of the images stayed in place."
    if dropped > MAX_DOUBTFUL_TO_KEEP:
        advice = f"The annotations of {dropped:.1%} of the objects were dropped. Use those that are left. {stayed}"
        return "use with rejection", [advice, *benefits]
    return "use", [*benefits, stayed]


def _drop_advice(drifts: Sequence[LabelDrift]) -> str:
    """Return the advice to drop objects instead of images; empty if the images have no objects above the limit."""
    scores = [each.score for drift in drifts for each in drift.objects if each.known]
    doubtful = sum(not score <= MAX_DRIFT for score in scores)
    if not doubtful:
        return ""
    return (
        f" Only {doubtful / len(scores):.1%} of the objects are above it: --drop-objects drops their annotations "
        "instead of the images."
    )


def _why_unknown(drifts: Sequence[LabelDrift]) -> str:
    """Return why drift is unknown."""
    return UNKNOWN_OBJECTS if any(not drift.known and drift.objects for drift in drifts) else UNKNOWN_DRIFT


def _doubtful_share(drifts: Sequence[LabelDrift]) -> float:
    return sum(not (drift.known and drift.score <= MAX_DRIFT) for drift in drifts) / max(1, len(drifts))


def _unknown_share(drifts: Sequence[LabelDrift]) -> float:
    return sum(not drift.known for drift in drifts) / max(1, len(drifts))


def _benefits(metrics: Mapping[str, Metric]) -> list[str]:
    """Return sentences that speak for the refiner."""
    sentences = [
        f"The {metrics[key].name} to the real images fell by {metrics[key].gain} from {_baseline(metrics[key])} "
        f"({NEARER_CONFIDENCE:.1%} interval)."
        for key in NEARER
        if key in metrics and _is_nearer(metrics[key])
    ]
    sentences += _closed(metrics)
    tested = _tested(metrics)
    if tested is not None and tested.gain is not None:
        falls = "rises" if tested.rises else "falls"
        change = f"the {TASKS[tested.key]} {falls} by {tested.gain}{_unit(tested)}"
        if tested.gain.low > 0:
            first = f"Refining helps on real labels: {change}."
        else:
            first = f"The effect of refining on real labels is not significant: {change}."
        sentences.insert(0, first)
    return sentences


def _tested(metrics: Mapping[str, Metric]) -> Metric | None:
    """Return the metric on real labels; None if there are none."""
    return next((metrics[key] for key in TASKS if key in metrics), None)


def _unit(metric: Metric) -> str:
    """Return the unit of a metric as it follows a number."""
    return "°" if metric.key == "gaze_error" else f" {metric.unit}"


def _closed(metrics: Mapping[str, Metric]) -> list[str]:
    """Return a sentence with the share of the gap to the real images that was closed, as a list; empty if unknown."""
    shares = [
        f"{metrics[key].name} {share:.0%}"
        for key in GAPS
        if key in metrics and (share := metrics[key].gap_closed) is not None
    ]
    accuracy = metrics.get("c2st_accuracy")
    found = (
        [f"Share of the gap between renders and real images that refining closed: {', '.join(shares)}."]
        if shares
        else []
    )
    if accuracy is not None and accuracy.baseline is not None:
        found.append(
            f"A classifier tells refined from real images in {accuracy.value.mean:.0%} of the cases, and renders in "
            f"{accuracy.baseline.mean:.0%}."
        )
    return found


def _baseline(metric: Metric) -> str:
    return "?" if metric.baseline is None else f"{metric.baseline.mean:.2f}"


def _is_nearer(metric: Metric) -> bool:
    return metric.gain is not None and metric.gain.low > 0


Rule = Callable[[Mapping[str, Metric], Sequence[LabelDrift], float], str | None]
"""Function of the metrics, the drifts and the mean change; returns a reason against the refiner, or None."""


def _changes_nothing(metrics: Mapping[str, Metric], drifts: Sequence[LabelDrift], change: float) -> str | None:
    if change == 0:
        return (
            "The refiner changes nothing: the refined images equal the renders in every pixel. Check that --refined "
            "does not name the renders."
        )
    if change >= MIN_CHANGE:
        return None
    return (
        f"The refiner changes nothing: the mean change of a pixel is {change:.2f} grey levels. "
        "Lower self_regularization_weight."
    )


def _is_no_nearer(metrics: Mapping[str, Metric], drifts: Sequence[LabelDrift], change: float) -> str | None:
    found = [metrics[key] for key in NEARER if key in metrics]
    if not found or any(map(_is_nearer, found)):
        return None
    gains = "; ".join(f"{metric.name}: gain {metric.gain}" for metric in found)
    if all(metric.gain is not None and metric.gain.high < 0 for metric in found):
        return (
            f"Refined images are farther from the real images than the renders are ({gains}). Check that --synthetic "
            "and --refined are not swapped."
        )
    if all(metric.gain is not None and metric.gain.mean > 0 for metric in found):
        return (
            f"Refined images seem nearer to the real images than the renders are, but the difference is not "
            f"significant ({gains}). Give more real images, of other people or places."
        )
    return f"Refined images are no nearer to the real images than the renders are ({gains})."


def _has_no_effect(metrics: Mapping[str, Metric], drifts: Sequence[LabelDrift], change: float) -> str | None:
    """Refuse a refiner whose effect is real, but too small to be worth having; what helps on real labels passes."""
    tested = _tested(metrics)
    if change < MIN_CHANGE or (tested is not None and tested.gain is not None and tested.gain.low > 0):
        return None
    shares = [share for key in GAPS if key in metrics and (share := metrics[key].gap_closed) is not None]
    if not shares or max(shares) >= MIN_GAP_CLOSED or _is_no_nearer(metrics, drifts, change) is not None:
        return None
    return f"The refiner has no effect worth having. {' '.join(_closed(metrics))} Train longer, or with other settings."


def _collapses(metrics: Mapping[str, Metric], drifts: Sequence[LabelDrift], change: float) -> str | None:
    metric = metrics.get("diversity")
    if metric is None or metric.baseline is None or metric.value.high >= MIN_DIVERSITY * min(1, metric.baseline.mean):
        return None
    return (
        f"The refiner's outputs collapse: their diversity relative to the real images is {metric.value}, that of the "
        f"renders {metric.baseline.mean:.2f}. Use a history buffer and a larger self_regularization_weight."
    )


def _copies(metrics: Mapping[str, Metric], drifts: Sequence[LabelDrift], change: float) -> str | None:
    metric = metrics.get("copies")
    if metric is None or metric.value.low < MAX_COPIES:
        return None
    return (
        f"The refiner copies real images: {metric.value.mean:.0%} of its images are closer to a real image than "
        "other real images are."
    )


def _hides_labels(metrics: Mapping[str, Metric], drifts: Sequence[LabelDrift], change: float) -> str | None:
    unknown = _unknown_share(drifts)
    if unknown <= MAX_DOUBTFUL_TO_KEEP:
        return None
    return (
        f"The drift of {unknown:.1%} of the images is unknown: {_why_unknown(drifts)}. Correct the labels, or name "
        "others with --points or --mask."
    )


def _moves_labels(metrics: Mapping[str, Metric], drifts: Sequence[LabelDrift], change: float) -> str | None:
    share, metric = _doubtful_share(drifts), metrics.get("common_shift")
    if metric is not None and metric.value.low > MAX_COMMON_SHIFT:
        return (
            f"The refiner moves what the labels describe by {metric.value} {metric.unit} in the same direction in all "
            "images. Raise motion_weight."
        )
    if share > MAX_DOUBTFUL_TO_REJECT:
        return (
            f"The drift score of {share:.0%} of the images is above {MAX_DRIFT:g}, so their labels may be wrong."
            f"{_drop_advice(drifts)}"
        )
    return None


def _harms(metrics: Mapping[str, Metric], drifts: Sequence[LabelDrift], change: float) -> str | None:
    metric = _tested(metrics)
    if metric is None or metric.gain is None or metric.gain.high >= 0:
        return None
    name, rises, unit = TASKS[metric.key], "falls" if metric.rises else "rises", _unit(metric)
    loss = f"the {name} {rises} by {-metric.gain.mean:.2f}{unit} (gain {metric.gain}{unit})"
    return f"Refining hurts on real labels: {loss}."


RULES: tuple[Rule, ...] = (
    *(_changes_nothing, _harms, _hides_labels, _moves_labels, _copies, _collapses),
    *(_is_no_nearer, _has_no_effect),
)
"""All rules, the most decisive first."""
