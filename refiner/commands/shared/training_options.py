"""Options and first steps that ``refiner train`` and ``refiner gaze train`` share."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import BaseModel

from refiner.commands.shared.options import ANY_PATH, device_option, set_option
from refiner.config.recipes import Kind, find_recipe, list_recipes
from refiner.config.yaml_files import read_configuration, write_configuration

log = logging.getLogger(__name__)

Configuration = TypeVar("Configuration", bound=BaseModel)


def training_options(kind: Kind) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command the recipe argument and the options of every training.

    The command receives ``recipe``, ``run``, ``overrides``, ``device``, ``seed``, ``new`` and ``dry_run``.
    """

    def print_recipes(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
        if wanted:
            recipes = list_recipes(kind)
            width = max(map(len, recipes))
            for name, description in recipes.items():
                click.echo(f"{name:{width}}  {description}")
            context.exit()

    options = (
        click.argument("recipe", metavar="RECIPE_OR_FILE"),
        click.option("--run", type=ANY_PATH, metavar="DIR", help="Run folder.  [default: runs/RECIPE]"),
        set_option,
        device_option,
        click.option("--seed", type=click.IntRange(0), help="Short for --set seed=SEED."),
        click.option("--new", is_flag=True, help="Delete the existing run and start again."),
        click.option("--dry-run", is_flag=True, help="Print the resolved configuration and stop."),
        click.option(
            "--list", is_flag=True, is_eager=True, expose_value=False, callback=print_recipes, help="List the recipes."
        ),
    )

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        # The last decorator comes first in the help, so apply them in reverse.
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def read_recipe(
    recipe: str,
    kind: Kind,
    model: type[Configuration],
    *,
    overrides: Sequence[str],
    seed: int | None,
    values: dict[str, Any] | None = None,
) -> Configuration:
    """Read a recipe or YAML file with its overrides.

    Args:
        recipe: name of a recipe, or path of a YAML file.
        kind: kind of the recipe.
        model: the configuration class.
        overrides: values of ``--set``.
        seed: value of ``--seed``.
        values: values of options that stand for keys, by key; None where an option was not given.

    Raises:
        ConfigurationError: there is no such recipe or file, or a key or value is wrong.
    """
    # Options such as --seed stand for keys; they come last and win over --set.
    given = [f"{key}={value}" for key, value in {**(values or {}), "seed": seed}.items() if value is not None]
    return read_configuration(find_recipe(recipe, kind), model, overrides=(*overrides, *given))


def print_configuration(configuration: BaseModel, *, dry_run: bool) -> None:
    """Print the resolved configuration to standard output for a dry run, else to the log."""
    text = write_configuration(configuration)
    if dry_run:
        click.echo(text, nl=False)
        return
    for line in text.splitlines():
        log.info("%s", line)


def run_folder(run: Path | None, recipe: str) -> Path:
    """Return the run folder: the one given, else one in ``runs`` named after the recipe."""
    return run or Path("runs") / Path(recipe).stem
