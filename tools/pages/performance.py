"""Write the tables and plots of docs/performance.md from measurements: python -m tools.pages.performance.

Each file results/performance/NAME.json, of ``refiner benchmark --json`` or of a program in ``tools/measure``, becomes
the table NAME between its markers, and its plots ``docs/figures/NAME-PLOT.svg``.
"""

import json
from pathlib import Path
from typing import Any

import click
from matplotlib.figure import Figure

from refiner.core.files import write_text
from refiner.metrics.intervals import seed_interval
from tools.pages.drawing import write_figure
from tools.pages.markers import fill_tables
from tools.pages.preset_table import preset_plot, preset_table, read_study
from tools.pages.scaling_plots import scaling_plots, scaling_table

ANY_PATH = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--page", type=ANY_PATH, default="docs/performance.md", help="Page with the markers.")
@click.option("--measurements", type=ANY_PATH, default="results/performance", help="Folder of the JSON files.")
@click.option("--studies", type=ANY_PATH, default="results", help="Folder of the studies' results.")
@click.option("--figures", type=ANY_PATH, default="docs/figures", help="Folder of the plots.")
def main(page: Path, measurements: Path, studies: Path, figures: Path) -> None:
    """Write the tables into the page, and the plots into their folder."""
    tables, study = {}, read_study(studies)
    for file in sorted(measurements.glob("*.json")):
        facts = json.loads(file.read_text(encoding="utf-8"))
        plots: dict[str, Figure] = {}
        if facts["command"] == "presets":
            tables[file.stem] = preset_table(facts, study)
            if study is not None and (plot := preset_plot(facts, study)):
                plots["quality"] = plot
        elif facts["command"] == "scaling":
            tables[file.stem], plots = scaling_table(facts), scaling_plots(facts)
        else:
            by_command = {"precision": precision_table, "int8": int8_table, "stages": stages_table}
            table = by_command.get(facts["command"], benchmark_table)
            tables[file.stem] = table(facts)
        for name, figure in plots.items():
            write_figure(figures / f"{file.stem}-{name}.svg", figure)
    text, _ = fill_tables(page.read_text(encoding="utf-8"), tables, str(page))
    write_text(page, text)
    print(page)


def benchmark_table(benchmark: dict[str, Any]) -> str:
    """Return one benchmark as a Markdown table, with the machine in its first line."""
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


def int8_table(facts: dict[str, Any]) -> str:
    """Return speed and error of int8 against fp32."""
    processor = facts["environment"]["processor"]
    lines = [
        f"{processor['name']}, {' '.join(processor['features'])}, {facts['environment']['threads']} threads.",
        "",
        "| demo refiner | images a second | ratio | grey levels from fp32 | largest | pixels beyond one |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, run in facts["runs"].items():
        rate = f"{run['rate']:,.0f} [{run['low']:,.0f}, {run['high']:,.0f}]"
        apart = f"{run['mean']:.2f} | {run['largest']:.0f} | {run['beyond_one']:.1%}"
        lines.append(f"| {name} | {rate} | {run['ratio']:.2f} | {apart} |")
    return "\n".join(lines)


def stages_table(facts: dict[str, Any]) -> str:
    """Return the time of each stage of a job, for each image."""
    processor = facts["environment"]["processor"]
    lines = [
        f"{processor['name']}, {' '.join(processor['features'])}; backend {facts['backend']}, one thread; "
        f"{facts['images']:,} images of 36x60.",
        "",
        "| demo refiner, folder to folder | microseconds of a core for each image |",
        "| --- | --- |",
    ]
    for stage, some in facts["microseconds"].items():
        lines.append(f"| {stage} | {some['median']:.0f} [{some['low']:.0f}, {some['high']:.0f}] |")
    return "\n".join(lines)


def precision_table(found: dict[str, Any]) -> str:
    """Return a comparison of both precisions, with the spread of the seeds."""
    processor, differences = found["environment"]["processor"], found["pretraining_differences"]
    lines = [
        f"{processor['name']}, {' '.join(processor['features'])}; {found['seeds']} seeds, "
        f"{found['steps']} steps of pre-training.",
        "",
        f"| curve of pre-training against fp32's, mean [95 % interval over seeds] | {' | '.join(differences)} |",
        f"| --- |{' --- |' * len(differences)}",
    ]
    for part in next(iter(differences.values())):
        found_here = [seed_interval(ratios[part]) for ratios in differences.values()]
        cells = (f"{some.mean:.1%} [{some.low:.1%}, {some.high:.1%}]" for some in found_here)
        lines.append(f"| {part} | {' | '.join(cells)} |")
    lines += [
        "",
        "| at the end of training | fp32, mean [least, largest seed] | bf16 |",
        "| --- | --- | --- |",
    ]
    for name, metrics in found["metrics"].items():
        cells = (f"{sum(v) / len(v):.3f} [{min(v):.3f}, {max(v):.3f}]" for v in (metrics["fp32"], metrics["bf16"]))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _memory(benchmark: dict[str, Any]) -> str:
    if benchmark.get("card_mib"):
        return f"largest memory on the GPU {benchmark['card_mib']:,.0f} MiB"
    return f"largest memory with a whole job running {benchmark['job_mib']:,.0f} MiB"


def _digits(rate: float) -> str:
    """Write three digits, or all before the point."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


if __name__ == "__main__":
    main()
