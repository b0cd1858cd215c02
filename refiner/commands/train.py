"""``refiner train``: train a refiner, or go on where it was stopped."""

import logging
from pathlib import Path

import click

from refiner.commands.options import ANY_PATH, REFINER_PATH, device_option, set_option
from refiner.commands.reporting import progress

log = logging.getLogger(__name__)


@click.command()
@click.argument("configuration", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="CONFIG")
@click.option("--run", type=ANY_PATH, metavar="DIR", help="Run folder.  [default: runs/<name of CONFIG>]")
@set_option
@device_option
@click.option("--seed", type=click.IntRange(0), help="Short for --set seed=SEED.")
@click.option("--new", is_flag=True, help="Throw away the run that is there, and start over.")
@click.option("--from", "start_from", type=REFINER_PATH, metavar="FILE", help="Start from another refiner's weights.")
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration, and stop.")
def command(
    configuration: Path,
    run: Path | None,
    overrides: tuple[str, ...],
    device: str,
    seed: int | None,
    new: bool,
    start_from: Path | None,
    dry_run: bool,
) -> None:
    """Train a refiner, or go on where it was stopped.

    CONFIG is a YAML file; configs/ holds some to begin with. Everything is written to the run folder: metrics,
    sample sheets, checkpoints and refiner.safetensors. The same command again goes on where the run was stopped,
    to the same bits.

    \b
    Example:
      refiner train configs/eyes.yaml --set data.synthetic=renders --set data.real=photographs
    """
    from refiner.config.training import TrainingConfiguration
    from refiner.config.yaml_files import read_configuration, write_configuration

    if seed is not None:
        overrides = (*overrides, f"seed={seed}")
    resolved = read_configuration(configuration, TrainingConfiguration, overrides=overrides)
    if dry_run:
        click.echo(write_configuration(resolved), nl=False)
        return
    for line in write_configuration(resolved).splitlines():
        log.info("%s", line)
    from refiner.runs.distributed import end_at_once, is_main_process
    from refiner.training.loop import train

    with progress("training") as advance:

        def report(step: int, steps: int, means: dict[str, float]) -> None:
            shown = {"change": "change", "accuracy_refined": "D refined", "accuracy_real": "D real"}
            note = " ".join(f"{short} {means[name]:.3f}" for name, short in shown.items() if name in means)
            advance(step, steps, note)

        folder = run or Path("runs") / configuration.stem
        file = train(resolved, folder, device=device, new=new, start_from=start_from, report=report)
    if is_main_process():
        click.echo(file)
    end_at_once(0)
