"""The programs that measure, on little, and the page that is made of it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tools.pages.drawing import write_figure
from tools.pages.scaling_plots import scaling_plots

ROOT = Path(__file__).parents[2]


def run(*arguments: object) -> None:
    """Run a program in a process of its own: OpenVINO leaves signals of its process without a stack."""
    subprocess.run([sys.executable, "-m", *map(str, arguments)], cwd=ROOT, check=True, capture_output=True, timeout=900)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page that asks for all four tables, filled."""
    folder = tmp_path_factory.mktemp("page")
    few = ("--largest", 4, "--pixels", 10_000, "--distinct", 16, "--seconds", 0)
    run("tools.measure.quantization", folder / "performance" / "int8.json", "--repeats", 1, "--seconds", 0)
    run("tools.measure.scaling", folder / "performance" / "scaling.json", *few)
    run("tools.measure.stages", folder / "performance" / "stages.json", "--images", 8, "--repeats", 1)
    run(
        "tools.measure.precision", folder / "performance" / "precision.json", "--seeds", 2, "--images", 16, "--steps", 4
    )
    page = folder / "performance.md"
    names = ("scaling", "precision", "int8", "stages")
    page.write_text("\n".join(f"<!-- table: {name} -->\n<!-- end -->" for name in names))
    places = ("--measurements", folder / "performance", "--figures", folder / "performance")
    run("tools.pages.performance", "--page", page, "--studies", ROOT / "results", *places)
    return page


def test_tables_say_what_was_measured(measured: Path) -> None:
    text = measured.read_text()
    assert "| 4 images |" in text
    assert "| 4 of 36x60 |" in text
    assert "| 1 workers |" in text
    assert "1,200,000 images in" in text
    assert "2 seeds, 4 steps of pre-training" in text
    assert "| accuracy_real |" in text
    assert "| encoding and writing PNG |" in text


def test_eight_bits_cost_grey_levels_and_fewer_where_the_ends_stay_as_they_are(measured: Path) -> None:
    runs = json.loads((measured.with_suffix("") / "int8.json").read_text())["runs"]
    exact, every, inner = (runs[name]["mean"] for name in ("openvino", *list(runs)[-2:]))
    assert 0 == exact < inner < every < 3
    assert "| int8 |" in measured.read_text()


def test_plots_have_a_dot_for_each_measurement(measured: Path) -> None:
    found = json.loads((measured.with_suffix("") / "scaling.json").read_text())
    for name, figure in scaling_plots(found).items():
        (line,) = figure.axes[0].lines
        assert len(np.asarray(line.get_xdata())) == len(found[name])
        plot = (measured.with_suffix("") / f"scaling-{name}.svg").read_text()
        assert "nan" not in plot
        assert "dc:date" not in plot
        write_figure(measured.with_name("again.svg"), figure)
        assert measured.with_name("again.svg").read_text() == plot


def test_the_extrapolation_goes_on_with_the_last_slope(measured: Path) -> None:
    found = json.loads((measured.with_suffix("") / "scaling.json").read_text())
    before, last = found["images"][-2:]
    slope = (last["seconds"] - before["seconds"]) / (last["images"] - before["images"])
    assert found["seconds_an_image"] == pytest.approx(slope)
    assert found["goal_minutes"] == pytest.approx((last["seconds"] + (1_200_000 - 4) * slope) / 60)
