"""The arrow points where the gaze goes, the dots stand on the points, whatever the size of the image."""

from pathlib import Path

import numpy as np
import pytest

from refiner.core.errors import DataError
from refiner.data.formats.registry import open_dataset
from refiner.data.labels.records import Record
from refiner.images.io import write_image
from refiner.inspection.overlays.contact_sheet import CELL, COLUMNS, GAP, draw_record, draw_sheet
from refiner.inspection.overlays.label_shapes import gaze_in_image


def red(canvas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the arrow's pixels, without the caption."""
    picture = canvas[:-18].astype(int)
    return np.nonzero((picture[..., 0] > 200) & (picture[..., 1] < 120) & (picture[..., 2] < 120))


@pytest.mark.parametrize(
    ("pitch", "yaw", "direction"), [(0, 0.3, "left"), (0, -0.3, "right"), (0.3, 0, "up"), (-0.3, 0, "down")]
)
def test_the_arrow_points_where_the_gaze_goes(pitch: float, yaw: float, direction: str) -> None:
    """Starts at the pupil at (20, 18) of 60x36, so at (82, 74) of the cell."""
    labels = {"gaze": np.array([pitch, yaw]), "pupil": np.array([20.0, 18.0])}
    rows, columns = red(draw_record(Record("a.png", np.full((36, 60), 90, np.uint8), labels)))
    reach = {"left": 82 - columns.min(), "right": columns.max() - 82, "up": 74 - rows.min(), "down": rows.max() - 74}
    assert max(reach, key=lambda name: reach[name]) == direction
    # left of the pupil there is room for 82 of the 78 = 1.1 x 240 x sin 0.3 pixels, and above it for 74
    assert reach[direction] == pytest.approx(min(78, 74 if direction in ("up", "down") else 78), abs=6)


def test_signs_of_the_vector() -> None:
    assert gaze_in_image(0, np.pi / 2) == (pytest.approx(-1), pytest.approx(0))
    assert gaze_in_image(np.pi / 2, 0) == (pytest.approx(0), pytest.approx(-1))


def test_without_a_pupil_it_starts_in_the_middle() -> None:
    record = Record("a.png", np.full((36, 60), 90, np.uint8), {"gaze": np.array([0.0, 0.3])})
    rows, columns = red(draw_record(record))
    assert columns.max() == pytest.approx(CELL / 2, abs=3)
    assert rows.mean() == pytest.approx(CELL * 36 / 60 / 2, abs=3)


def test_points_are_dotted_where_they_are() -> None:
    labels = {"iris_outline": np.array([[10.0, 5.0], [40.0, 30.0]])}
    canvas = draw_record(Record("a.png", np.zeros((36, 60), np.uint8), labels))
    green = (canvas[:-18, :, 1] > 200) & (canvas[:-18, :, 0] < 50)
    assert green[22, 42]  # (10 + 0.5) * 4
    assert green[122, 162]
    assert not green[60, 100]


def test_labels_of_any_kind_do_no_harm() -> None:
    labels = {"gaze": np.array([1e6, -1e6]), "pupil": np.array([1e9, -1e9]), "iris_outline": np.zeros((0, 2)), "x": "é"}
    canvas = draw_record(Record("ä" * 80 + ".png", np.zeros((300, 500, 4), np.uint8), labels))
    assert canvas.shape == (CELL * 300 // 500 + 18, CELL, 3)


def test_depths_share_one_scale(tmp_path: Path) -> None:
    for number, level in enumerate([1000, 2000]):
        write_image(tmp_path / f"{number}.png", np.full((36, 60), level, np.uint16))
    sheet = draw_sheet(open_dataset(tmp_path))
    assert (sheet[20, 20, 0], sheet[20, CELL + GAP + 20, 0]) == (127, 255)


def test_sizes_mix_and_rejects_are_left_out(tmp_path: Path) -> None:
    for number in range(8):
        write_image(tmp_path / f"{number}.png", np.zeros((36, 60 if number % 2 else 40, 3), np.uint8))
    (tmp_path / "bad.png").touch()
    sheet = draw_sheet(open_dataset(tmp_path))
    assert sheet.shape == (2 * (216 + 18 + GAP), COLUMNS * (CELL + GAP), 3)


def test_nothing_to_draw_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.png").touch()
    with pytest.raises(DataError, match="none of the images chosen for the sheet can be read"):
        draw_sheet(open_dataset(tmp_path))
