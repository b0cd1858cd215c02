"""``refiner gaze evaluate``: test estimators on labelled images."""

from pathlib import Path

import click

from refiner.commands.gaze.arguments import check_order
from refiner.commands.gaze.rejected import report_rejected
from refiner.commands.gaze.text import evaluation_lines, evaluation_metrics
from refiner.commands.shared.options import ANY_PATH, EXISTING_PATH, device_option, json_option
from refiner.commands.shared.reporting import print_json, progress


@click.command()
@click.argument("estimators", type=EXISTING_PATH, nargs=-1, required=True, metavar="ESTIMATOR... DATA")
@click.option(
    "--ensemble", is_flag=True, help="Test the mean prediction of the estimators; the tables and plots are of it."
)
@click.option(
    "--cluster",
    metavar="COLUMN",
    help="Label column whose values are the clusters of the interval.  [default: subject; day if there is one subject]",
)
@click.option("--by", multiple=True, metavar="COLUMN", help="Add a table by this label column. May be repeated.")
@click.option("--plots", type=ANY_PATH, metavar="DIR", help="Write pitch.svg, yaw.svg and errors.svg to this folder.")
@device_option
@json_option
def command(
    estimators: tuple[Path, ...],
    ensemble: bool,
    cluster: str | None,
    by: tuple[str, ...],
    plots: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Test estimators on labelled images: angular error with a 95 % interval, baselines, and tables by label.

    ESTIMATOR is an estimator file or a run folder. The last argument is the data. The interval is over people if the
    labels name them. With several estimators, trained with different seeds, it is over people and seeds together.
    --ensemble tests their mean prediction. Of a run with co-teaching it tests all estimators; without it, the first.

    \b
    Examples:
      refiner gaze evaluate runs/gaze labelled_real
      refiner gaze evaluate runs/gaze-0 runs/gaze-1 runs/gaze-2 labelled_real --by eye --json
      refiner gaze evaluate runs/gaze-0 runs/gaze-1 runs/gaze-2 labelled_real --ensemble
    """
    # The last argument is the data set; all others are estimators.
    *paths, data = estimators
    if not paths:
        raise click.UsageError("name at least one estimator, and then the data: refiner gaze evaluate runs/gaze DATA")
    check_order([data], "ESTIMATOR... DATA")
    if plots is not None and plots.is_file():
        raise click.UsageError(f"--plots {plots} is a file; name a folder")
    from refiner.gaze.evaluation import evaluate_estimators
    from refiner.gaze.networks.file import member_paths
    from refiner.gaze.prediction import GazeEstimator

    # Test.
    if ensemble:
        paths = [file for path in paths for file in member_paths(path)]
    loaded = [GazeEstimator.load(path, device=device) for path in paths]
    with progress("predicting") as advance:
        test = evaluate_estimators(loaded, data, ensemble=ensemble, cluster=cluster, by=by, report=advance)

    # Report.
    if plots:
        from refiner.report.gaze_plots import write_plots

        for file in write_plots(plots, test):
            click.echo(f"wrote {file}", err=True)
    if as_json:
        print_json("gaze evaluate", **evaluation_metrics(test, paths, [estimator.digest for estimator in loaded], data))
    else:
        for line in evaluation_lines(test, paths):
            click.echo(line)
    report_rejected(test.rejected)
