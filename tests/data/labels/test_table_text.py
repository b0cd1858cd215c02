"""Tables are read as people write them, where the meaning is certain."""

from pathlib import Path

import numpy as np
import pytest

from refiner.core.errors import DataError
from refiner.data.labels.label_table import LabelTable
from refiner.data.labels.table_text import explain_angles
from refiner.data.labels.tables import read_labels

ROWS = [("a.png", "-0.25", "1.5e-1", "p é"), ("b/c.png", "0.5", "-0.125", "")]
HEAD = ("file", "gaze_pitch_rad", "gaze_yaw_rad", "subject")


def write(path: Path, delimiter: str, encoding: str, head: tuple[str, ...] = HEAD, decimal: str = ".") -> Path:
    rows = [(name, *(cell.replace(".", decimal) for cell in cells), subject) for name, *cells, subject in ROWS]
    lines = [delimiter.join(row) for row in (head, *rows)]
    (path / "labels.csv").write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path / "labels.csv"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_delimiters_and_encodings(tmp_path: Path, delimiter: str, encoding: str) -> None:
    table = LabelTable(write(tmp_path, delimiter, encoding))
    assert list(table) == ["a.png", "b/c.png"]
    assert table["b/c.png"]["gaze"].tolist() == [0.5, -0.125]
    assert table["a.png"]["gaze"].tolist() == [-0.25, 0.15]
    assert table["a.png"]["subject"] == "p é"
    assert table.only(["b/c.png"], ["gaze"])["b/c.png"]["gaze"].tolist() == [0.5, -0.125]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_commas(tmp_path: Path, delimiter: str) -> None:
    path = write(tmp_path, delimiter, "utf-8", decimal=",")
    assert read_labels(path)["a.png"]["gaze"].tolist() == [-0.25, 0.15]
    # With decimal points in the same table, a comma may mean thousands.
    path.write_text(path.read_text() + delimiter.join(("d.png", "0.5", "1,234", "p")) + "\n")
    with pytest.raises(DataError, match="line 2: gaze is '-0,25'; expected a finite number"):
        read_labels(path)


@pytest.mark.parametrize(
    "head",
    [
        ("filename", *HEAD[1:]),
        (" File ", " Gaze_Pitch_Rad ", "gaze_yaw_rad ", "SUBJECT"),
        ("image_path", *HEAD[1:]),
    ],
)
def test_headers(tmp_path: Path, head: tuple[str, ...]) -> None:
    assert read_labels(write(tmp_path, ",", "utf-8", head))["a.png"] == {
        "gaze": pytest.approx(np.array([-0.25, 0.15])),
        "subject": "p é",
    }


def test_degrees_are_converted_and_checked(tmp_path: Path) -> None:
    head = ("file", "gaze_pitch_deg", "gaze_yaw_deg", "subject")
    gaze = read_labels(write(tmp_path, ";", "utf-8", head, decimal=","))["a.png"]["gaze"]
    assert gaze == pytest.approx([-0.25 * np.pi / 180, 0.15 * np.pi / 180], rel=1e-12)
    (tmp_path / "labels.csv").write_text("file,gaze_pitch_deg,gaze_yaw_deg\na.png,170,-400\n")
    with pytest.raises(DataError, match="gaze_yaw_rad is beyond pi"):
        read_labels(tmp_path / "labels.csv")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"filename,path,note\na,b,c\n", r"several columns that may name the images \(filename, path\)"),
        (b"file,subject,Subject\na,b,c\n", "has two columns subject; keep one"),
        (b"file,gr\xf6\xdfe\na.png,1\n", "not UTF-8 text; save the table as UTF-8, in Excel as 'CSV UTF-8'"),
        ("file,x\na.png,1\n".encode("utf-16-le"), "not UTF-8 text; save the table as UTF-8"),
        (b"name;x\na.png;1\n", "has no column 'file'; expected a header row with file, gaze_pitch_rad"),
    ],
)
def test_what_is_not_certain_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "labels.csv").write_bytes(data)
    with pytest.raises(DataError, match=reason):
        LabelTable(tmp_path / "labels.csv")


def test_columns_of_an_unknown_unit_or_axes_are_named() -> None:
    for column in ("pitch", "Yaw", "gaze_x", "gaze_vector_z", "theta", "gaze_yaw", "head_pitch_degrees"):
        assert f"the columns {column} are not read as gaze" in explain_angles(["subject", column])
    assert explain_angles(["gaze_pitch_rad", "pupil_x", "nose_x", "eye", "subject"]) == ""
