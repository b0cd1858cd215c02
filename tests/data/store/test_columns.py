"""Columns of a store: every cell of a label table comes back as the text it was."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refiner.data.store.columns import Column, find_columns, to_text

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8).filter(
    lambda text: not text.startswith("[")
)
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e6, 1e6).map("{:.9g}".format),
    st.sampled_from(["007", "1e5", "3.0", "3", "-0", "0", "nan", "inf", "-inf", "1_000", " 1", "+1", "٣", ".5", ""]),
)


def cells_back(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The cells of some rows, through the values of their columns and back; without empty ones."""
    back: list[dict[str, str]] = [{} for _ in rows]
    for column in find_columns(rows):
        values = column.values(rows)
        if not column.is_text:
            values = np.asarray(values, column.dtype)
            assert values.shape == (len(rows), *column.shape)
        for cells, value in zip(back, values, strict=True):
            if column.cells == "array":
                text = json.dumps(value.tolist()) if np.isfinite(value).all() else ""
            else:
                text = to_text(value, column.cells)
            if text:
                cells[column.name] = text
    return back


def only_column(*cells: str) -> Column:
    columns = find_columns([{"x": cell} for cell in cells])
    assert len(columns) == 1
    return columns[0]


@given(
    rows=st.lists(st.fixed_dictionaries({}, optional={"a": NUMBERS, "b": st.one_of(NUMBERS, TEXT), "c": TEXT})),
)
@settings(max_examples=300, deadline=None)
def test_every_cell_comes_back_as_the_text_it_was(rows: list[dict[str, str]]) -> None:
    assert cells_back(rows) == [{name: text for name, text in row.items() if text} for row in rows]


@pytest.mark.parametrize("cell", ["007", "1e5", "3.0", "-0", "0.1", "5e-324", "9007199254740993", "1e999", "é", "a,b"])
def test_a_cell_alone_and_beside_others(cell: str) -> None:
    for others in ([], [""], ["12"], ["0.5"], ["word"], ["1.0"]):
        rows = [{"x": text} for text in [cell, *others]]
        assert cells_back(rows) == [{"x": text} if text else {} for text in [cell, *others]]


def test_numbers_are_stored_as_numbers() -> None:
    assert only_column("1", "-20", "0").cells == "integer"
    assert only_column("1", "0.5").cells == "float9"
    assert only_column("1.0", "0.1").cells == "float"
    assert only_column("1", "1.0").cells == "text"
    assert only_column("007").cells == "text"


def test_an_integer_column_with_gaps_is_one_of_floats() -> None:
    """An integer has no value that means "not known"."""
    assert only_column("1", "2").dtype == np.int64
    gaps = only_column("1", "", "2")
    assert gaps.dtype == np.float64
    assert cells_back([{"x": "1"}, {}, {"x": "2"}]) == [{"x": "1"}, {}, {"x": "2"}]


def test_pairs_become_one_column_of_two() -> None:
    rows = [{"gaze_pitch_rad": "0.1", "gaze_yaw_rad": "-0.2", "pupil_x": "3", "pupil_y": "4"}, {}]
    gaze, pupil = find_columns(rows)
    assert (gaze, pupil) == (Column("gaze", "pair", (2,)), Column("pupil", "pair", (2,)))
    values = gaze.values(rows)
    assert values[0].tolist() == [0.1, -0.2]
    assert np.isnan(values[1]).all()


def test_arrays_of_one_shape_are_an_array_and_of_several_are_text() -> None:
    square, line = "[[1.0, 2.0], [3.0, 4.5]]", "[1.0, 2.0]"
    assert only_column(square, square) == Column("x", "array", (2, 2))
    for cells in ([square, line], [square, "word"], [square, "5"], ["[]"], ["[[], []]"]):
        assert only_column(*cells).cells == "text", cells
        assert cells_back([{"x": cell} for cell in cells]) == [{"x": cell} for cell in cells]
    assert cells_back([{"x": square}, {}]) == [{"x": square}, {}]


def test_an_array_too_deep_for_a_data_set_is_text() -> None:
    deep = "[" * 40 + "1.0" + "]" * 40
    assert only_column(deep).cells == "text"


def test_columns_keep_the_order_of_their_appearance_and_empty_ones_vanish() -> None:
    rows = [{"b": "1", "empty": ""}, {"a": "x", "gaze_pitch_rad": "1", "gaze_yaw_rad": "2"}]
    assert [column.name for column in find_columns(rows)] == ["b", "a", "gaze"]
    assert find_columns([]) == []


@pytest.mark.parametrize("subjects", [["7", ""], ["7.5", ""], ["[0, 0]", "[1, 1]"], ["07", "8"]])
def test_subjects_that_look_like_numbers_or_lists_are_names(subjects: list[str]) -> None:
    rows = [{"subject": text} if text else {} for text in subjects]
    (column,) = find_columns(rows)
    assert [to_text(value, column.cells) for value in column.values(rows)] == subjects
