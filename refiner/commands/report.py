"""``refiner report``: an HTML report on a refiner, and a visual Turing test."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from refiner.commands.shared.evaluation_options import evaluation_options
from refiner.commands.shared.options import ANY_PATH, EXISTING_PATH, REFINER_PATH
from refiner.commands.shared.reporting import progress

if TYPE_CHECKING:
    from refiner.evaluation.evaluate import Settings


@click.command()
@click.argument("run", type=REFINER_PATH, metavar="RUN")
@click.option("--out", type=ANY_PATH, metavar="DIR", help="Folder of the pages.  [default: RUN]")
@click.option("--synthetic", type=EXISTING_PATH, metavar="DATA", help="Renders.  [default: data.synthetic of the run]")
@click.option("--real", type=EXISTING_PATH, metavar="DATA", help="Real images.  [default: data.real of the run]")
@evaluation_options
@click.option("--trials", type=click.IntRange(2), default=100, show_default=True, help="Guesses in the Turing test.")
def command(
    run: Path,
    out: Path | None,
    synthetic: Path | None,
    real: Path | None,
    trials: int,
    settings: "Settings",
) -> None:
    """Write report.html and turing.html, two self-contained pages.

    The report shows the verdict, renders before and after refining with their labels, the objects and the images with
    the largest label drift, objects of each class, random images, all metrics of ``refiner evaluate``, training curves
    and settings. The second page is a visual Turing test: people guess which pictures are photographs.

    \b
    Examples:
      refiner report runs/eyes
      refiner report demo --synthetic renders --real real --out report
    """
    from refiner.report.writing import report_on

    with progress("evaluating") as advance:
        pages = report_on(
            run,
            out=out,
            synthetic=synthetic,
            real=real,
            settings=settings,
            trials=trials,
            report=lambda stage, done, total: advance(done, total, stage),
        )
    for page in pages:
        click.echo(page)
