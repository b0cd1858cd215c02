"""The tables of docs/performance.md from what ``refiner benchmark --json`` wrote: python tools/performance.py.

Each file docs/performance/NAME.json becomes the table NAME between its markers on the page.
"""

import json
import sys
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).parent))
from studying.pages import fill_tables

from refiner.files import write_text

ROOT = Path(__file__).parent.parent


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--page", type=click.Path(path_type=Path), default=ROOT / "docs/performance.md", help="To be filled.")
def main(page: Path) -> None:
    """Write a table for each benchmark beside the page."""
    found = sorted(page.with_suffix("").glob("*.json"))
    tables = {file.stem: table(json.loads(file.read_text(encoding="utf-8"))) for file in found}
    text, _ = fill_tables(page.read_text(encoding="utf-8"), tables, str(page))
    write_text(page, text)
    print(f"{page}: written")


def table(benchmark: dict[str, Any]) -> str:
    """One benchmark as a Markdown table, with the machine in its first line."""
    environment = benchmark["environment"]
    machine = f"{environment['processor']['name']}, {' '.join(environment['processor']['features'])}"
    if benchmark["device"] == "cuda":
        machine = f"{environment['devices'][0]} ({environment['processor']['cores']} cores of an {machine})"
    else:
        machine += f", {environment['threads']} threads"
    height, width = benchmark["size"]
    lines = [
        f"{machine}; images of {height}x{width}; torch {environment['versions']['torch']}; {_memory(benchmark)}.",
        "",
        "| | images (steps) a second | ratio | of |",
        "| --- | --- | --- | --- |",
    ]
    for rate in benchmark["rates"]:
        median, low, high = (_digits(rate[key]) for key in ("median", "low", "high"))
        lines.append(f"| {rate['name']} | {median} [{low}, {high}] | {rate['ratio']:.2f} | {rate['against']} |")
    return "\n".join(lines)


def _memory(benchmark: dict[str, Any]) -> str:
    if benchmark.get("card_mib"):
        return f"largest memory on the card {benchmark['card_mib']:,.0f} MiB"
    return f"largest memory of a whole job {benchmark['job_mib']:,.0f} MiB"


def _digits(rate: float) -> str:
    """Three digits, or all before the point."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


if __name__ == "__main__":
    main()
