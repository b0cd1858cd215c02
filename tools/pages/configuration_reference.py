"""Write docs/reference/configuration.md from the docstrings of the settings.

Run it as ``python -m tools.pages.configuration_reference``.
"""

import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from refiner.config.training import TrainingConfiguration
from refiner.core.files import write_text
from refiner.eyes.scene.parameters import EyeParameters
from refiner.gaze.config import GazeConfiguration

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"

CHAPTERS: dict[str, tuple[type[BaseModel], str]] = {
    "Training a refiner": (TrainingConfiguration, "`refiner train RECIPE_OR_FILE`"),
    "Training a gaze estimator": (GazeConfiguration, "`refiner gaze train RECIPE_OR_FILE`"),
    "Rendering eyes": (EyeParameters, "`refiner render OUT --config FILE`"),
}
"""Chapters of the page: the configuration, and the command that reads it."""

_INTRODUCTION = """\
# Configuration reference

Write these keys into a YAML file, or set one on the command line with `--set KEY=VALUE`. A key in a section is written
as `section.key`, as in `--set refiner.features=16`. Unknown keys and invalid combinations are refused. This page is
generated from the source code.
"""

_TYPES = {int: "integer", float: "number", bool: "true or false", str: "text", Path: "path", dict: "mapping"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Write the page."""
    write_text(PAGE, configuration_page())
    click.echo(PAGE)


def configuration_page() -> str:
    """Return the whole page as Markdown."""
    parts = [_INTRODUCTION]
    for title, (model, command) in CHAPTERS.items():
        parts.append(f"## {title}\n\n{command} reads these keys.\n")
        parts += [_section(name, section) for name, section in _sections(model)]
    return "\n".join(parts)


def _sections(model: type[BaseModel], name: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield a configuration and all sections within it, with their dotted names."""
    yield name, model
    for key, field in model.model_fields.items():
        if (section := _as_section(field)) is not None:
            yield from _sections(section, f"{name}.{key}".lstrip("."))


def _section(name: str, model: type[BaseModel]) -> str:
    """Return the heading, the docstring and the table of a section."""
    fields = {key: field for key, field in model.model_fields.items() if _as_section(field) is None}
    lines = []
    if name:
        summary = _prose((model.__doc__ or "").strip())
        lines += [f"### `{name}`", "", summary, ""]
    if not fields:
        return "\n".join(lines)
    lines += ["| key | default | values | meaning |", "| --- | --- | --- | --- |"]
    for key, field in fields.items():
        meaning = _cell(_prose(field.description or ""))
        lines.append(f"| `{key}` | {_code(_value(field))} | {_cell(_values(field))} | {meaning} |")
    return "\n".join([*lines, ""])


def _as_section(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is a section."""
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _value(field: FieldInfo) -> str:
    """Return a default as it is written in YAML."""
    default = field.get_default(call_default_factory=True)
    if default is None:
        return ""
    if isinstance(default, tuple):
        default = list(default)
    if isinstance(default, Path):
        default = str(default)
    return yaml.safe_dump(default, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def _values(field: FieldInfo) -> str:
    """Describe the values that a field takes: its type, its names or its bounds."""
    kind = _kind(field.annotation)
    bounds = []
    for constraint in field.metadata:
        for attribute, sign in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
            bound = getattr(constraint, attribute, None)
            if bound is not None:
                bounds.append(f"{sign} {bound:g}")
    return ", ".join([kind, *bounds])


def _kind(annotation: Any) -> str:
    """Return the words for a type."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is Literal:
        return ", ".join(_code(yaml.safe_dump(value).removesuffix("...\n").strip()) for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(argument) for argument in arguments if argument is not type(None))
    if origin is tuple:
        return f"{len(arguments)} {_kind(arguments[0])}s"
    if origin is list:
        return f"list of {_kind(arguments[0])}s"
    if origin is dict:
        return _TYPES[dict]
    return _TYPES.get(annotation, str(annotation))


def _prose(text: str) -> str:
    """Turn a docstring's markup into Markdown, on one line per paragraph."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    text = "\n\n".join(paragraphs)
    text = re.sub(r":(?:mod|func|class|meth|attr|data):`~?(.*?)`", r"`\1`", text)
    return text.replace("``", "`")


def _cell(text: str) -> str:
    """Escape what would end a cell of a table."""
    return text.replace("|", "\\|").replace("\n\n", "<br>")


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    main()
