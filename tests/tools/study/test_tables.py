"""Tables of results, worked out by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tools.study.report.outcomes import read_outcomes
from tools.study.report.proxies import measured_proxies, rank_correlation
from tools.study.report.tables import all_tables


def row(table: str, start: str) -> list[str]:
    """Cells of the row that begins so."""
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_tables_hold_means_intervals_and_verdicts(outcomes: Any) -> None:
    (outcome,) = read_outcomes(outcomes.folder)
    tables = dict(all_tables(outcome))
    # Student's t of two degrees of freedom is 4.303: 10 +- 4.303 x 1 / sqrt(3).
    assert row(tables["eyes inductive"], "`raw`")[1:5] == ["3", "10.00 [7.52, 12.48]", "9.50", "25%"]
    assert row(tables["eyes inductive"], "`raw`")[-2:] == ["+1.0 / -2.0", "0.50 / –"]
    assert row(tables["eyes inductive"], "`later`")[1] == "not run"
    # Pairs differ by -1, -0.9, -1.1: -1 +- 4.303 x 0.1 / sqrt(3).
    expected = ["`refined`", "`raw`", "3", "-1.00 [-1.25, -0.75]", "-10%", "helps"]
    assert row(tables["eyes inductive differences"], "`refined`")[:-2] == expected
    unbiased = row(tables["eyes inductive differences"], "`refined`")[-2:]
    assert unbiased == ["0.00 [0.00, 0.00]", "not significant"]  # 5.0 in every result
    assert row(tables["eyes inductive differences"], "`few`")[5] == "one seed"
    assert row(tables["eyes inductive cost"], "`raw`")[1:] == ["106 [105, 107]", "30 [30, 30]", "156 [155, 157]"]
    assert row(tables["eyes inductive cost"], "`few`")[1:] == ["105", "30", "155"]
    assert "`later`" not in tables["eyes inductive differences"]
    assert row(tables["eyes inductive straight differences"], "`refined`")[3] == "-0.50 [-0.62, -0.38]"
    assert row(tables["eyes inductive slices"], "`raw`")[1] == "5.00 [3.76, 6.24]"
    assert row(tables["eyes inductive scores"], "`few`")[1:6] == ["80%", "+0.10 / -0.20", "0.30", "–", "–"]
    assert row(tables["eyes inductive real count"], "25")[1:] == ["`few`", "1", "9.50"]
    assert row(tables["eyes inductive real count"], "700")[2] == "3"


def test_seeds_disagree_by_the_angle_between_their_answers(outcomes: Any) -> None:
    for seed, pitch in enumerate(("1.0 1.0", "1.0 -1.0", "1.0 3.0")):
        outcomes.add("raw", seed, 9.0, answers={"pitch": pitch, "yaw": "0.0 0.0"})
    (outcome,) = read_outcomes(outcomes.folder)
    assert outcome.disagreement("raw", "inductive") == pytest.approx((1 + 1 + 2) / 3)  # halves of 2, 2 and 4 degrees
    assert outcome.disagreement("refined", "inductive") is None
    assert row(dict(all_tables(outcome))["eyes inductive scores"], "`raw`")[5] == "1.33"


def test_rank_correlation_is_of_the_order_alone() -> None:
    values = np.arange(8.0)
    assert rank_correlation(np.stack([values, values**3], axis=1)).mean == pytest.approx(1)
    assert rank_correlation(np.stack([values, -np.exp(values)], axis=1)).mean == pytest.approx(-1)
    swapped = rank_correlation(np.array([(0, 1), (1, 0), (2, 2), (3, 3), (4, 4)], float))
    assert swapped.mean == pytest.approx(0.9)  # 1 - 6 x 2 / (5 x 24)
    assert -1 <= swapped.low < swapped.mean < swapped.high <= 1


def test_proxies_are_ranked_over_arms_without_the_control(committed: Callable[..., Any]) -> None:
    names = ["a", "b", "c", "d", "e", "permuted"]
    results = committed({name: {} for name in names})
    for number, name in enumerate(names):
        scores = {"c2st_accuracy": 0.9 - 0.1 * number, "drift": None, "drift_distance": None, "distance": float(number)}
        results.add(name, 0, 5.0 + number, scores=scores)
    found = {proxy.name: proxy for proxy in measured_proxies(read_outcomes(results.folder)[0], "inductive")}
    assert set(found) == {"C2ST accuracy", "distance to real images"}
    assert [proxy.variants for proxy in found.values()] == [5, 5]
    assert found["distance to real images"].correlation.mean == pytest.approx(1)
    assert found["C2ST accuracy"].correlation.mean == pytest.approx(-1)


def test_the_score_chooses_among_checkpoints_of_one_training(committed: Callable[..., Any]) -> None:
    trainings = {"a": (250, "x"), "b": (500, "x"), "c": (1500, "x"), "other": (500, "y")}
    results = committed({name: {"steps": steps, "trajectory": which} for name, (steps, which) in trainings.items()})
    for name, error, score in (("a", 8.0, 0.9), ("b", 7.0, 0.8), ("c", 6.8, 0.85), ("other", 1.0, 0.1)):
        results.add(
            name, 3, error, scores={"c2st_accuracy": 0.8, "drift": None, "drift_distance": None, "score": score}
        )
    (outcome,) = read_outcomes(results.folder)
    (choice,) = outcome.choices("inductive")
    assert (choice.seed, choice.chosen, choice.best, choice.error, choice.least) == (3, 500, 1500, 7.0, 6.8)
    assert row(dict(all_tables(outcome))["eyes inductive checkpoints"], "3")[-1] == "+3%"


def test_results_of_an_arm_that_was_changed_are_left_out(outcomes: Any) -> None:
    outcomes.add("raw", 1, 99.0, design="an older one")
    (outcome,) = read_outcomes(outcomes.folder)
    assert outcome.errors("raw", "inductive") == {0: 9.0, 2: 11.0}
    difference = outcome.difference("refined", "raw", "inductive")
    assert difference is not None
    assert difference.seeds == 2


def test_hurting_and_unresolved_differences_are_said(outcomes: Any) -> None:
    for seed, error in enumerate([10.0, 11.1, 11.9]):
        outcomes.add("refined", seed, error)
    for seed, error in enumerate([8.0, 12.0, 10.0]):
        outcomes.add("few", seed, error)
    (outcome,) = read_outcomes(outcomes.folder)
    said = [outcome.difference(variant, "raw", "inductive") for variant in ("refined", "few")]
    assert [difference and difference.effect for difference in said] == ["hurts", "not significant"]
