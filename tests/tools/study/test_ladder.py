"""The table of the summaries, and the seconds in it, worked out by hand."""

from typing import Any

from tools.study.report.costs import common_processor, median_and_range, seconds
from tools.study.report.ladder import ladder_tables
from tools.study.report.outcomes import Outcome

FAST, SLOW = {"name": "Fast", "features": ["avx2", "amx_bf16"]}, {"name": "Slow", "features": ["avx2"]}


def test_the_ladder_puts_the_same_variant_of_both_studies_into_one_row() -> None:
    days = outcome("other_days", raw={0: (8.0, 7.0), 1: (10.0, 9.0)}, real={0: (2.0, 1.5)})
    people = outcome("other_people", raw={0: (7.0, 6.5)}, refined={0: (6.0, 5.5)}, slices=["head straight"])
    tables = ladder_tables({"other_days": days, "other_people": people})
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in tables["ladder"].splitlines()[2:]]
    # Student's t of one degree of freedom is 12.706: 9 +- 12.706 x sqrt(2) / sqrt(2).
    assert rows[0] == ["renders", "9.00 [-3.71, 21.71]", "8.00 [-4.71, 20.71]", "3.50", "3.25", "110 [110, 110]"]
    assert rows[1] == ["refined renders", "not run", "not run", "3.00", "2.75", "–"]
    assert rows[2] == ["real labels of the other days or people", "2.00", "1.50", "not run", "not run", "110"]
    assert len(rows) == 3
    short = tables["ladder short"].splitlines()
    assert short[2] == "| renders | 9.00 [-3.71, 21.71] | 3.50 |"
    assert short[3] == "| augmented renders | not run | not run |"


def test_there_is_no_ladder_without_both_studies() -> None:
    assert ladder_tables({"other_days": outcome("other_days", raw={0: (8.0, 7.0)})}) == {}


def test_seconds_are_those_of_the_processor_of_most_results() -> None:
    found = outcome("other_days", raw={0: (8.0, 7.0), 1: (8.0, 7.0), 2: (8.0, 7.0)}, refined={2: (8.0, 7.0)})
    for (name, _), results in found.results.items():
        for seed, result in results.items():
            result["environment"] = {"processor": SLOW if seed < 2 else FAST}
            result["seconds"] = {"synthetic": 5.0, "refiner": 100.0 + seed, "estimator": 30.0 if name == "raw" else 40}
    assert common_processor(found, "inductive") == "Slow, avx2"  # two of four: the first of equals
    assert seconds(found, "raw", "inductive") == [135.0, 136.0]
    assert seconds(found, "raw", "inductive", ("refiner",)) == [100.0, 101.0]
    assert seconds(found, "refined", "inductive") == []
    assert [median_and_range(values) for values in ([], [3.0], [1.0, 2.0, 9.0])] == ["–", "3", "2 [1, 9]"]


def outcome(name: str, slices: list[str] | None = None, **errors: dict[int, tuple[float, float]]) -> Outcome:
    """An outcome with error and error without the bias by variant and seed; half of them in the slices."""
    results = {}
    for variant, by_seed in errors.items():
        results[variant, "inductive"] = {seed: result(*pair, slices or []) for seed, pair in by_seed.items()}
    variants: dict[str, dict[str, Any]] = {variant: {"designs": {"inductive": variant}} for variant in errors}
    return Outcome(name, slices or [], variants, results)


def result(error: float, unbiased: float, slices: list[str]) -> dict[str, Any]:
    parts = {part: {"error": {"mean": error / 2}, "unbiased": unbiased / 2} for part in slices}
    spent = {"synthetic": 20.0, "refiner": 100.0, "estimator": 10.0}
    return {"error": {"mean": error}, "unbiased": unbiased, "slices": parts, "seconds": spent}
