"""The label table: what is written comes back, and what is no table or no number is refused by file and line."""

import csv
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refiner.core.errors import DataError, ImageError
from refiner.data.labels.label_table import LabelTable
from refiner.data.labels.records import column_values
from refiner.data.labels.tables import read_labels, write_labels

ANGLES = st.floats(-3.14, 3.14)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12).filter(
    lambda text: not text.startswith("[")
)


def read(tmp_path: Path, text: str | bytes) -> dict[str, dict[str, Any]]:
    path = tmp_path / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_labels(path)


@given(
    rows=st.dictionaries(
        TEXT,
        st.fixed_dictionaries(
            {},
            optional={
                "gaze": st.tuples(ANGLES, ANGLES),
                "head_pose": st.tuples(ANGLES, ANGLES),
                "pupil": st.tuples(st.floats(-9, 2000), st.floats(-9, 2000)),
                "subject": TEXT,
                "mirrored": st.sampled_from([0, 1]),
                "weather": TEXT,
            },
        ),
        max_size=5,
    )
)
@settings(max_examples=150, deadline=None)
def test_what_is_written_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: dict[str, dict[str, Any]]) -> None:
    path = tmp_path_factory.mktemp("table") / "labels.csv"
    write_labels(
        path,
        {name: {k: np.array(v) if isinstance(v, tuple) else v for k, v in row.items()} for name, row in rows.items()},
    )
    back = read_labels(path)
    assert list(back) == list(rows)
    for name, row in rows.items():
        assert set(back[name]) == set(row)
        for key, value in row.items():
            if isinstance(value, tuple):
                assert back[name][key] == pytest.approx(value, rel=1e-6, abs=1e-12)
            else:
                assert back[name][key] == value


def test_the_columns_are_those_of_the_convention(tmp_path: Path) -> None:
    labels = {
        "gaze": np.array([0.1, -0.2]),
        "head_pose": np.array([0.0, 0.25]),
        "pupil": np.array([30.5, 17.0]),
        "subject": "p00",
        "mirrored": True,
        "exposure": 0.5,
        "iris_outline": np.array([[1.0, 2.0004], [3.5, -4.0]]),
    }
    write_labels(tmp_path / "labels.csv", {"sub/a.png": labels, "b.png": {}})
    header, first, second = (tmp_path / "labels.csv").read_text().splitlines()
    assert header == (
        "file,gaze_pitch_rad,gaze_yaw_rad,head_pitch_rad,head_yaw_rad,pupil_x,pupil_y,subject,mirrored,exposure,iris_outline"
    )
    assert first == 'sub/a.png,0.1,-0.2,0,0.25,30.5,17,p00,1,0.5,"[[1.0, 2.0004], [3.5, -4.0]]"'
    assert second == "b.png,,,,,,,,,,"
    back = read_labels(tmp_path / "labels.csv")
    assert back["b.png"] == {}
    assert back["sub/a.png"]["iris_outline"].tolist() == [[1, 2.0004], [3.5, -4]]
    assert back["sub/a.png"]["mirrored"] == 1
    assert not read(tmp_path, "file,mirrored\na.png,0\n")["a.png"]["mirrored"]


def test_an_empty_table_is_a_header(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels.csv", {})
    assert (tmp_path / "labels.csv").read_text() == "file\n"
    assert read_labels(tmp_path / "labels.csv") == {}


def test_further_columns_are_carried_along_as_text(tmp_path: Path) -> None:
    labels = read(tmp_path, 'file,eye,note,bones\na.png,left,"hot, dry","[1, 2.5]"\nb.png,,,\n')
    assert labels["a.png"]["eye"] == "left"
    assert labels["a.png"]["note"] == "hot, dry"
    assert labels["a.png"]["bones"].tolist() == [1, 2.5]
    assert labels["b.png"] == {}


def test_a_byte_order_mark_and_windows_lines_are_understood(tmp_path: Path) -> None:
    labels = read(tmp_path, b"\xef\xbb\xbffile,gaze_pitch_rad,gaze_yaw_rad\r\na.png,0.5,-1e-3\r\n")
    assert labels["a.png"]["gaze"].tolist() == [0.5, -0.001]


def test_the_file_column_may_stand_anywhere(tmp_path: Path) -> None:
    assert list(read(tmp_path, "subject,file\np00,a.png\n")) == ["a.png"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no column 'file'"),
        ("name,gaze_pitch_rad\na.png,1\n", "has no column 'file'"),
        ("file,gaze_pitch_rad,gaze_yaw_rad\na.png,nan,0\n", "line 2: gaze is 'nan'; expected a finite number"),
        ("file,gaze_pitch_rad,gaze_yaw_rad\na.png,0,inf\n", "line 2: gaze is 'inf'"),
        ("file,gaze_pitch_rad,gaze_yaw_rad\na.png,0,1e999\n", "line 2: gaze is '1e999'"),
        ("file,pupil_x,pupil_y\na.png,1,2\nb.png,left,2\n", "line 3: pupil is 'left'"),
        ("file,pupil_x,pupil_y\na.png,__import__('os'),2\n", "line 2: pupil is "),
        ("file,subject\na.png,x\nb.png,y\na.png,z\n", "line 4 is the second row of a.png"),
        ("file,subject\n,x\n", "line 2 has no file"),
        ("subject,file\nx\n", "line 2 has no file"),
        ("file,mirrored\na.png,yes\n", "line 2: mirrored is 'yes'; expected 0 or 1"),
        ('file,bones\na.png,"[1, 2"\n', "line 2: bones is not a JSON array of numbers"),
        ('file,bones\na.png,"[[1, 2], [3]]"\n', "line 2: bones is not a JSON array"),
        ('file,bones\na.png,"[{}]"\n', "line 2: bones is not a JSON array"),
        ('file,bones\na.png,"[""x""]"\n', "line 2: bones is not a JSON array"),
        ("file,bones\na.png,[" + "9" * 400 + "]\n", "line 2: bones is not a JSON array"),
        ('file,bones\na.png,"[""7""]"\n', "line 2: bones is not a JSON array"),
        ("file,bones\na.png,[true]\n", "line 2: bones is not a JSON array"),
        ("file,bones\na.png,[Infinity]\n", "line 2: bones contains numbers that are infinite"),
        ("file,bones\na.png,[12345678901234567]\n", "line 2: bones contains numbers that are infinite or too large"),
        ('file,pupil\na.png,"[null, 2]"\n', "line 2: pupil is '[null, 2]'; expected two numbers"),
        ("file,bones\na.png," + "[" * 50_000 + "\n", "line 2: bones is not a JSON array"),
        (b"file,subject\na.png,\xe9\n", "line 2: subject is not UTF-8 text; save the table as UTF-8"),
        (b"file,f\xfcr\na.png,x\n", "cannot be read as a CSV table"),
        ("file,gaze\na.png,left\n", "line 2: gaze is not a JSON array"),
        ('file,pupil\na.png,"[1, 2, 3]"\n', "line 2: pupil is '[1, 2, 3]'; expected two numbers"),
    ],
)
def test_a_bad_table_is_refused_with_file_line_and_reason(tmp_path: Path, text: str | bytes, reason: str) -> None:
    with pytest.raises(DataError) as raised:
        read(tmp_path, text)
    assert str(raised.value).startswith(f"{tmp_path / 'labels.csv'}")
    assert reason in str(raised.value)


def test_a_large_cell_is_read_and_one_that_is_an_accident_is_refused(tmp_path: Path) -> None:
    assert len(read(tmp_path, "file,subject\na.png," + "x" * 200_000 + "\n")["a.png"]["subject"]) == 200_000
    with pytest.raises(DataError, match="cannot be read as a CSV table"):
        read(tmp_path, "file,subject\na.png," + "x" * (2**24 + 1) + "\n")


def test_a_missing_table_or_a_folder_is_a_clear_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match="cannot be read as a CSV table"):
            read_labels(path)


@given(
    garbage=st.one_of(
        st.binary(max_size=80), st.text(max_size=80).map(lambda text: ("file,a,b\n" + text).encode("utf-8", "replace"))
    )
)
@settings(max_examples=150, deadline=None)
def test_garbage_is_a_table_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    try:
        labels = read(tmp_path_factory.mktemp("table"), garbage)
    except DataError:
        return
    assert all(isinstance(name, str) and name for name in labels)


@pytest.mark.parametrize("table", ["mpiigaze_p00_dev", "columbia_dev", "syntheseyes"])
def test_real_tables_are_read_whole(real_data: Path, table: str) -> None:
    labels = read_labels(real_data / table / "labels.csv")
    gaze = column_values(labels.values(), "gaze")
    assert gaze is not None
    assert gaze.shape == (len(labels), 2)
    assert np.abs(gaze).max() < 1.5
    assert all((real_data / table / name).exists() for name in labels)


def test_a_written_outline_is_plain_json(tmp_path: Path) -> None:
    outline = np.arange(12, dtype=np.int64).reshape(6, 2)
    write_labels(tmp_path / "labels.csv", {"a.png": {"lid_outline": outline}})
    cell = (tmp_path / "labels.csv").read_text().split('"')[1]
    assert json.loads(cell) == outline.tolist()


def test_a_pair_may_stand_in_one_cell(tmp_path: Path) -> None:
    assert read(tmp_path, 'file,pupil\na.png,"[3.5, 4]"\n')["a.png"]["pupil"].tolist() == [3.5, 4]


# --- row by row ------------------------------------------------------------------------------------------------


def table_of(tmp_path: Path, data: str | bytes) -> LabelTable:
    path = tmp_path / "labels.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return LabelTable(path)


TABLE = (
    'file,näme,note\nä/ü.png,眼睛,"two\nlines, and ""quotes"""\n\nb.png,,"a\rb\r\nc"\n😀.png,ß\nd.png,last,é,too,many'
)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_row_is_read_by_itself_in_any_order(tmp_path: Path, mark: bytes, end: str) -> None:
    """Rows are found by their bytes: signs of several bytes, quoted line ends and empty lines stand before them."""
    quoted = TABLE.replace("two\nlines", "two|lines").replace("\r\nc", "#c")
    text = quoted.replace("\n", end).replace("|", "\n").replace("#", "\r\n")
    table = table_of(tmp_path, mark + text.encode())
    assert list(table) == ["ä/ü.png", "b.png", "😀.png", "d.png"]
    assert len(table) == 4
    assert table["d.png"] == {"näme": "last", "note": "é"}
    assert table["😀.png"] == {"näme": "ß"}
    assert table["b.png"] == {"note": "a\rb\r\nc"}
    assert table["ä/ü.png"] == {"näme": "眼睛", "note": 'two\nlines, and "quotes"'}
    assert table.problems == []
    with pytest.raises(KeyError):
        table["c.png"]
    assert "c.png" not in table


def test_a_faulty_row_costs_only_itself(tmp_path: Path) -> None:
    table = table_of(
        tmp_path,
        b"file,gaze_pitch_rad,gaze_yaw_rad,note\n"
        b"a.png,0.1,0.2,fine\nb.png,nan,0.2,\nc.png,,,\xe9\nd.png,,,[1\n,,,no file\na.png,,,again\ne.png,1,2,\n",
    )
    assert list(table) == ["a.png", "b.png", "c.png", "d.png", "e.png"]
    assert table["e.png"]["gaze"].tolist() == [1, 2]
    reasons = {
        "a.png": "line 7 is the second row of a.png",
        "b.png": "line 3: gaze is 'nan'",
        "c.png": "line 4: note is not UTF",
    }
    for name, reason in {**reasons, "d.png": "line 5: note is not a JSON array"}.items():
        with pytest.raises(ImageError) as raised:
            table[name]
        assert reason in raised.value.reason
    assert [problem.partition("line ")[2] for problem in table.problems] == [
        "6 has no file; expected a path below the folder",
        "7 is the second row of a.png; keep one row per image",
    ]


def test_names_of_images_need_not_be_utf8(tmp_path: Path) -> None:
    name = "b\udce4d.png"
    write_labels(tmp_path / "labels.csv", {name: {"subject": "p00"}, "c.png": {"subject": "ü"}})
    table = LabelTable(tmp_path / "labels.csv")
    assert table[name] == {"subject": "p00"}
    assert table["c.png"] == {"subject": "ü"}


def test_a_row_is_looked_at_when_it_is_asked_for(tmp_path: Path) -> None:
    """A million rows cost their ids: what they say stays on disk."""
    table = table_of(tmp_path, "file,note\na.png,one\nb.png,two\n")
    data = table.path.read_bytes()
    table.path.write_bytes(data.replace(b"two", b"TWO"))
    assert table["b.png"] == {"note": "TWO"}
    table.path.unlink()
    with pytest.raises(DataError, match="cannot be read as a CSV table"):
        table["b.png"]


@given(rows=st.lists(st.tuples(TEXT, TEXT), max_size=6, unique_by=lambda row: row[0]))
@settings(max_examples=100, deadline=None)
def test_rows_found_by_their_bytes_are_those_of_the_whole_table(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("table") / "labels.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\r\n")
        writer.writerow(["file", "note"])
        writer.writerows(rows)
    table = LabelTable(path)
    for name, note in reversed(rows):
        assert table[name] == {"note": note}


def test_a_subject_is_text_whatever_it_begins_with(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels.csv", {"a.png": {"subject": "[p00"}})
    assert read_labels(tmp_path / "labels.csv") == {"a.png": {"subject": "[p00"}}


def test_a_part_of_a_table_has_some_rows_and_labels_and_can_be_sent(tmp_path: Path) -> None:
    rows = "a.png,0.1,nan,3,4,x\nb.png,0.2,0.3,5,6,y\nc.png,0.2,0.3,,,y\nd.png,1,1,1,1,z\nd.png,1,1,1,1,z\n"
    (tmp_path / "labels.csv").write_text("file,gaze_pitch_rad,gaze_yaw_rad,pupil_x,pupil_y,subject\n" + rows)
    whole = LabelTable(tmp_path / "labels.csv")
    part = pickle.loads(pickle.dumps(whole.only(["a.png", "c.png", "d.png", "absent.png"], ["pupil", "joints"])))
    assert list(part) == ["a.png", "c.png", "d.png"]
    assert list(part["a.png"]) == ["pupil"]  # the gaze, which is none, is not looked at
    assert part["a.png"]["pupil"].tolist() == [3, 4]
    assert part["c.png"] == {}
    with pytest.raises(ImageError, match="is the second row of"):
        part["d.png"]
    with pytest.raises(KeyError):
        part["b.png"]
    assert set(whole["b.png"]) == {"gaze", "pupil", "subject"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "file,gaze_pitch_rad,gaze_yaw_rad\na,1.5,-0.5\nb,0.2,-30\nc,0,4",
            "gaze_yaw_rad is beyond pi in 2 rows, up to 30 and first in line 3",
        ),
        ("file,head_pitch_rad,head_yaw_rad\na,+3.15,\n", "head_pitch_rad is beyond pi in 1 row, up to 3.15"),
        ('file,gaze\na,"[0.1, 0.2]"\nb,"[0.1, -9]"\n', "gaze is beyond pi in 1 row, up to 9 and first in line 3"),
    ],
)
def test_angles_beyond_pi_are_refused_by_column(tmp_path: Path, text: str, words: str) -> None:
    """For every row: small angles in degrees would pass for radians."""
    path = tmp_path / "labels.csv"
    path.write_text(text)
    table = LabelTable(path)
    with pytest.raises(DataError, match=words):
        table["a"]
    with pytest.raises(DataError, match="not in radians"):
        table.sound_rows()
    assert table.only(["a"], ["pupil"])["a"] == {}  # other labels can be read


def test_angles_up_to_pi_and_cells_that_are_no_numbers(tmp_path: Path) -> None:
    text = "file,gaze_pitch_rad,gaze_yaw_rad\na,1.5,-3.1415\nb,nan,1\nc,x,2\n"
    (tmp_path / "labels.csv").write_text(text)
    table = LabelTable(tmp_path / "labels.csv")
    assert table["a"]["gaze"].tolist() == [1.5, -3.1415]
    for sample in "bc":
        with pytest.raises(ImageError, match="expected a finite number"):
            table[sample]
