"""The verdict from metrics: which reason decides, and in which order."""

import pytest

from refiner.data.drift.objects import ObjectDrift
from refiner.data.drift.table import LabelDrift
from refiner.evaluation.measurement import Metric
from refiner.evaluation.verdict import Decision, reach_verdict
from refiner.metrics.intervals import Interval


def around(mean: float, half: float) -> Interval:
    return Interval(mean, mean - half, mean + half)


def metrics(**changes: Metric | None) -> list[Metric]:
    """Metrics of a good refiner, with some replaced."""
    good: dict[str, Metric | None] = {
        "sliced_wasserstein": Metric(
            "sliced_wasserstein", "SWD", "realism", "", around(5, 1), around(4, 1), around(9, 1), around(4, 1)
        ),
        "kernel": Metric("kernel", "kernel", "realism", "", around(1, 1), around(0, 1), around(2, 1), around(1, 2)),
        "diversity": Metric(
            "diversity", "diversity", "realism", "", around(0.9, 0.1), around(1, 0.1), around(1.2, 0.1)
        ),
        "copies": Metric("copies", "copies", "realism", "", around(0.01, 0.01), None, around(0.01, 0.01)),
        "common_shift": Metric("common_shift", "shift", "labels", "px", around(0.1, 0.05), around(0.1, 0.05)),
    }
    return [metric for metric in (good | changes).values() if metric is not None]


def drifts(bad: int, count: int = 100) -> list[LabelDrift]:
    return [LabelDrift(0.1, 0.0, 0.3, 3.0 if number < bad else 0.2) for number in range(count)]


def changed(key: str, value: Interval, *, baseline: Interval | None = None, gain: Interval | None = None) -> Metric:
    return Metric(key, key, "realism", "", value, None, baseline, gain)


@pytest.mark.parametrize(
    ("bad", "decision"),
    [(0, "use"), (2, "use"), (3, "use with rejection"), (50, "use with rejection"), (51, "do not use")],
)
def test_doubtful_labels_decide_by_their_share(bad: int, decision: Decision) -> None:
    assert reach_verdict(metrics(), drifts(bad), change=10).decision == decision


@pytest.mark.parametrize(
    ("unknown", "decision"), [(0, "use"), (1, "use with rejection"), (2, "use with rejection"), (3, "do not use")]
)
def test_unknown_drift_is_never_fit_for_use(unknown: int, decision: Decision) -> None:
    some = [LabelDrift(0.0, 0.0, None, 0.0, known=number >= unknown) for number in range(100)]
    verdict = reach_verdict(metrics(), some, change=10)
    assert verdict.decision == decision
    assert ("is unknown: no labelled point" in verdict.reasons[0]) == (unknown > 0)


def test_a_score_that_is_no_number_is_doubtful() -> None:
    some = [LabelDrift(0.0, 0.0, None, float("nan")) for _ in range(100)]
    assert reach_verdict(metrics(), some, change=10).decision == "do not use"


@pytest.mark.parametrize(
    ("key", "metric", "reason"),
    [
        ("common_shift", changed("common_shift", around(0.8, 0.1)), "in the same direction in all images"),
        ("copies", changed("copies", around(0.3, 0.05)), "copies real images: 30%"),
        ("diversity", changed("diversity", around(0.3, 0.05), baseline=around(1.2, 0.1)), "collapse"),
        (
            "sliced_wasserstein",
            changed("sliced_wasserstein", around(9, 1), baseline=around(9, 1), gain=around(0, 1)),
            "no nearer to the real images",
        ),
        ("gaze_error", changed("gaze_error", around(9, 1), gain=around(-1, 0.5)), "Refining hurts"),
    ],
)
def test_one_thing_wrong_is_enough(key: str, metric: Metric, reason: str) -> None:
    verdict = reach_verdict(metrics(**{key: metric}), drifts(0), change=10)
    assert verdict.decision == "do not use"
    assert len(verdict.reasons) == 1
    assert reason in verdict.reasons[0]


@pytest.mark.parametrize(
    "metric",
    [
        changed("common_shift", around(0.8, 0.4)),
        changed("copies", around(0.12, 0.05)),
        changed("diversity", around(0.4, 0.3), baseline=around(1.2, 0.1)),
        changed("gaze_error", around(9, 1), gain=around(-1, 2)),
    ],
)
def test_what_an_interval_does_not_resolve_refuses_nothing(metric: Metric) -> None:
    verdict = reach_verdict(metrics(**{metric.key: metric}), drifts(0), change=10)
    assert verdict.decision == "use"
    if metric.key == "gaze_error":
        assert "not significant" in verdict.reasons[0]


def test_a_refiner_that_changes_nothing_is_said_to_first() -> None:
    still = changed("sliced_wasserstein", around(9, 1), baseline=around(9, 1), gain=around(0, 0))
    verdict = reach_verdict(metrics(sliced_wasserstein=still), drifts(0), change=0.2)
    assert verdict.decision == "do not use"
    assert verdict.reasons[0].startswith("The refiner changes nothing: the mean change of a pixel is 0.20 grey levels")
    assert len(verdict.reasons) == 2


def test_what_helps_is_praised_first() -> None:
    helps = changed("gaze_error", around(5, 1), gain=around(1, 0.5))
    verdict = reach_verdict(metrics(gaze_error=helps), drifts(0), change=10)
    assert verdict.decision == "use"
    assert verdict.reasons[0] == "Refining helps on real labels: the error falls by 1.00 [0.50, 1.50]°."


@pytest.mark.parametrize(("share", "decision"), [(0.24, "do not use"), (0.26, "use")])
def test_a_refiner_must_close_part_of_the_gap(share: float, decision: Decision) -> None:
    """The gap between renders, at 9, and other real images, at 4, is 5; the kernel distance and C2ST close less."""
    distance = Metric(
        "sliced_wasserstein", "SWD", "realism", "", around(9 - 5 * share, 1), around(4, 1), around(9, 1), around(1, 0.5)
    )
    kernel = Metric("kernel", "kernel", "realism", "", around(1.9, 1), around(1, 1), around(2, 1), around(0.1, 0.05))
    accuracy = Metric(
        "c2st_accuracy",
        "C2ST",
        "realism",
        "",
        around(0.97, 0.01),
        None,
        around(0.98, 0.01),
        around(0.01, 0.02),
        ideal=0.5,
    )
    found = metrics(sliced_wasserstein=distance, kernel=kernel, c2st_accuracy=accuracy)
    verdict = reach_verdict(found, drifts(0), change=10)
    assert verdict.decision == decision
    text = " ".join(verdict.reasons)
    assert f"that refining closed: C2ST 2%, SWD {share:.0%}, kernel 10%." in text
    assert "tells refined from real images in 97% of the cases, and renders in 98%" in text
    assert ("no effect worth having" in text) == (decision == "do not use")
    # What is proved to help is worth having.
    helps = changed("gaze_error", around(5, 1), gain=around(1, 0.5))
    assert reach_verdict([*found, helps], drifts(0), change=10).decision == "use"


def test_a_gap_is_measured_to_the_reference_or_to_the_ideal() -> None:
    metric = Metric("key", "name", "realism", "", around(3, 1), around(1, 1), around(9, 1))
    assert metric.gap_closed == 6 / 8
    assert Metric("key", "name", "realism", "", around(3, 1), None, around(9, 1)).gap_closed is None
    assert Metric("key", "name", "realism", "", around(3, 1), None, around(9, 1), ideal=0.0).gap_closed == 6 / 9
    assert Metric("key", "name", "realism", "", around(3, 1), around(10, 1), around(9, 1)).gap_closed is None


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (around(-2, 1), "Refined images are farther from the real images"),
        (around(1, 3), "seem nearer to the real images than the renders are, but the difference is not significant"),
        (around(0, 0.1), "Refined images are no nearer"),
    ],
)
def test_farther_and_unsure_are_told_apart(gain: Interval, words: str) -> None:
    found = [changed(key, around(9, 1), baseline=around(9, 1), gain=gain) for key in ("sliced_wasserstein", "kernel")]
    verdict = reach_verdict(metrics(**{metric.key: metric for metric in found}), drifts(0), change=10)
    assert verdict.decision == "do not use"
    assert words in verdict.reasons[0]
    assert ("--synthetic and --refined are not swapped" in verdict.reasons[0]) == (gain.high < 0)


def test_equal_images_are_said_to_be_the_renders() -> None:
    verdict = reach_verdict(metrics(), drifts(0), change=0)
    assert verdict.decision == "do not use"
    assert "Check that --refined does not name the renders" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("rejected", "bad", "decision", "words"),
    [
        (0.01, 0, "use", "The labels of 100.0% of the images stayed in place."),
        (0.06, 1, "use with rejection", "drift score of 6.0% of the images was above 1, and --max-drift rejected them"),
        (0.06, 9, "use with rejection", "Refine with --max-drift 1."),
        (0.51, 0, "do not use", "The drift score of 51% of the images was above 1"),
    ],
)
def test_images_that_were_rejected_count(rejected: float, bad: int, decision: Decision, words: str) -> None:
    verdict = reach_verdict(metrics(), drifts(bad), change=10, rejected=rejected)
    assert verdict.decision == decision
    assert words in " ".join(verdict.reasons)


def with_objects(bad: int, count: int = 100) -> list[LabelDrift]:
    """Drift of images with ten objects each, of which one is broken in some images."""
    sound = ObjectDrift("1", "cup", score=0.1)
    return [
        LabelDrift(0.0, 0.0, None, 3.0 if number < bad else 0.1, background=0.0, rest=0.0)._replace(
            objects=(*[sound] * 9, sound._replace(score=3.0 if number < bad else 0.1))
        )
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("bad", "dropped", "decision", "words"),
    [
        (0, 0.02, "use", "The labels of 100.0% of the images stayed in place."),
        (0, 0.03, "use with rejection", "The annotations of 3.0% of the objects were dropped."),
        (0, 0.6, "do not use", "The annotations of 60% of the objects were dropped"),
        (30, 0.0, "use with rejection", "Only 3.0% of the objects are above it: --drop-objects drops"),
        (60, 0.0, "do not use", "Only 6.0% of the objects are above it"),
    ],
)
def test_broken_objects_may_be_dropped_instead_of_images(
    bad: int, dropped: float, decision: Decision, words: str
) -> None:
    verdict = reach_verdict(metrics(), with_objects(bad), change=10, dropped=dropped)
    assert verdict.decision == decision
    assert words in " ".join(verdict.reasons)


def test_why_drift_is_unknown_fits_the_labels() -> None:
    lost = [drift._replace(known=False) for drift in with_objects(0)[:5]]
    assert "objects are too small" in reach_verdict(metrics(), [*lost, *with_objects(0)[5:]], change=10).reasons[0]
