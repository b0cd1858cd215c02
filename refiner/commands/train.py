"""``refiner train``: train a refiner, or resume a run."""

import json
import logging
from pathlib import Path
from typing import Any

import click

from refiner.commands.shared.options import EXISTING_PATH, REFINER_PATH, exclude_option, include_option
from refiner.commands.shared.reporting import progress
from refiner.commands.shared.training_options import print_configuration, read_recipe, run_folder, training_options

log = logging.getLogger(__name__)


@click.command()
@click.option("--synthetic", type=EXISTING_PATH, metavar="DATA", help="Renders: a folder or a store (.h5).")
@click.option("--real", type=EXISTING_PATH, metavar="DATA", help="Unlabelled real images: a folder or a store (.h5).")
@include_option
@exclude_option
@training_options("train")
@click.option("--from", "start_from", type=REFINER_PATH, metavar="FILE", help="Start from another refiner's weights.")
def command(
    recipe: str,
    synthetic: Path | None,
    real: Path | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    run: Path | None,
    overrides: tuple[str, ...],
    device: str,
    seed: int | None,
    new: bool,
    start_from: Path | None,
    dry_run: bool,
) -> None:
    """Train a refiner, or resume a run.

    RECIPE_OR_FILE is the name of a recipe (see --list) or a YAML file. The run folder receives metrics, sample sheets,
    checkpoints and refiner.safetensors. The same command resumes an interrupted run and, on the same kind of
    CPU, ends with the same bits. A finished run continues if --set steps=N asks for more steps.

    Folders may hold annotations of any kind, such as COCO, YOLO or masks. Label images are never used as images.

    \b
    Examples:
      refiner train eyes --synthetic renders --real real
      refiner train my.yaml --run runs/mine --set batch_size=32
    """
    from refiner.config.training import TrainingConfiguration

    # Resolve the configuration from the recipe and the options.
    values: dict[str, Any] = {"data.synthetic": synthetic, "data.real": real}
    patterns = {"data.include": include, "data.exclude": exclude}
    values |= {key: json.dumps(list(globs)) for key, globs in patterns.items() if globs}
    configuration = read_recipe(recipe, "train", TrainingConfiguration, overrides=overrides, seed=seed, values=values)
    if dry_run and (configuration.augmentation.synthetic or configuration.augmentation.real):
        from refiner.training.inputs import check_augmentations

        check_augmentations(configuration)
    print_configuration(configuration, dry_run=dry_run)
    if dry_run:
        return
    # Import the slow parts only now, so that a dry run answers at once.
    from refiner.core.devices import keep_freed_memory
    from refiner.core.processes import is_main_process
    from refiner.models.files.refiner_file import kept_step, load_refiner
    from refiner.runs.distributed import end_at_once
    from refiner.training.train import train

    keep_freed_memory()
    with progress("training") as advance:

        def report(step: int, steps: int, means: dict[str, float]) -> None:
            shown = {"change": "change", "accuracy_refined": "D refined", "accuracy_real": "D real"}
            note = " ".join(f"{short} {means[name]:.3f}" for name, short in shown.items() if name in means)
            advance(step, steps, note)

        folder = run_folder(run, recipe)
        file = train(configuration, folder, device=device, new=new, start_from=start_from, report=report)
    # With several processes, only one prints the file.
    if is_main_process():
        if not configuration.fits_statistics:
            log.info("%s holds the weights of %s", file, kept_step(load_refiner(file).metadata["training"]))
        click.echo(file)
    end_at_once(0)
