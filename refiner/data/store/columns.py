"""Typed columns of a store, made from the text cells of a label table and read back as the same text."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from refiner.data.labels.records import PAIRS

_PAIRED = {column: name for name, columns in PAIRS.items() for column in columns}

_MAX_DIMENSIONS = 8  # of the array in one cell; HDF5 allows 32 and NumPy 64

_FORMATS: dict[str, Callable[[float], str]] = {
    "integer": lambda value: str(int(value)),
    "float9": lambda value: f"{value:.9g}",
    "float": lambda value: repr(float(value)),
}
"""Functions from a number to its text; a column uses the first that reproduces every one of its cells."""


@dataclass(frozen=True)
class Column:
    """One label as it is stored.

    Attributes:
        name: name of the label.
        cells: format of its cells: ``pair``, ``array``, ``integer``, ``float9``, ``float`` or ``text``.
        shape: shape of one value; () for a number or text.
    """

    name: str
    cells: str
    shape: tuple[int, ...] = ()

    @property
    def is_text(self) -> bool:
        """True if values are text of any length."""
        return self.cells == "text"

    @property
    def dtype(self) -> Any:
        """Type of the HDF5 data set: text, int64 or float64."""
        return h5py.string_dtype() if self.is_text else np.int64 if self.cells == "integer" else np.float64

    def values(self, rows: Sequence[Mapping[str, str]]) -> Any:
        """Return the stored values for some rows of cells.

        Args:
            rows: cells by column; a missing cell becomes NaN or empty text.

        Returns:
            An array (len(rows), *shape), or a list of bytes for text.
        """
        # A pair is joined from two cells; NaN stands for a missing number.
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
    """Return the columns that can hold all cells of some rows, in order of appearance.

    Args:
        rows: cells by column; they are read one at a time and not kept.
    """
    guesses: dict[str, _Guess] = {}
    count = 0
    # Narrow down what each column can be, cell by cell.
    for row in rows:
        count += 1
        for name, text in row.items():
            if text:
                guesses.setdefault(_PAIRED.get(name, name), _Guess()).see(text, paired=name in _PAIRED)
    return [guess.column(name, count) for name, guess in guesses.items()]


class _Guess:
    """The formats that a column can have, given the cells seen so far."""

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
        self.formats = [name for name in self.formats if _reproduces(_FORMATS[name], text)]

    def column(self, name: str, count: int) -> Column:
        if self.paired:
            return Column(name, "pair", (2,))
        if name == "subject":  # names, which may look like numbers or lists
            return Column(name, "integer" if "integer" in self.formats and self.seen == count else "text")
        # Arrays of one shape are stored as an array; those of different shapes stay JSON text.
        shape = next(iter(self.shapes)) if len(self.shapes) == 1 else None
        if shape and 0 not in shape and len(shape) <= _MAX_DIMENSIONS:
            return Column(name, "array", shape)
        # No integer means "not known", so an integer column needs a cell in every row.
        formats = [name for name in self.formats if name != "integer" or self.seen == count]
        return Column(name, formats[0] if formats else "text")


def _array_shape(text: str) -> tuple[int, ...] | None:
    """The shape of the array in a cell; None if the cell holds other text."""
    if not text.startswith("["):
        return None
    try:
        return np.array(json.loads(text), float).shape
    except (ValueError, TypeError, RecursionError):
        return None


def _reproduces(format_number: Callable[[float], str], text: str) -> bool:
    try:
        value = float(text)
        return math.isfinite(value) and abs(value) < 2**53 and format_number(value) == text
    except ValueError:
        return False


def to_text(value: Any, cells: str) -> str:
    """Return the cell of a stored number or text; empty for NaN.

    Args:
        value: number, text or bytes.
        cells: format of the column, see :class:`Column`.
    """
    if cells == "text":
        return bytes(value).decode(errors="surrogateescape") if isinstance(value, bytes) else str(value)
    if isinstance(value, float | np.floating) and math.isnan(value):
        return ""
    return _FORMATS[cells](float(value))
