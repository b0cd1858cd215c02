"""Configurations in YAML files: read, check and write, with errors that name the key and the nearest valid one."""

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from refiner.core.errors import ConfigurationError
from refiner.core.files import read_regular
from refiner.core.path_kinds import path_kind

_EXPECTED = {
    "int_": "a whole number",
    "float_": "a number",
    "bool_": "true or false",
    "string_": "a text",
    "tuple_": "two numbers in brackets, as in [36, 60]",
    "list_": "a list in brackets",
    "dict_": "keys and values",
    "path_": "a path",
    "finite_number": "a finite number",
    "missing": "a value",
    "too_long": "fewer values",
    "too_short": "more values",
}
"""Expectation behind each kind of pydantic's errors, by the start of its name; other kinds state it themselves."""

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
        except OSError as error:
            raise ConfigurationError(
                f"{path} is {path_kind(path)}, not a YAML file; name a recipe or a YAML file"
            ) from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{path} is not a YAML file: it is not UTF-8 text") from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"{path} is not valid YAML{_place(error)}") from error
        if not isinstance(values, dict):
            raise ConfigurationError(f"{path} holds no keys and values; expected lines such as 'steps: 4000'")
    values = _without_empty_sections(values, model)
    for override in overrides:
        _override(values, override, model)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        key, sentence = _sentence(error, model)
        raise ConfigurationError(f"{_origin(path, overrides, key, sentence)}: {sentence}") from error


def _place(error: Exception) -> str:
    """Return the place and the kind of a mistake in YAML."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    return f": line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark and problem else ""


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
        value = text if _is_path(model, key, text) else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigurationError(f"the value of --set {override} is not valid YAML") from error
    # Sizes may be written as on the command line.
    if isinstance(value, str) and (size := re.fullmatch(r"(\d{1,5})x(\d{1,5})", value)) and _takes_size(model, key):
        value = [int(size[1]), int(size[2])]
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


def _takes_size(model: type[BaseModel], key: str) -> bool:
    """Return whether a key holds a height and a width."""
    field = _field(model, key)
    return field is not None and field.annotation in (tuple[int, int], tuple[int, int] | None)


def _field(model: type[BaseModel], key: str) -> FieldInfo | None:
    """Return the field of a key, in a section or not; None if the key is unknown."""
    first, _, rest = key.partition(".")
    section = _section(model, first)
    return _field(section, rest) if section else model.model_fields.get(first)


def _is_path(model: type[BaseModel], key: str, text: str) -> bool:
    """Return whether the value of a key is a path. It is not parsed: YAML would cut ``a #2`` and make 123 a number."""
    field = _field(model, key)
    if field is None or get_origin(field.annotation) is list:
        return False  # lists are YAML in brackets
    kinds = get_args(field.annotation)
    return Path in kinds and not (list[Path] in kinds and text.startswith("["))


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
    # Name the setting of a list or a pair, not the number of the entry.
    key = key if len(problem["loc"]) == 1 or not isinstance(problem["loc"][-1], int) else key.rpartition(".")[0]
    expected = next((text for kind, text in _EXPECTED.items() if problem["type"].startswith(kind)), None)
    if expected is None:
        expected = str(problem["msg"]).removeprefix("Input should be ")
        expected = f"a value {expected}" if expected.startswith(("greater", "less")) else expected
    return key, f"{key} is {problem['input']!r}, expected {expected}"


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
