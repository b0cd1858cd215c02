"""Splits: they follow from the ids alone, keep subjects together, and do not move when samples are added."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refiner.core.errors import DataError, ImageError
from refiner.data.splits import held_out_keys, names_subjects, parse_split, split_of, split_samples

SHARES = {"train": 0.8, "test": 0.2}


class People:
    """A data set whose ids say whose image they are: ``p03/7.png``."""

    root = Path("people")

    def __init__(self, unknown: str = "", faulty: str = "") -> None:
        self.unknown, self.faulty = unknown, faulty

    def subject(self, sample: str) -> str | None:
        if sample == self.faulty:
            raise ImageError(sample, "has a faulty row")
        return None if sample == self.unknown else sample.split("/")[0]


IDS = [f"p{person:02d}/{number}.png" for person in range(40) for number in range(5)]


def test_shares_are_parsed() -> None:
    assert parse_split("train=0.8,test=0.2") == SHARES
    assert parse_split(" a = .5 , b-2=0.25,c_3=0.25") == {"a": 0.5, "b-2": 0.25, "c_3": 0.25}
    assert parse_split("all=1") == {"all": 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "train",
        "train=",
        "=1",
        "train=1,",
        "a=0.5,a=0.5",
        "a=0.5;b=0.5",
        "a/b=1",
        "../a=1",
        ".=1",
        "-a=1",
        "a=nan",
        "a=1e0",
        "a=-1,b=2",
        "a=0,b=1",
        "a=0.5",
        "a=0.5,b=0.6",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a list of names and shares|must be above 0 and add up to 1"):
        parse_split(text)


def test_shares_are_kept_about() -> None:
    counts = Counter(split_of(f"{number}.png", {"a": 0.7, "b": 0.2, "c": 0.1}) for number in range(5000))
    assert counts["a"] == pytest.approx(3500, abs=120)
    assert counts["b"] == pytest.approx(1000, abs=100)
    assert counts["c"] == pytest.approx(500, abs=80)


def test_the_same_key_goes_to_the_same_part_for_ever() -> None:
    """Written down: another release must not move a sample from training to test."""
    parts = "".join(split_of(f"{number:06d}.png", SHARES)[1] for number in range(24))
    assert parts == "errrrrrrerrerrrererrrerr"
    assert split_of("b\udce4d.png", {"all": 1.0}) == "all"


@given(st.sets(st.sampled_from(IDS), min_size=60), st.sampled_from(["id", "subject"]))
def test_adding_samples_moves_no_other(chosen: set[str], by: str) -> None:
    some = split_samples(People(), sorted(chosen), SHARES, by=by)  # type: ignore[arg-type]
    whole = split_samples(People(), IDS, SHARES, by=by)  # type: ignore[arg-type]
    for name in SHARES:
        assert some[name] == [sample for sample in whole[name] if sample in chosen]
    assert sorted(some["train"] + some["test"]) == sorted(chosen)


def test_no_subject_is_in_two_parts() -> None:
    parts = split_samples(People(), IDS, SHARES, by="subject")  # type: ignore[arg-type]
    people = {name: {sample[:3] for sample in samples} for name, samples in parts.items()}
    assert not people["train"] & people["test"]
    assert min(map(len, people.values())) > 2
    by_id = split_samples(People(), IDS, SHARES, by="id")  # type: ignore[arg-type]
    assert {sample[:3] for sample in by_id["train"]} & {sample[:3] for sample in by_id["test"]}


def test_an_unknown_subject_and_an_empty_part_are_clear_errors() -> None:
    with pytest.raises(DataError, match=r"p07/2\.png in .*people names no subject; split with --by id"):
        split_samples(People(unknown="p07/2.png"), IDS, SHARES, by="subject")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"none of the 1 subjects of .* falls into t"):
        split_samples(People(), IDS[:5], SHARES, by="subject")  # type: ignore[arg-type]


def test_a_faulty_row_stops_no_split() -> None:
    """It goes to some part, where reading it rejects it."""
    faulty = People(faulty="p03/1.png")
    parts = split_samples(faulty, IDS, SHARES, by="subject")  # type: ignore[arg-type]
    assert sorted(parts["train"] + parts["test"]) == sorted(IDS)
    assert names_subjects(faulty, IDS)  # type: ignore[arg-type]


def test_a_split_by_id_among_subjects_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert names_subjects(People(), IDS)  # type: ignore[arg-type]
    assert not caplog.text
    assert not names_subjects(People(unknown="p03/1.png"), IDS)  # type: ignore[arg-type]
    assert f"people: 1 of {len(IDS)} images name no subject" in caplog.text


@given(st.sets(st.text(), min_size=2, max_size=12), st.floats(0.01, 0.99))
def test_some_keys_are_held_out_and_some_are_not(keys: set[str], share: float) -> None:
    held_out = held_out_keys(keys, share)
    assert 0 < len(held_out) < len(keys)
    by_hash = {key for key in keys if split_of(key, {"held_out": share, "train": 1 - share}) == "held_out"}
    if 0 < len(by_hash) < len(keys):
        assert held_out == by_hash
