"""Configurations in YAML files: read, check and write, with errors that name the key and the nearest valid one."""

import difflib
import re
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
    values = _without_empty_sections(values, model)
    for override in overrides:
        _override(values, override, model)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        key, sentence = _sentence(error, model)
        raise ConfigurationError(f"{_origin(path, overrides, key, sentence)}: {sentence}") from error


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


def _without_empty_sections(values: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Drop the sections that hold nothing but comments, at any depth. Other values stay."""
    kept: dict[str, Any] = {}
    for key, value in values.items():
        section = _section(model, key)
        if section is None or not (value is None or isinstance(value, dict)):
            kept[key] = value
        elif value is not None:
            kept[key] = _without_empty_sections(value, section)
    return kept


def _section(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Return the class of a section of a model; None if the key is a value or unknown."""
    field = model.model_fields.get(key)
    annotation = field.annotation if field else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _takes_path(model: type[BaseModel], key: str) -> bool:
    """Return whether a key holds a path. Its text is not parsed: YAML would cut ``a #2`` and make 123 a number."""
    first, _, rest = key.partition(".")
    section, field = _section(model, first), model.model_fields.get(first)
    return _takes_path(section, rest) if section else field is not None and field.annotation == Path | None


def _origin(path: Path | None, overrides: Sequence[str], key: str, sentence: str) -> str:
    """Return the file or the overrides that set a wrong key, or whose settings do not fit together."""
    keys = [override.partition("=")[0] for override in overrides]
    # The last override of the key itself, or of a part of its value.
    for override, name in reversed([*zip(overrides, keys, strict=True)]):
        if f"{key}.".startswith(f"{name}."):
            return f"--set {override}"
    # A rule for a section or for several keys: the overrides in the section, and those that the sentence names.
    words = set(re.findall(r"\w+", sentence))
    named = [
        f"--set {override}"
        for override, name in zip(overrides, keys, strict=True)
        if name.rpartition(".")[2] in words or (key and name.startswith(f"{key}."))
    ]
    if not path:
        return " ".join(named) or "the command line"
    return " with ".join([str(path), *([" ".join(named)] if named else [])])


def _sentence(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """Return the key of the first problem that pydantic found, and a sentence with the value and the remedy."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return key, f"{key} is no setting; {_hint(key, problem['input'], model)}"
    if not key or problem["type"] == "value_error":
        return key, str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "model_type":
        return key, f"{key} is {problem['input']!r}, expected keys and values"
    message = str(problem["msg"])
    return key, f"{key} is {problem['input']!r}: {message[:1].lower()}{message[1:]}"


def _hint(key: str, value: Any, model: type[BaseModel]) -> str:
    """Return the setting that an unknown key probably means, or else the known keys of its section."""
    section, _, name = key.rpartition(".")
    known = dict(_known_keys(model))
    # Offer sections in place of a section, and values in place of a value.
    known = {other: holds for other, holds in known.items() if value is None or holds == isinstance(value, dict)}
    siblings = {other.rpartition(".")[2]: other for other in known if other.rpartition(".")[0] == section}
    elsewhere = {other.rpartition(".")[2]: other for other in reversed(known)}
    if name in elsewhere:
        return f"did you mean {elsewhere[name]}?"
    for candidates, cutoff in ((siblings, 0.6), (elsewhere, 0.8)):
        longer = [other for other in candidates if other.startswith(f"{name}_")]
        if near := longer or difflib.get_close_matches(name, candidates, n=1, cutoff=cutoff):
            return f"did you mean {candidates[near[0]]}?"
    kind = "sections" if isinstance(value, dict) else "keys"
    return f"known {kind}: {', '.join(siblings.values() or known)}"


def _known_keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Yield each key, and whether it is a section."""
    for name in model.model_fields:
        section = _section(model, name)
        yield prefix + name, section is not None
        if section:
            yield from _known_keys(section, f"{prefix}{name}.")
