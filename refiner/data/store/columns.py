"""Typed columns of a store from the text cells of a label table, and back to the same text."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from refiner.data.labels.records import PAIRS

_PAIRED = {column: name for name, columns in PAIRS.items() for column in columns}

_MAX_DIMENSIONS = 8  # of one array; HDF5 has 32 and numpy 64

_FORMATS: dict[str, Callable[[float], str]] = {
    "integer": lambda value: str(int(value)),
    "float9": lambda value: f"{value:.9g}",
    "float": lambda value: repr(float(value)),
}
"""How the text of a number is made; a column takes the first that gives back every one of its cells."""


@dataclass(frozen=True)
class Column:
    """One label as it stands in a store.

    Attributes:
        name: of the label.
        cells: how a value becomes text: ``pair``, ``array``, ``integer``, ``float9``, ``float`` or ``text``.
        shape: of one value; () for a number or text.
    """

    name: str
    cells: str
    shape: tuple[int, ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether values are text of any length."""
        return self.cells == "text"

    @property
    def dtype(self) -> Any:
        """Type of the data set."""
        return h5py.string_dtype() if self.is_text else np.int64 if self.cells == "integer" else np.float64

    def values(self, rows: Sequence[Mapping[str, str]]) -> Any:
        """What is stored for some rows of cells; NaN or empty text where a row has none."""
        if self.cells == "pair":
            return np.array([[float(row.get(part) or math.nan) for part in PAIRS[self.name]] for row in rows])
        texts = [row.get(self.name, "") for row in rows]
        if self.is_text:
            return [text.encode(errors="surrogateescape") for text in texts]
        if self.cells == "array":
            missing = np.full(self.shape, math.nan)
            return np.stack([np.array(json.loads(text), float) if text else missing for text in texts])
        return np.array([float(text or math.nan) for text in texts]).astype(self.dtype)


def find_columns(rows: Iterable[Mapping[str, str]]) -> list[Column]:
    """The columns that hold all cells of some rows, in order of appearance; looks at one row at a time."""
    guesses: dict[str, _Guess] = {}
    count = 0
    for row in rows:
        count += 1
        for name, text in row.items():
            if text:
                guesses.setdefault(_PAIRED.get(name, name), _Guess()).see(text, paired=name in _PAIRED)
    return [guess.column(name, count) for name, guess in guesses.items()]


class _Guess:
    """What a column can be, given the cells seen so far."""

    def __init__(self) -> None:
        self.seen = 0
        self.paired = False
        self.shapes: set[tuple[int, ...] | None] = set()
        self.formats = list(_FORMATS)

    def see(self, text: str, *, paired: bool) -> None:
        self.seen += 1
        self.paired |= paired
        if paired:
            return
        self.shapes.add(_array_shape(text))
        self.formats = [name for name in self.formats if _gives_back(_FORMATS[name], text)]

    def column(self, name: str, count: int) -> Column:
        if self.paired:
            return Column(name, "pair", (2,))
        shape = next(iter(self.shapes)) if len(self.shapes) == 1 else None
        if shape and 0 not in shape and len(shape) <= _MAX_DIMENSIONS:
            return Column(name, "array", shape)
        # An integer has no value that means "not known".
        formats = [form for form in self.formats if form != "integer" or self.seen == count]
        return Column(name, formats[0] if formats else "text")


def _array_shape(text: str) -> tuple[int, ...] | None:
    """The shape of the numbers in a cell; None where it is other text, even if it begins like a list."""
    if not text.startswith("["):
        return None
    try:
        return np.array(json.loads(text), float).shape
    except (ValueError, TypeError, RecursionError):
        return None


def _gives_back(form: Callable[[float], str], text: str) -> bool:
    try:
        value = float(text)
        return math.isfinite(value) and abs(value) < 2**53 and form(value) == text
    except ValueError:
        return False


def to_text(value: Any, cells: str) -> str:
    """The cell of a stored number or text; empty where there is none."""
    if cells == "text":
        return bytes(value).decode(errors="surrogateescape") if isinstance(value, bytes) else str(value)
    if isinstance(value, float | np.floating) and math.isnan(value):
        return ""
    return _FORMATS[cells](float(value))
