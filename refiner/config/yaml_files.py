"""Configurations in YAML files: read, check and write, with errors that name the key and the nearest valid one."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from refiner.core.errors import ConfigurationError
from refiner.core.files import read_regular

Model = TypeVar("Model", bound=BaseModel)


def read_configuration(path: Path | None, model: type[Model], *, overrides: Sequence[str] = ()) -> Model:
    """Read a YAML file and check it against a configuration class.

    Args:
        path: the file; None takes the defaults.
        model: the configuration class.
        overrides: ``section.key=value`` texts, the value in YAML; later ones win.

    Raises:
        ConfigurationError: the file is missing or is not YAML, or a key or value is wrong.
    """
    source = str(path) if path else "the command line"
    values: Any = {}
    if path:
        try:
            values = yaml.safe_load(read_regular(path).decode()) or {}
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} cannot be read ({error}); name a YAML file") from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"{path} is not valid YAML ({' '.join(str(error).split())})") from error
        if not isinstance(values, dict):
            raise ConfigurationError(f"{path} holds a {type(values).__name__}, expected keys and values")
    values = {key: value for key, value in values.items() if value is not None}  # sections with nothing but comments
    for override in overrides:
        _override(values, override, model)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(f"{source}: {_sentence(error, model)}") from error


def write_configuration(configuration: BaseModel) -> str:
    """Return the whole configuration as YAML, with defaults."""
    return yaml.safe_dump(configuration.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def changed_keys(old: BaseModel, new: BaseModel) -> list[str]:
    """Return ``section.key: old -> new`` for each value in which two configurations differ."""
    before, after = dict(_leaves(old.model_dump(mode="json"))), dict(_leaves(new.model_dump(mode="json")))
    keys = [*before, *(key for key in after if key not in before)]
    return [f"{key}: {before.get(key)} -> {after.get(key)}" for key in keys if before.get(key) != after.get(key)]


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _override(values: dict[str, Any], override: str, model: type[BaseModel]) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip("."):
        raise ConfigurationError(f"--set {override} is incomplete; expected section.key=value")
    try:
        value = text if _takes_path(model, key) else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigurationError(f"the value of --set {override} is not valid YAML") from error
    *sections, name = key.split(".")
    for section in sections:
        if values.get(section) is None:
            values[section] = {}
        values = values[section]
        if not isinstance(values, dict):
            raise ConfigurationError(f"--set {override} is wrong: {section} is a value, not a section")
    values[name] = value


def _takes_path(model: type[BaseModel], key: str) -> bool:
    """Return whether a key holds a path. Its text is not parsed: YAML would cut ``a #2`` and make 123 a number."""
    section, _, rest = key.partition(".")
    field = model.model_fields.get(section)
    if field is None:
        return False
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        return _takes_path(field.annotation, rest)
    return field.annotation == Path | None


def _sentence(error: ValidationError, model: type[BaseModel]) -> str:
    """Describe the first problem that pydantic found, in one sentence with the key, the value and the remedy."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model)
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        last = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
        hint = (
            f"did you mean {(near or last)[0]}?" if near or last else f"known keys: {', '.join(_siblings(key, known))}"
        )
        return f"unknown key {key}; {hint}"
    if not key or problem["type"] == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    message = str(problem["msg"])
    return f"{key} is {problem['input']!r}: {message[:1].lower()}{message[1:]}"


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _known_keys(field.annotation, f"{prefix}{name}.")
    return keys


def _siblings(key: str, known: Sequence[str]) -> list[str]:
    section = key.rpartition(".")[0]
    return [name for name in known if name.rpartition(".")[0] == section]
