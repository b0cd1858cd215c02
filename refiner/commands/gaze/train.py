"""``refiner gaze train``: train a gaze estimator, or resume a run."""

import json
import logging
from pathlib import Path

import click

from refiner.commands.shared.options import EXISTING_PATH
from refiner.commands.shared.reporting import progress
from refiner.commands.shared.training_options import print_configuration, read_recipe, run_folder, training_options

log = logging.getLogger(__name__)


@click.command()
@training_options("gaze")
@click.option(
    "--train",
    "training_data",
    type=EXISTING_PATH,
    multiple=True,
    metavar="DATA",
    help="Images labelled with gaze: a folder or a store (.h5). May be repeated.",
)
@click.option(
    "--unlabelled",
    type=EXISTING_PATH,
    multiple=True,
    metavar="DATA",
    help="Real images without labels, for co-teaching of several estimators. May be repeated.",
)
def command(
    recipe: str,
    training_data: tuple[Path, ...],
    unlabelled: tuple[Path, ...],
    run: Path | None,
    overrides: tuple[str, ...],
    device: str,
    seed: int | None,
    new: bool,
    dry_run: bool,
) -> None:
    """Train a gaze estimator on labelled images, or resume a run.

    RECIPE_OR_FILE is the name of a recipe (see --list) or a YAML file. The run folder receives metrics, checkpoints and
    estimator.safetensors. The same command resumes an interrupted run and, on the same kind of CPU, ends with the
    same bits. A finished run continues if --set steps=N asks for more steps.

    With --unlabelled, several estimators are trained together, and learn from each other on these images after a
    warm-up. The run folder receives estimator.safetensors, estimator_2.safetensors and so on; evaluate and predict
    take all of them with --ensemble.

    \b
    Examples:
      refiner gaze train gaze --train refined
      refiner gaze train gaze --train renders --train refined --seed 1 --run runs/gaze-1
      refiner gaze train gaze --train renders --unlabelled real --run runs/co-taught
    """
    from refiner.gaze.config import GazeConfiguration

    # Resolve the configuration from the recipe and the options.
    values = {"data.train": _listed(training_data), "data.unlabelled": _listed(unlabelled)}
    configuration = read_recipe(recipe, "gaze", GazeConfiguration, overrides=overrides, seed=seed, values=values)
    if dry_run and (configuration.augmentation.transforms or configuration.augmentation.refiner):
        from refiner.gaze.training.batches import build_augmentation
        from refiner.gaze.training.refining import load_batch_refiner

        build_augmentation(configuration)
        load_batch_refiner(configuration)
    print_configuration(configuration, dry_run=dry_run)
    if dry_run:
        return
    # Import the slow parts only now, so that a dry run answers at once.
    from refiner.core.devices import keep_freed_memory
    from refiner.gaze.networks.file import load_estimator
    from refiner.gaze.training.train import train_estimator

    keep_freed_memory()
    with progress("training") as advance:

        def report(step: int, steps: int, means: dict[str, float]) -> None:
            shown = {"error_degrees": "error", "held_out_degrees": "held out", "spread_degrees": "spread"}
            note = " ".join(f"{short} {means[name]:.2f}" for name, short in shown.items() if name in means)
            advance(step, steps, note)

        folder = run_folder(run, recipe)
        file = train_estimator(configuration, folder, device=device, new=new, report=report)
    summary = load_estimator(file).metadata["training"]
    log.info("%s holds the weights of step %s of %s", file, f"{summary['step']:,}", f"{summary['steps']:,}")
    click.echo(file)


def _listed(paths: tuple[Path, ...]) -> str | None:
    """Return paths as a list in JSON, which is a list in YAML, too; None if there are none."""
    return json.dumps([str(path) for path in paths], ensure_ascii=False) if paths else None
