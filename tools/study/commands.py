"""Train on synthetic eyes, test on real ones: arms x seeds, and the tables and figures of what came out.

    python tools/study.py run configs/study/short.yaml --out runs/study/short
    python tools/study.py list configs/study/short.yaml
    python tools/study.py report docs/results

``run`` goes on where it was stopped, however it was stopped; a result that is finished is not computed again. Every
product is known by all that it follows from (configuration, renderer's ranges, labels of the target), so that changed
settings make new ones. The package must be installed. Exit status 1: something failed.
"""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tools.study.configuration import Study
    from tools.study.plan import Plan
    from tools.study.tasks import Place, Task

CONFIGURATION = click.argument(
    "configuration", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="CONFIG"
)
OUT = click.option("--out", type=click.Path(path_type=Path), help="Products and models.  [default: runs/study/NAME]")
RESULTS = click.option("--results", type=click.Path(path_type=Path), help="Results.  [default: OUT/results]")
VARIANTS = click.option("--variants", metavar="A,B", help="These arms alone.")
SEEDS = click.option("--seeds", metavar="0,1", help="These seeds, for every arm, instead of those of CONFIG.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train gaze estimators on renders, adapted in many ways, and test them on photographs."""


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
    """Do what is left of a study, seed by seed; prints where the results are."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the workers
    with _errors():
        from refiner.core.environment import processor
        from refiner.core.files import locked
        from tools.study.results import is_finished, write_overview
        from tools.study.schedule import run_tasks
        from tools.study.tasks import missing_tasks

        study, plan, place = _open(configuration, out, results, device)
        wanted = _wanted(plan, variants, seeds)
        count = processor()["cores"] if workers is None else workers
        with locked(place.out / "lock", refusal=f"{place.out}: another process works there; wait for it"):
            write_overview(study, plan, place.results)
            tasks = missing_tasks(wanted, lambda task: is_finished(task, place))
            progress = _Progress(len(tasks))
            click.echo(f"{len(wanted)} results wanted, {_left(tasks)}", err=True)
            failures = run_tasks(tasks, place, workers=count, report=progress)
    if failures:
        raise click.ClickException(
            f"{failures} of {len(tasks)} tasks failed or could not be begun; the others are done"
        )
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
    """Say what a study would do, and what of it is finished."""
    with _errors():
        from tools.study.results import is_finished
        from tools.study.tasks import missing_tasks

        _, plan, place = _open(configuration, out, results, "cpu")
        wanted = _wanted(plan, variants, seeds)
        table: dict[tuple[str, str], list[str]] = {}
        for task in wanted:
            mark = "" if is_finished(task, place) else "?"
            key = task.settings["variant"], task.settings["protocol"]
            table.setdefault(key, []).append(f"{task.settings['seed']}{mark}")
        for (variant, protocol), done in table.items():
            click.echo(f"{variant:32} {protocol:14} {' '.join(done)}")
        tasks = missing_tasks(wanted, lambda task: is_finished(task, place))
        click.echo(f"seeds with a question mark are to be done: {_left(tasks)}")


@main.command()
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--page", type=click.Path(path_type=Path), help="Where the tables go.  [default: RESULTS.md beside it]")
def report(results: Path, page: Path | None) -> None:
    """Write tables and figures from the results of one or several studies, a folder each below RESULTS.

    Each table goes into the page between the comments <!-- table: NAME --> and <!-- end -->; what stands around them
    is left as it is. Figures go into the folders of the studies.
    """
    with _errors():
        from tools.study.report.page import write_page

        written, unused = write_page(results, page or results.with_name(f"{results.name}.md"))
    for path in written:
        click.echo(path)
    if unused:
        click.echo(f"tables that have no place on the page: {', '.join(unused)}", err=True)


class _Progress:
    """A line on standard error for each task that ends."""

    def __init__(self, total: int) -> None:
        self.done, self.total = 0, total

    def __call__(self, task: "Task", outcome: float | str) -> None:
        self.done += 1
        said = f"failed: {outcome}" if isinstance(outcome, str) else f"{outcome:.0f} s"
        click.echo(f"[{self.done}/{self.total}] {task}: {said}", err=True)


@contextlib.contextmanager
def _errors() -> Any:
    """What a user can mend is one line."""
    from refiner.core.errors import RefinerError

    try:
        yield
    except RefinerError as error:
        raise click.ClickException(str(error)) from error


def _open(configuration: Path, out: Path | None, results: Path | None, device: str) -> tuple["Study", "Plan", "Place"]:
    """The study, its tasks, and where it works."""
    from tools.study.configuration import read_study
    from tools.study.plan import Plan, target_digest
    from tools.study.tasks import Place

    study = read_study(configuration)
    target = study.target()
    folder = out or Path("runs") / "study" / study.name
    place = Place(study.name, study.digest(), target, folder, results or folder / "results", device)
    return study, Plan(study, target_digest(target)), place


def _wanted(plan: "Plan", variants: str | None, seeds: str | None) -> Sequence["Task"]:
    """The results that are asked for."""
    chosen = variants.split(",") if variants else None
    for name in chosen or []:
        if name not in plan.configuration.variants:
            known = ", ".join(plan.configuration.variants)
            raise click.BadParameter(f"{name} is no arm; known: {known}", param_hint="--variants")
    try:
        numbers = [int(seed) for seed in seeds.split(",")] if seeds else None
    except ValueError as error:
        raise click.BadParameter(f"{seeds!r}, expected numbers as in 0,1", param_hint="--seeds") from error
    return list(plan.results(chosen, numbers))


def _left(tasks: Sequence["Task"]) -> str:
    """How many tasks of each stage."""
    counts = Counter(task.stage for task in tasks)
    return ", ".join(f"{count} {stage}" for stage, count in counts.items()) or "nothing left to do"


if __name__ == "__main__":
    main()
