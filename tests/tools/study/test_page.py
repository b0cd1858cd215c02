"""Pages and figures of results."""

import json
from pathlib import Path
from typing import Any

import pytest

from refiner.core.errors import DataError
from tools.pages.markers import fill_tables
from tools.study.report.figures import error_dots, real_count_curve
from tools.study.report.outcomes import read_outcomes
from tools.study.report.page import PROBE, write_pages


def test_figures_show_every_arm_that_was_run(outcomes: Any) -> None:
    (outcome,) = read_outcomes(outcomes.folder)
    (axes,) = error_dots(outcome, "inductive").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["raw", "refined", "few"]
    assert sum(len(dots.get_offsets()) for dots in axes.collections) == 7  # one for each seed
    arrows = [line for line in axes.lines if line.get_marker() in "<>"]
    assert len(arrows) == 3  # raw's interval is cut at both ends, refined's at the lower
    (axes,) = real_count_curve(outcome, "inductive").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["25", "700"]
    assert list(axes.lines[0].get_ydata()) == [9.5, pytest.approx(9.0)]


def test_a_page_is_begun_where_there_is_none(outcomes: Any, tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    written, unused = write_pages(outcomes.folder, [page], tmp_path / "figures")
    assert unused == []
    assert page.read_text().count("<!-- table:") == 7
    assert [path.name for path in written[1:]] == ["eyes-inductive.svg", "eyes-inductive-real-count.svg"]


def test_the_probe_of_one_step_has_a_table(outcomes: Any, tmp_path: Path) -> None:
    rise = {"0": {"mean": 8.5, "low": 7.4, "high": 9.7}, "2": {"mean": 12.9, "low": 11.4, "high": 14.3}}
    (outcomes.folder / PROBE).write_text(json.dumps({"levels": [0, 2], "errors": {"raw": rise}}))
    page = tmp_path / "results.md"
    page.write_text("<!-- table: fgsm -->\n<!-- end -->\n")
    write_pages(outcomes.folder, [page], tmp_path / "figures")
    assert "| `raw` | 8.50 [7.40, 9.70] | 12.90 [11.40, 14.30] |" in page.read_text()


def test_tables_are_spread_over_several_pages(outcomes: Any, tmp_path: Path) -> None:
    pages = [tmp_path / "one.md", tmp_path / "two.md"]
    pages[0].write_text("<!-- table: eyes inductive -->\n<!-- end -->\n")
    pages[1].write_text("<!-- table: eyes inductive cost -->\n<!-- end -->\n")
    _, unused = write_pages(outcomes.folder, pages, tmp_path / "figures")
    assert len(unused) == 5
    assert "| adaptation, s |" in pages[1].read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!-- table: other -->\n<!-- end -->", "asks for the table other, which is not one of one"),
        ("<!-- table: one -->\n<!-- table: one -->\n<!-- end -->", "one has no end"),
        ("<!-- table: one -->\n", "tables without an end"),
    ],
)
def test_faulty_markers_are_named(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        fill_tables(text, {"one": "| 1 |"}, "page.md")


def test_without_results_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no results of a study"):
        read_outcomes(tmp_path)
