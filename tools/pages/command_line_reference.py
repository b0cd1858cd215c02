"""Write docs/reference/command_line.md from the help texts of all commands.

Run it as ``python -m tools.pages.command_line_reference``.
"""

from collections.abc import Iterator
from pathlib import Path

import click

from refiner.commands import main as refiner_command
from refiner.core.files import write_text

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command_line.md"

WIDTH = 100
"""Width of the help texts, in characters."""

_INTRODUCTION = """\
# Command line

This page holds the text of `--help` for each command. It is generated from the source code.

| exit status | meaning |
| --- | --- |
| 0 | done |
| 1 | failed |
| 2 | wrong use |
| 3 | the verdict is *do not use*, and `--gate` was given |
| 4 | finished, but some inputs were rejected |
"""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Write the page."""
    write_text(PAGE, command_line_page())
    click.echo(PAGE)


def command_line_page() -> str:
    """Return the whole page as Markdown."""
    parts = [_INTRODUCTION]
    for name, text in help_texts(refiner_command, "refiner"):
        parts.append(f"## {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def help_texts(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Yield the full name and the help text of a command and of all its subcommands."""
    info_name = name.rpartition(" ")[2]
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, parent, info_name, **settings)
    yield name, "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    if isinstance(command, click.Group):
        for subname in command.list_commands(context):
            subcommand = command.get_command(context, subname)
            assert subcommand is not None
            yield from help_texts(subcommand, f"{name} {subname}", context)


if __name__ == "__main__":
    main()
