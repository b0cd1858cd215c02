"""Values of a Hugging Face ImageFolder's columns as cells of a table, and back without a change of value or type.

Labels travel as text, see :mod:`refiner.data.labels.records`, so that the number 5 and the text "5" would look alike.
Each column therefore has a kind, which is found from all its values and kept with the data set.
"""

import json
import math
import re
from typing import Any, Literal

import numpy as np

Kind = Literal["text", "number", "bool", "array", "integers", "json", "null", "cell", "cells", "dense cells", "plain"]
"""Form in which a column is written as cells.

``text``: as it is, or as a JSON string if it is empty or begins like JSON. ``number`` and ``bool``: as JSON.
``array``: regular lists of numbers; ``integers``: the same, all whole. ``json``: anything else, as JSON. ``null``:
nothing but null. Columns of CSV files are ``cell``, text without quotation, ``cells``, lists of numbers as JSON, or
``dense cells``, the same without spaces. ``plain`` is text that came in another format.
"""

_LARGEST = 10**15
"""Largest whole number in a list: below it, no reader of a cell takes a number for an inexact one."""

_LARGEST_DEPTH = 8

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)


class KindFinder:
    """Finds the kind of a column from all its values.

    Args:
        is_csv: the values are the texts of a CSV file.
    """

    def __init__(self, *, is_csv: bool = False) -> None:
        self._is_csv = is_csv
        self._seen: set[str] = set()
        self._has_fractions = False
        self._styles: list[Kind] = ["cells", "dense cells"]

    def see(self, value: Any) -> None:
        """Look at one value."""
        if value is None:
            return
        if self._is_csv:
            self._see_cell(value)
        elif isinstance(value, str):
            self._seen.add("text")
        elif isinstance(value, bool):
            self._seen.add("bool")
        elif isinstance(value, int | float):
            self._seen.add("number")
        elif isinstance(value, list) and is_regular(value):
            self._seen.add("array")
            self._has_fractions = self._has_fractions or not _all_integers(value)
        else:
            self._seen.add("json")

    def _see_cell(self, text: str) -> None:
        if not text.startswith("["):
            self._seen.add("cell")
            return
        value = parse_list(text)
        self._seen.add("cell" if value is None else "cells")
        if value is not None:
            self._styles = [style for style in self._styles if _list_text(value, style) == text]

    @property
    def kind(self) -> Kind:
        """The kind of the column."""
        if len(self._seen) > 1:
            return "cell" if self._is_csv else "json"
        kind = next(iter(self._seen), "cell" if self._is_csv else "null")
        if kind == "cells":
            return self._styles[0] if self._styles else "cells"
        if kind == "array" and not self._has_fractions:
            return "integers"
        return kind  # type: ignore[return-value]


def is_regular(value: list[Any]) -> bool:
    """Return whether a list is an array of finite numbers that a cell of a table restores exactly."""
    numbers, depth = [value], 0
    while numbers and all(isinstance(each, list) for each in numbers):
        if len({len(each) for each in numbers}) > 1:
            return False
        numbers, depth = [part for each in numbers for part in each], depth + 1
    return depth <= _LARGEST_DEPTH and all(
        isinstance(each, int | float) and not isinstance(each, bool) and math.isfinite(each) and abs(each) < _LARGEST
        for each in numbers
    )


def parse_list(text: str) -> list[Any] | None:
    """Return the array of numbers in a text; None if it holds something else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and is_regular(value) else None


def _all_integers(value: Any) -> bool:
    return all(map(_all_integers, value)) if isinstance(value, list) else isinstance(value, int)


def encode(value: Any, kind: Kind) -> str:
    """Return a value of a column as a cell; an empty text for null."""
    if value is None:
        return ""
    if kind in ("cell", "cells", "dense cells"):
        # A text that begins like a list, in a column of other texts, must not be taken for a list.
        return json.dumps(value, ensure_ascii=False) if kind == "cell" and _needs_quotes(value) else str(value)
    if kind == "text":
        return json.dumps(value, ensure_ascii=False) if not value or _needs_quotes(value) else str(value)
    text = json.dumps(value, ensure_ascii=False)
    # Behind a space, a list is no array of numbers.
    return f" {text}" if kind == "json" and text[0] in "[{" else text


def _needs_quotes(text: str) -> bool:
    return text.startswith(("[", '"'))


def decode(cell: str, kind: Kind) -> Any:
    """Return the value of a cell from :func:`encode`, or from numbers that have changed since.

    Raises:
        ValueError: the cell is not of this kind.
    """
    if not cell or kind == "null":
        return None
    if kind == "plain":
        return cell
    if kind in ("text", "cell"):
        return json.loads(cell) if cell.startswith('"') else cell
    if kind in ("cells", "dense cells"):
        value = parse_list(cell)
        return cell if value is None else _list_text(value, kind)
    value = json.loads(cell)
    if kind == "bool":
        if value not in (True, False, 0, 1):
            raise ValueError(f"{cell} is neither true nor false")
        return bool(value)
    if kind == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"{cell} is not a number")
    if kind in ("array", "integers") and not isinstance(value, list):
        raise ValueError(f"{cell} is not a list")
    return to_integers(value) if kind == "integers" else value


def to_integers(value: Any) -> Any:
    """Return a list of numbers with whole numbers as integers, if all of them are whole; else the list itself."""
    array = np.array(value, float)
    return array.astype(int).tolist() if array.size and (array % 1 == 0).all() else value


def _list_text(value: list[Any], style: str) -> str:
    """Return a list of numbers as the text of a CSV cell; whole numbers are written without a decimal point."""
    separators = (",", ":") if style == "dense cells" else (", ", ": ")
    return json.dumps(to_integers(value), separators=separators)


class KindGuess:
    """Guess of the kind of a column of labels that came in another format, from all its cells."""

    def __init__(self) -> None:
        self._kinds: set[Kind] = set()

    def see(self, cell: str) -> None:
        """Look at one cell that is not empty."""
        if cell.startswith("["):
            self._kinds.add("array")
        else:
            is_number = _JSON_NUMBER.fullmatch(cell) and math.isfinite(float(cell))
            self._kinds.add("number" if is_number else "plain")

    @property
    def kind(self) -> Kind:
        """The kind of the column."""
        return next(iter(self._kinds)) if len(self._kinds) == 1 else "plain"
