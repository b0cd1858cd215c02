"""Check of the order of arguments, which are all paths."""

from collections.abc import Sequence
from pathlib import Path

import click

from refiner.core.path_kinds import is_network, path_kind


def check_order(data: Sequence[Path], order: str) -> None:
    """Refuse an estimator or a run folder in the place of a data set.

    Args:
        data: the paths in the places of data sets.
        order: the right order of the arguments, for the message.

    Raises:
        click.UsageError: one of them is a network.
    """
    for path in data:
        if is_network(kind := path_kind(path)):
            raise click.UsageError(f"{path} is {kind}, but a data set is expected in its place; the order is: {order}")
