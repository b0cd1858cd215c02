"""Results of halves that seeds swap: intervals over seeds and groups, worked out from the cells."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from refiner.metrics.intervals import crossed_interval
from tools.study.report.figures import error_dots
from tools.study.report.outcomes import read_outcomes
from tools.study.report.tables import all_tables

PEOPLE = ["a", "b", "c", "d"]

TESTED = {0: "ab", 1: "cd", 2: "ac", 3: "bd"}
"""The people that each seed tests."""

IMAGES = dict(zip(PEOPLE, (10, 20, 30, 20), strict=True))


def groups_of(seed: int, level: float, place: int) -> dict[str, list[float]]:
    """Images, error and error without the bias of each person; a slice (place 1) has half of the images."""
    return {
        who: [IMAGES[who] / (1 + place), level + PEOPLE.index(who) + seed / 8 + place, level - seed / 4]
        for who in TESTED[seed]
    }


@pytest.fixture
def halved(committed: Callable[..., Any]) -> Any:
    """Two variants with four seeds; the second is better by 2, and by 1 on person d."""
    results = committed({"raw": {}, "refined": {"against": ["raw"]}}, ["straight"])
    for seed in TESTED:
        for variant, level in (("raw", 9.0), ("refined", 7.0)):
            whole, part = (groups_of(seed, level, place) for place in (0, 1))
            if variant == "refined" and "d" in whole:
                whole["d"][1] += 1
            plain = {"unbiased": 5.0, "correlation": [0.5, 0.5], "test_mean_error": 8.0, "groups": part}
            part_metrics = {**plain, "error": {"mean": 1.0, "low": 0.0, "high": 2.0}}
            results.add(variant, seed, 10.0, groups=whole, slices={"straight": part_metrics})
    return results


def cells(place: int, column: int, level: float = 9.0) -> tuple[Any, ...]:
    """Errors, people, seeds and images, as lists of the same order."""
    found = [
        (values[column], who, str(seed), values[0])
        for seed in TESTED
        for who, values in groups_of(seed, level, place).items()
    ]
    errors, people, seeds, images = zip(*found, strict=True)
    return np.array(errors), people, seeds, np.array(images)


def row(table: str, start: str) -> list[str]:
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_errors_have_intervals_over_seeds_and_groups(halved: Any) -> None:
    (outcome,) = read_outcomes(halved.folder)
    assert outcome.cross_validated("inductive")
    tables = dict(all_tables(outcome))
    errors = row(tables["eyes inductive"], "`raw`")
    assert errors[2] == str(crossed_interval(*cells(0, 1)))
    # Each person is tested twice; people have errors of 9 + 0, 1, 2, 3 and the seeds of 0, 1, 2, 3 eighths.
    by_seed = {seed: sum(IMAGES[who] for who in who_all) for seed, who_all in TESTED.items()}
    mean = 9 + (20 * 1 + 30 * 2 + 20 * 3) / 80 + sum(seed / 8 * count for seed, count in by_seed.items()) / 160
    assert outcome.interval("raw", "inductive").mean == pytest.approx(mean)  # type: ignore[union-attr]
    assert errors[6] == str(crossed_interval(*cells(0, 2)))
    slices = row(tables["eyes inductive slices"], "`raw`")
    assert slices[1:3] == [str(crossed_interval(*cells(1, 1))), str(crossed_interval(*cells(1, 2)))]
    constant = row(tables["eyes inductive slices"], "constant")
    assert (len(constant), constant[1]) == (len(slices), "8.00")
    (axes,) = error_dots(outcome, "inductive").axes
    assert axes.lines[1].get_xdata()[0] == pytest.approx(mean)


def test_differences_are_paired_by_seed_and_group(halved: Any) -> None:
    (outcome,) = read_outcomes(halved.folder)
    tables = dict(all_tables(outcome))
    _, people, seeds, images = cells(0, 1)
    differences = np.array([-1.0 if who == "d" else -2.0 for who in people])
    interval = crossed_interval(differences, people, seeds, images)
    found = row(tables["eyes inductive differences"], "`refined`")
    assert found[2:4] == ["4 seeds, 4 groups", str(interval)]
    assert interval.mean == pytest.approx(-1.75)  # d has a quarter of the images
    assert found[6:] == ["-2.00 [-2.00, -2.00]", "helps"]
    assert row(tables["eyes inductive straight differences"], "`refined`")[3] == "-2.00 [-2.00, -2.00]"
    # Only what both tested is compared.
    halved.add("refined", 3, 10.0, groups={"d": [20, 13.5, 6.25]}, slices={})
    (outcome,) = read_outcomes(halved.folder)
    keep = [place for place, (who, seed) in enumerate(zip(people, seeds, strict=True)) if (who, seed) != ("b", "3")]
    differences[seeds.index("3") + 1] = 13.5 - (9 + 3 + 3 / 8)
    fewer = outcome.difference("refined", "raw", "inductive")
    assert fewer is not None
    expected = [[one[place] for place in keep] for one in (differences, people, seeds, images)]
    assert fewer.degrees == pytest.approx(
        crossed_interval(np.array(expected[0]), *expected[1:3], np.array(expected[3]))
    )
    assert (fewer.seeds, fewer.groups) == (4, 4)


def test_one_seed_has_no_interval(halved: Any, committed: Callable[..., Any]) -> None:
    results = committed({"raw": {}, "refined": {"against": ["raw"]}})
    for variant, level in (("raw", 9.0), ("refined", 7.0)):
        results.add(variant, 0, 1.0, groups=groups_of(0, level, 0), slices={})
    (outcome,) = read_outcomes(results.folder)
    assert str(outcome.interval("raw", "inductive")) == "9.67"
    difference = outcome.difference("refined", "raw", "inductive")
    assert difference is not None
    assert (difference.effect, str(difference.degrees)) == ("one seed", "-2.00")


def test_results_of_the_first_studies_keep_intervals_over_seeds(halved: Any) -> None:
    """A single result without the error that the bias leaves is one of them."""
    groups = {"a": [10, 9.0], "b": [20, 10.0]}
    halved.add("raw", 0, 10.0, groups=groups)
    (outcome,) = read_outcomes(halved.folder)
    assert not outcome.cross_validated("inductive")
    assert str(outcome.interval("raw", "inductive")) == "10.00 [10.00, 10.00]"
    difference = outcome.difference("refined", "raw", "inductive")
    assert difference is not None
    assert difference.pairs == "4"


def test_seeds_disagree_on_the_images_that_both_tested(halved: Any) -> None:
    answers = {0: ("1.0 2.0", "0 1"), 1: ("5.0 9.0", "2 3"), 2: ("4.0 9.0", "1 2")}
    for seed, (pitch, images) in answers.items():
        lines = {"pitch": pitch, "yaw": "0.0 0.0", "images": images}
        halved.add("raw", seed, 1.0, groups=groups_of(seed, 9.0, 0), slices={}, answers=lines)
    (outcome,) = read_outcomes(halved.folder)
    # Seeds 0 and 2 share image 1 (2 and 4 degrees), seeds 1 and 2 share image 2 (5 and 9), seeds 0 and 1 none.
    assert outcome.disagreement("raw", "inductive") == pytest.approx((2 + 4) / 2)


def test_the_inductive_protocol_comes_first(committed: Callable[..., Any]) -> None:
    results = committed({"raw": {"designs": {"transductive": "raw", "inductive": "raw"}}})
    results.add("raw", 0, 9.0)
    (outcome,) = read_outcomes(results.folder)
    assert outcome.protocols == ["inductive", "transductive"]
    assert next(iter(dict(all_tables(outcome)))) == "eyes inductive"
