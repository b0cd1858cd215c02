"""Pages of results: generated tables between marker comments; the text around them is kept."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from refiner.core.errors import DataError
from refiner.core.files import write_text
from tools.pages.drawing import write_figure
from tools.pages.markers import fill_tables
from tools.study.report.figures import error_dots, real_count_curve
from tools.study.report.ladder import ladder_tables
from tools.study.report.outcomes import Outcome, read_outcomes
from tools.study.report.tables import all_tables, probe_table

PROBE = "fgsm.json"
"""File that ``tools.measure.fgsm`` writes next to the results of the studies."""


def write_pages(results: Path, pages: Sequence[Path], figures: Path) -> tuple[list[Path], list[str]]:
    """Write the tables of all studies into pages, and their figures into a folder.

    Args:
        results: folder with a results file of each study.
        pages: Markdown pages with markers. A page that is missing is written with all tables.
        figures: folder of the figures.

    Returns:
        The files that were written, and the names of tables that are on no page.

    Raises:
        DataError: there are no results, or a page asks for an unknown table.
    """
    outcomes = read_outcomes(results)
    tables = report_tables(results, outcomes)
    # Fill all pages before any is written, so that an error changes none.
    filled, used = {}, set()
    for page in pages:
        text = page.read_text(encoding="utf-8") if page.exists() else _blank(tables)
        filled[page], found = fill_tables(text, tables, str(page))
        used |= found
    written = [path for outcome in outcomes for path in write_figures(outcome, figures)]
    for page, text in filled.items():
        write_text(page, text)
    return [*pages, *written], [name for name in tables if name not in used]


def report_tables(results: Path, outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Return all tables by name: of each study, of the ladder, and of the probe if it was measured.

    Args:
        results: folder with the results files.
        outcomes: their outcomes.

    Raises:
        DataError: the probe's file is damaged.
    """
    tables = {name: text for outcome in outcomes for name, text in all_tables(outcome)}
    tables |= ladder_tables({outcome.name: outcome for outcome in outcomes})
    probe = results / PROBE
    if probe.exists():
        try:
            tables[probe.stem] = probe_table(json.loads(probe.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{probe} cannot be read ({type(error).__name__}: {error}); measure it again") from error
    return tables


def write_figures(outcome: Outcome, folder: Path) -> list[Path]:
    """Write ``STUDY-PROTOCOL.svg`` and, if the number of real images varies, ``STUDY-PROTOCOL-real-count.svg``."""
    figures = {}
    for protocol in outcome.protocols:
        if any(outcome.of(variant, protocol) for variant in outcome.variants):
            figures[f"{outcome.name}-{protocol}"] = error_dots(outcome, protocol)
        if any(outcome.of(name, protocol) for names in outcome.curves(protocol) for name in names):
            figures[f"{outcome.name}-{protocol}-real-count"] = real_count_curve(outcome, protocol)
    for name, figure in figures.items():
        write_figure(folder / f"{name}.svg", figure)
    return [folder / f"{name}.svg" for name in figures]


def _blank(tables: Mapping[str, str]) -> str:
    """Return a page of all tables, to be written around."""
    parts = [f"## {name}\n\n<!-- table: {name} -->\n<!-- end -->\n" for name in tables]
    return "\n".join(["# Results\n", *parts])
