"""The page of results: tables between marker comments, the prose around them left as it is."""

import json
from collections.abc import Mapping
from pathlib import Path

from refiner.core.files import write_text
from tools.pages.markers import fill_tables
from tools.study.report.figures import error_dots, photograph_curve
from tools.study.report.outcomes import Outcome, read_outcomes
from tools.study.report.tables import all_tables, probe_table

PROBE = "fgsm.json"
"""What ``tools/fgsm.py`` left beside the studies."""


def write_page(results: Path, page: Path) -> tuple[list[Path], list[str]]:
    """Write the tables of all studies into a page, and their figures beside the results.

    Args:
        results: with a folder for each study.
        page: Markdown; where it is missing, one with all tables is begun.

    Returns:
        What was written, and the names of tables that have no place on the page.

    Raises:
        DataError: there are no results, or the page asks for a table that there is not.
    """
    outcomes = read_outcomes(results)
    tables = {name: text for outcome in outcomes for name, text in all_tables(outcome)}
    probe = results / PROBE
    if probe.exists():
        tables[probe.stem] = probe_table(json.loads(probe.read_text(encoding="utf-8")))
    text = page.read_text(encoding="utf-8") if page.exists() else _blank(tables)
    filled, used = fill_tables(text, tables, str(page))
    written = [path for outcome in outcomes for path in write_figures(outcome)]
    write_text(page, filled)
    return [page, *written], [name for name in tables if name not in used]


def write_figures(outcome: Outcome) -> list[Path]:
    """Write ``PROTOCOL.svg`` and, where there is a curve, ``PROTOCOL-photographs.svg``."""
    pictures = {}
    for protocol in outcome.protocols:
        if any(outcome.of(variant, protocol) for variant in outcome.variants):
            pictures[protocol] = error_dots(outcome, protocol)
        if any(outcome.of(name, protocol) for names in outcome.curves(protocol) for name in names):
            pictures[f"{protocol}-photographs"] = photograph_curve(outcome, protocol)
    for name, picture in pictures.items():
        write_text(outcome.folder / f"{name}.svg", picture)
    return [outcome.folder / f"{name}.svg" for name in pictures]


def _blank(tables: Mapping[str, str]) -> str:
    """A page of tables, to be written around."""
    parts = [f"## {name}\n\n<!-- table: {name} -->\n<!-- end -->\n" for name in tables]
    return "\n".join(["# Results\n", *parts])
