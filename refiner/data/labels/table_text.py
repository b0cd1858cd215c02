"""Text of a label table as people write it: its encoding, its delimiter, the names of its columns, its decimal sign."""

import codecs
import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from refiner.core.errors import DataError
from refiner.data.labels.records import PAIRS

DELIMITERS = (",", ";", "\t")

FILE_COLUMNS = (
    *("file", "filename", "file_name", "filepath", "file_path"),
    *("image", "imagename", "image_name", "image_file", "image_path", "img", "path"),
)
"""Names of the column of image paths; the first is what we write, the others are read if only one of them is there."""

_DEGREES = {
    column.removesuffix("_rad") + "_deg": column
    for columns in PAIRS.values()
    for column in columns
    if column.endswith("_rad")
}
_KNOWN = {*PAIRS, *(column for columns in PAIRS.values() for column in columns), *_DEGREES, "subject", "mirrored"}

_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")


class TableText(NamedTuple):
    """The way in which a table is written.

    Attributes:
        delimiter: character between two cells.
        columns: names of the columns; known ones in our spelling.
        file: number of the column of image paths.
        degrees: numbers of the columns of angles in degrees, whose names here end in ``_rad``.
        has_decimal_commas: True if numbers are written as in 0,5.
    """

    delimiter: str
    columns: Sequence[str]
    file: int
    degrees: frozenset[int] = frozenset()
    has_decimal_commas: bool = False

    def cells(self, row: Iterable[str], wanted: frozenset[str] | None = None) -> Mapping[str, str]:
        """Return the cells of a row by column, with decimal points and with angles in radians.

        Args:
            row: the texts of the row.
            wanted: columns to return; None returns all.
        """
        cells = {}
        for number, (name, text) in enumerate(zip(self.columns, row)):
            if wanted is None or name in wanted:
                if self.has_decimal_commas and name != "subject" and _DECIMAL_COMMA.fullmatch(text.strip()):
                    text = text.strip().replace(",", ".")
                cells[name] = _radians(text) if number in self.degrees else text
        return cells

    def numbers(self, row: Sequence[str]) -> Sequence[str]:
        """Return the cells of a row with decimal points and with angles in radians, before decimal commas are known."""
        if self.delimiter == "," and not self.degrees:
            return row
        cells = [text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text.strip()) else text for text in row]
        return [_radians(text) if number in self.degrees else text for number, text in enumerate(cells)]


def _radians(text: str) -> str:
    """Convert degrees to radians; anything else than a number is kept, and is refused later by its column."""
    try:
        return repr(math.radians(float(text)))
    except ValueError:
        return text


def read_columns(path: Path, header: Mapping[str, Sequence[str]]) -> TableText:
    """Find the delimiter and the columns of a table.

    Args:
        path: the table, for messages.
        header: the header row as each of :data:`DELIMITERS` divides it.

    Raises:
        DataError: there is no column of image paths, more than one could be it, or two columns have one name.
    """
    for delimiter, cells in header.items():
        found = [_plain(cell) for cell in cells]
        candidates = [name for name in FILE_COLUMNS if name in found]
        if "file" in candidates:
            candidates = ["file"]
        if len(candidates) > 1:
            raise DataError(
                f"{path} has several columns that may name the images ({', '.join(candidates)}); call the right one "
                "'file'"
            )
        if candidates:
            columns = [name if name in _KNOWN else cell.strip() for cell, name in zip(cells, found, strict=True)]
            return _checked(path, TableText(delimiter, columns, found.index(candidates[0])))
    expected = "expected a header row with file, gaze_pitch_rad, ..."
    names = ", ".join(cell.strip() for cell in next(iter(header.values()), ()) if cell.strip())
    raise DataError(f"{path} has no column 'file'; {expected}" + (f" but found {names[:200]}" if names else ""))


def _checked(path: Path, text: TableText) -> TableText:
    """Read angles in degrees under our names, and refuse two columns of one name."""
    columns = list(text.columns)
    columns[text.file] = "file"
    degrees = {number for number, name in enumerate(columns) if name in _DEGREES and _DEGREES[name] not in columns}
    for number in degrees:
        columns[number] = _DEGREES[columns[number]]
    for number, name in enumerate(columns):
        if name and name in columns[:number]:
            raise DataError(f"{path} has two columns {name}; keep one of them")
    return text._replace(columns=columns, degrees=frozenset(degrees))


def _plain(cell: str) -> str:
    return cell.strip().lower()


class DecimalSigns:
    """Finds out whether the numbers of a table have decimal commas, from all its rows."""

    def __init__(self) -> None:
        self._commas = self._points = False

    def add(self, row: Iterable[str]) -> None:
        """Look at the cells of one row."""
        for cell in row:
            self._commas = self._commas or _DECIMAL_COMMA.fullmatch(cell.strip()) is not None
            self._points = self._points or _DECIMAL_POINT.fullmatch(cell.strip()) is not None

    @property
    def are_commas(self) -> bool:
        """True if there are decimal commas and no decimal points."""
        return self._commas and not self._points


def encoding_of(path: Path, start: bytes) -> str | None:
    """Return the encoding of a table if it is not UTF-8, by the first bytes of the file.

    Raises:
        DataError: the encoding cannot be told.
    """
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if start.count(b"\0") * 4 > len(start):  # every second byte, if the text is mostly Latin
        raise DataError(f"{path} is not UTF-8 text; save the table as UTF-8, in Excel as 'CSV UTF-8'")
    return None


def check_header(path: Path, line: Sequence[str]) -> None:
    """Refuse a header that is not UTF-8, since its bytes could mean other letters.

    Raises:
        DataError: a name is not UTF-8 text.
    """
    try:
        "".join(line).encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{path} cannot be read as a CSV table: the names of its columns are not UTF-8 text; save the table as "
            "UTF-8, in Excel as 'CSV UTF-8'"
        ) from None


def explain_angles(columns: Iterable[str]) -> str:
    """Return a sentence about columns that look like angles of gaze, but whose unit or axes are not known.

    Returns:
        The sentence, or an empty text if there is no such column.
    """
    names = [name for name in columns if _ANGLE.fullmatch(name.strip().lower())]
    if not names:
        return ""
    return (
        f"the columns {', '.join(names[:6])} are not read as gaze, since their unit or axes are not known; expected "
        "gaze_pitch_rad and gaze_yaw_rad, or gaze_pitch_deg and gaze_yaw_deg"
    )


_ANGLE = re.compile(
    r"(?:gaze|look|eye|head)?_?(?:pitch|yaw|theta|phi)(?:_(?:gaze|head))?|gaze_?(?:vector_|vec_|dir_)?[xyz]|"
    r"(?:gaze|look)_?(?:vec|vector|dir|direction|angles?)|(?:gaze|head)_(?:pitch|yaw)(?:_degrees|_degree|_radians)?"
)

MAX_CELL = 2**24
"""Largest number of characters in a cell; an array or many objects can exceed the default of 131,072."""

csv.field_size_limit(MAX_CELL)
