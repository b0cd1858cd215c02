"""Train on synthetic eyes, test on real ones: variants x seeds, and the tables and figures of the results.

    python -m tools.study run configs/study/short.yaml --out runs/study/short
    python -m tools.study list configs/study/short.yaml
    python -m tools.study report

``run`` resumes where it was stopped, and computes no finished result again. Every product is identified by everything
it follows from (configuration, renderer's ranges, labels of the target), so changed settings make new products. Run it
from the repository root, with the package installed. Exit status 1: something failed.
"""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tools.study.configuration import Study
    from tools.study.plan import Plan
    from tools.study.tasks import Place, Task

ANY_PATH = click.Path(path_type=Path)
CONFIGURATION = click.argument(
    "configuration", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="CONFIG"
)
OUT = click.option("--out", type=ANY_PATH, metavar="DIR", help="Products and models.  [default: runs/study/NAME]")
RESULTS = click.option(
    "--results", type=ANY_PATH, metavar="FILE", help="File of all results.  [default: OUT/results.jsonl]"
)
VARIANTS = click.option("--variants", metavar="A,B", help="Only these variants.")
SEEDS = click.option("--seeds", metavar="0,1", help="These seeds for every variant, instead of those of CONFIG.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train gaze estimators on renders, adapted in many ways, and test them on real images."""


@main.command()
@CONFIGURATION
@OUT
@RESULTS
@VARIANTS
@SEEDS
@click.option("--workers", type=click.IntRange(0), help="Processes, of one thread each.  [default: cores]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="cpu", show_default=True)
def run(
    configuration: Path,
    out: Path | None,
    results: Path | None,
    variants: str | None,
    seeds: str | None,
    workers: int | None,
    device: str,
) -> None:
    """Run the remaining tasks of a study, seed by seed, and print the paths of its results and models."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the workers
    with _errors():
        from refiner.core.environment import processor
        from refiner.core.locks import locked
        from tools.study.results import FinishedResults, collect_results
        from tools.study.schedule import run_tasks
        from tools.study.tasks import missing_tasks

        study, plan, place = _open(configuration, out, results, device)
        wanted = _wanted(plan, variants, seeds)
        count = processor()["cores"] if workers is None else workers
        with locked(place.out / "lock", refusal=f"another process works in {place.out}; wait until it ends"):
            tasks = missing_tasks(wanted, FinishedResults(place).has)
            progress = _Progress(len(tasks))
            click.echo(f"{len(wanted)} results wanted, {_left(tasks)}", err=True)
            try:
                failures = run_tasks(tasks, place, workers=count, report=progress)
            finally:
                collect_results(study, plan, place)
    if failures:
        raise click.ClickException(f"{failures} of {len(tasks)} tasks failed or could not start; the others are done")
    click.echo(json.dumps({"results": str(place.results), "models": str(place.out / "models"), "count": len(wanted)}))


@main.command(name="list")
@CONFIGURATION
@OUT
@RESULTS
@VARIANTS
@SEEDS
def list_results(
    configuration: Path, out: Path | None, results: Path | None, variants: str | None, seeds: str | None
) -> None:
    """List the results of a study, finished and missing, and the number of missing tasks."""
    with _errors():
        from tools.study.results import FinishedResults
        from tools.study.tasks import missing_tasks

        _, plan, place = _open(configuration, out, results, "cpu")
        wanted, finished = _wanted(plan, variants, seeds), FinishedResults(place)
        table: dict[tuple[str, str], list[str]] = {}
        for task in wanted:
            mark = "" if finished.has(task) else "?"
            key = task.settings["variant"], task.settings["protocol"]
            table.setdefault(key, []).append(f"{task.settings['seed']}{mark}")
        for (variant, protocol), done in table.items():
            click.echo(f"{variant:32} {protocol:14} {' '.join(done)}")
        click.echo(f"seeds with a question mark are missing: {_left(missing_tasks(wanted, finished.has))}")


@main.command()
@click.argument(
    "results", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path("results"), metavar="[DIR]"
)
@click.option(
    "--page",
    "pages",
    type=ANY_PATH,
    multiple=True,
    metavar="FILE",
    help="Page of the tables; may be given several times.  [default: README.md, docs/results.md, docs/results/*.md]",
)
@click.option(
    "--figures",
    type=ANY_PATH,
    default=Path("docs/figures"),
    show_default=True,
    metavar="DIR",
    help="Folder of figures.",
)
def report(results: Path, pages: tuple[Path, ...], figures: Path) -> None:
    """Write tables and figures from the results of all studies in DIR (default: results), a file each.

    Each table goes into a page between the comments <!-- table: NAME --> and <!-- end -->; the text around them is
    kept. A page that does not exist is made with all tables.
    """
    with _errors():
        from tools.study.report.page import write_pages

        named = pages or (Path("README.md"), Path("docs/results.md"), *sorted(Path("docs/results").glob("*.md")))
        written, unused = write_pages(results, named, figures)
    for path in written:
        click.echo(path)
    if unused:
        click.echo(f"tables that are on no page: {', '.join(unused)}", err=True)


class _Progress:
    """A line on standard error for each task that ends."""

    def __init__(self, total: int) -> None:
        self.done, self.total = 0, total

    def __call__(self, task: "Task", outcome: float | str) -> None:
        self.done += 1
        result = f"failed: {outcome}" if isinstance(outcome, str) else f"{outcome:.0f} s"
        click.echo(f"[{self.done}/{self.total}] {task}: {result}", err=True)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Print the errors of the package in one line."""
    from refiner.core.errors import RefinerError

    try:
        yield
    except RefinerError as error:
        raise click.ClickException(str(error)) from error


def _open(configuration: Path, out: Path | None, results: Path | None, device: str) -> tuple["Study", "Plan", "Place"]:
    """Return the study, its plan, and its paths."""
    from tools.study.configuration import read_study
    from tools.study.plan import Plan, target_digest
    from tools.study.tasks import Place

    study = read_study(configuration)
    target = study.target()
    folder = out or Path("runs") / "study" / study.name
    place = Place(study.name, target, folder, results or folder / "results.jsonl", device)
    return study, Plan(study, target_digest(target)), place


def _wanted(plan: "Plan", variants: str | None, seeds: str | None) -> Sequence["Task"]:
    """Return the tasks of the results that are asked for."""
    chosen = variants.split(",") if variants else None
    for name in chosen or []:
        if name not in plan.configuration.variants:
            known = ", ".join(plan.configuration.variants)
            raise click.BadParameter(f"{name} is not a variant; the study has {known}", param_hint="--variants")
    try:
        numbers = [int(seed) for seed in seeds.split(",")] if seeds else None
    except ValueError as error:
        raise click.BadParameter(f"{seeds!r} is not a list of numbers such as 0,1", param_hint="--seeds") from error
    return list(plan.results(chosen, numbers))


def _left(tasks: Sequence["Task"]) -> str:
    """Count the tasks of each stage."""
    counts = Counter(task.stage for task in tasks)
    return ", ".join(f"{count} {stage}" for stage, count in counts.items()) or "no task is missing"
