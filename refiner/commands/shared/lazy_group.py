"""A group of commands that are imported when they are called, so that ``--help`` answers at once."""

import importlib
from collections.abc import Mapping
from typing import Any

import click

from refiner.commands.shared.options import USAGE_STATUS
from refiner.commands.shared.reporting import one_line
from refiner.core.errors import RefinerError, UsageError


class _WrongUse(click.ClickException):
    exit_code = USAGE_STATUS


class LazyGroup(click.Group):
    """A group whose commands are imported on use.

    Args:
        table: one-line help of each command, by name. Its order is that of ``--help``.
        package: package of the commands. The command ``correct-bias`` is ``command`` in its module ``correct_bias``.
        settings: further arguments of :class:`click.Group`.
    """

    def __init__(self, *arguments: Any, table: Mapping[str, str], package: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.table, self.package = table, package

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the table."""
        return list(self.table)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import and return a command, or None if the table does not name it."""
        if name not in self.table:
            return None
        command: click.Command = importlib.import_module(f"{self.package}.{name.replace('-', '_')}").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.table.items()))

    def invoke(self, context: click.Context) -> Any:
        """Run a command. An error that the user can fix is printed on one line; a bug keeps its traceback.

        The status is that of wrong use for a :class:`UsageError`, however late it is found, else that of a failure.
        """
        try:
            return super().invoke(context)
        except RefinerError as error:
            kind = _WrongUse if isinstance(error, UsageError) else click.ClickException
            raise kind(one_line(str(error))) from error
