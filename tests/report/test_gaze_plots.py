"""Plots of a gaze test are well-formed SVG, and training curves are, too."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from refiner.data.labels.tables import read_labels
from refiner.gaze.data import LabelledPatches
from refiner.gaze.evaluation import evaluate_estimators
from refiner.report.curves import training_curves
from refiner.report.gaze_plots import write_plots
from refiner.report.svg import ticks

SVG = "{http://www.w3.org/2000/svg}"


class Known:
    """Estimates the truth with known errors."""

    size, equalize, head_pose = (16, 24), False, False
    metadata = {"mean_gaze": [0.05, -0.1]}  # noqa: RUF012

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def predict(self, patches: LabelledPatches) -> np.ndarray:
        return patches.gaze + 0.02 + np.random.default_rng(self.seed).normal(0, 0.05, (len(patches), 2))


def test_plots_are_well_formed_pictures(gazes: Path, tmp_path: Path) -> None:
    assert len(read_labels(gazes / "labels.csv")) == 60
    test = evaluate_estimators([Known(0), Known(1)], gazes)
    files = write_plots(tmp_path / "plots", test)
    assert [file.name for file in files] == ["pitch.svg", "yaw.svg", "errors.svg"]
    for file in files:
        picture = ET.parse(file).getroot()
        assert picture.tag == f"{SVG}svg"
        assert "nan" not in file.read_text()
    marks = [path.get("d") for path in ET.parse(files[0]).getroot().iter(f"{SVG}path")]
    assert [mark.count("M") > 50 for mark in marks] == [True, True]
    curves = list(ET.parse(files[2]).getroot().iter(f"{SVG}polyline"))
    points = [point.split(",") for point in curves[-1].get("points").split()]
    heights = [float(y) for _, y in points]
    assert heights == sorted(heights, reverse=True)  # shares only grow, and y points down


def test_training_curves_leave_out_what_is_not_finite() -> None:
    rows = [{"step": step, "adversarial": 1 / step, "change": float("nan"), "motion": 0.0} for step in (2, 4, 8)]
    pictures = [ET.fromstring(picture) for picture in training_curves(rows)]
    titles = [picture.find(f"{SVG}text").text for picture in pictures]
    assert titles == ["adversarial loss of the refiner", "apparent motion, px"]
    points = pictures[0].find(f"{SVG}polyline").get("points").split()
    assert (points[0], points[-1]) == ("44.0,24.0", "272.0,128.0")  # from the upper left to the lower right


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (-0.31, 0.29, [-0.3, -0.2, -0.1, 0, 0.1, 0.2]), (7, 42, [10, 20, 30, 40])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high).tolist() == expected
