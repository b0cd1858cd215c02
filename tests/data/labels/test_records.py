"""Labels as cells of a table row, and one label of many images."""

import numpy as np
import pytest

from refiner.core.errors import DataError
from refiner.data.labels.records import column_values, from_cells, to_cells


def test_labels_are_cells_by_column_and_back() -> None:
    labels = {
        "gaze": np.array([0.1, -0.25]),
        "pupil": np.array([30.5, 17.0]),
        "lid_outline": np.array([[1.0, 2.0], [3.1234567, 4.0]]),
        "mirrored": True,
        "subject": "07",
    }
    cells = to_cells(labels)
    assert cells == {
        "gaze_pitch_rad": "0.1",
        "gaze_yaw_rad": "-0.25",
        "pupil_x": "30.5",
        "pupil_y": "17",
        "lid_outline": "[[1.0, 2.0], [3.1234567, 4.0]]",
        "mirrored": "1",
        "subject": "07",
    }
    back = from_cells(cells, "here")
    assert set(back) == set(labels)
    assert back["gaze"].tolist() == [0.1, -0.25]
    assert back["lid_outline"].tolist() == [[1.0, 2.0], [3.1234567, 4.0]]
    assert back["mirrored"] == 1
    assert back["subject"] == "07"


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"pupil_x": "nan", "pupil_y": "1"}, "here: pupil is 'nan'; expected a finite number"),
        ({"pupil": "[1, 2, 3]"}, "here: pupil is '.1, 2, 3.'; expected two numbers"),
        ({"outline": "[[1], [2, 3]]"}, "here: outline is not a JSON array of numbers"),
        ({"mirrored": "yes"}, "here: mirrored is 'yes'; expected 0 or 1"),
        ({"weather": "\udcff"}, "here: weather is not UTF-8 text"),
    ],
)
def test_a_faulty_cell_is_named(cells: dict[str, str], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        from_cells(cells, "here")


def test_half_a_pair_is_a_number() -> None:
    with pytest.raises(DataError, match="row 3: gaze is '=1\\+1'; expected a finite number"):
        from_cells({"file": "a.png", "gaze_yaw_rad": "=1+1"}, "row 3")


def test_half_a_pair_stays_a_column() -> None:
    labels = from_cells({"gaze_pitch_rad": "0.1", "file": "a.png"}, "here")
    assert labels == {"gaze_pitch_rad": "0.1"}
    assert to_cells(labels) == {"gaze_pitch_rad": "0.1"}


@pytest.mark.parametrize("text", ["[0.1234567890123, -1e-09]", "[[1.5, null], [2.0, 3.0]]", "[1700000000.125]"])
def test_arrays_are_written_as_they_were_read(text: str) -> None:
    assert to_cells(from_cells({"values": text}, "here")) == {"values": text}


def test_one_label_of_many_images_is_an_array_or_nothing() -> None:
    rows = [{"gaze": np.array([0.1, 0.2])}, {"gaze": np.array([0.3, 0.4]), "subject": "x"}]
    values = column_values(rows, "gaze")
    assert values is not None
    assert values.tolist() == [[0.1, 0.2], [0.3, 0.4]]
    assert column_values(rows, "subject") is None
    assert column_values([], "gaze") is None
