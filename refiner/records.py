"""One labelled image, and the table in which labels stand beside a folder of images.

``labels.csv`` has a header row and one row per image, keyed by ``file``: the path below the folder, with
suffix. Gaze and head pose are (pitch, yaw) in radians, the pupil (x, y) in pixels with the centre of the
top-left pixel at (0, 0). Arrays beyond these stand in one cell as JSON; other columns are carried along.
"""

import contextlib
import copy
import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from refiner.errors import DataError, ImageError
from refiner.files import atomic_path, check_regular
from refiner.image_files import Image

Labels = dict[str, Any]
"""Label values by name: ``gaze``, ``head_pose`` and ``pupil`` are float64 arrays (2,), outlines (K, 2) in pixels,
``subject`` is text, ``mirrored`` 0 or 1; further names are carried along."""

LABELS_FILE = "labels.csv"

REJECTED_FILE = "rejected.csv"

REJECTED_COLUMNS = ("file", "stage", "reason")

csv.field_size_limit(2**24)  # of characters in a cell; more than the standard's 131,072, which an array can have

PAIRS = {
    "gaze": ("gaze_pitch_rad", "gaze_yaw_rad"),
    "head_pose": ("head_pitch_rad", "head_yaw_rad"),
    "pupil": ("pupil_x", "pupil_y"),
}
"""Labels of two numbers, and the columns they stand in."""


@dataclass(frozen=True)
class Record:
    """An image with what is known about it.

    Attributes:
        id: path relative to the root of its data set, with suffix.
        image: uint8 or uint16, (H, W), (H, W, 3) or (H, W, 4).
        labels: see :data:`Labels`; empty when there are none.
    """

    id: str
    image: Image
    labels: Labels = field(default_factory=dict)


def write_labels(path: Path, labels: Mapping[str, Labels]) -> None:
    """Write a label table atomically.

    Args:
        path: the table, usually ``labels.csv`` in the folder of the images.
        labels: labels by sample id.
    """
    rows = [{"file": sample, **to_cells(values)} for sample, values in labels.items()]
    write_table(path, list(dict.fromkeys(column for row in rows for column in row)) or ["file"], rows)


def write_rejected(path: Path, rejected: Iterable[tuple[str, str, str]]) -> None:
    """Write ``rejected.csv``: file, stage and reason of each input that was left out, sorted."""
    columns = REJECTED_COLUMNS
    write_table(path, columns, (dict(zip(columns, row, strict=True)) for row in sorted(rejected)))


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write a CSV table with a header row atomically, row by row; a cell that a row lacks is empty."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        writer = csv.DictWriter(_UnixLines(stream), columns, restval="", lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)


class _UnixLines:
    """Ends the rows of a CSV writer with a line feed alone.

    The writer itself has to believe in both characters: before Python 3.13 it quotes a carriage return in a cell
    only then, and unquoted it would end the line when it is read.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, row: str) -> int:
        """Write one row; the parts of file names that are no UTF-8 come out as they are."""
        return self._stream.write(row.removesuffix("\r\n").encode(errors="surrogateescape") + b"\n")


def read_labels(path: Path) -> dict[str, Labels]:
    """Read a whole label table; for one that may be large or faulty see :class:`LabelTable`.

    Returns:
        Labels by sample id; a label whose cells are empty is left out.

    Raises:
        DataError: there is no column ``file``, a row has none or stands twice, or a number is none (NaN included).
    """
    table = LabelTable(path)
    if table.problems:
        raise DataError(table.problems[0])
    try:
        return {sample: table[sample] for sample in table}
    except ImageError as error:
        raise DataError(error.reason) from error


class LabelTable(Mapping[str, Labels]):
    """A label table that is read row by row: a million rows cost their ids, a faulty row only itself.

    Args:
        path: the table.

    Attributes:
        problems: rows that name no image, or one that has a row already; one sentence each.

    Raises:
        DataError: the table cannot be read, or has no column ``file``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        self._positions: dict[str, tuple[int, int]] = {}  # byte at which a row begins, line at which it ends
        self._faulty: dict[str, str] = {}
        self._wanted: frozenset[str] | None = None  # columns; None reads all
        try:
            check_regular(path)
            with path.open("rb") as stream:
                self._index(_Lines(stream))
        except (OSError, UnicodeError, csv.Error) as error:
            raise self._unreadable(error) from error

    def _index(self, lines: "_Lines") -> None:
        rows = csv.reader(lines)
        self._columns = next(rows, [])
        "".join(self._columns).encode()  # names of labels are UTF-8
        if "file" not in self._columns:
            expected = "expected a header row with file, gaze_pitch_rad, ..."
            raise DataError(f"{self.path}: has no column 'file'; {expected}")
        column = self._columns.index("file")
        start = lines.position
        for row in rows:
            sample = row[column] if column < len(row) else ""
            where = f"{self.path}: line {rows.line_num}"
            if not sample and row:
                self.problems.append(f"{where}: has no file; expected a path below the folder")
            elif sample in self._positions:
                self._faulty[sample] = f"{where}: {sample} stands twice; keep one row per image"
                self.problems.append(self._faulty[sample])
            elif sample:
                self._positions[sample] = (start, rows.line_num)
            start = lines.position

    def __getitem__(self, sample: str) -> Labels:
        """Labels of one image.

        Raises:
            KeyError: it has no row.
            ImageError: its row is faulty.
        """
        if sample not in self._positions:
            raise KeyError(sample)
        with self._opened() as stream:
            return self._read(stream, sample)

    def sound_rows(self) -> dict[str, Labels]:
        """Labels of all images whose row is sound, read in one go."""
        rows = {}
        with self._opened() as stream:
            for sample in self._positions:
                with contextlib.suppress(ImageError):
                    rows[sample] = self._read(stream, sample)
        return rows

    @contextlib.contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        try:
            with self.path.open("rb") as stream:
                yield stream
        except OSError as error:
            raise self._unreadable(error) from error

    def _read(self, stream: IO[bytes], sample: str) -> Labels:
        position, number = self._positions[sample]
        if sample in self._faulty:
            raise ImageError(sample, self._faulty[sample])
        try:
            stream.seek(position)
            row = next(csv.reader(_Lines(stream)))
            cells = {
                name: text for name, text in zip(self._columns, row) if self._wanted is None or name in self._wanted
            }
            return from_cells(cells, f"{self.path}: line {number}")
        except (csv.Error, StopIteration) as error:
            raise self._unreadable(error) from error
        except DataError as error:
            raise ImageError(sample, str(error)) from error

    def only(self, samples: Iterable[str], labels: Sequence[str]) -> "LabelTable":
        """The same table as if it had some rows and labels alone: small enough to be sent to another process."""
        part = copy.copy(self)
        part._wanted = frozenset(column for label in labels for column in (label, *PAIRS.get(label, ())))
        part._positions = {sample: self._positions[sample] for sample in samples if sample in self._positions}
        part._faulty = {sample: self._faulty[sample] for sample in part._positions if sample in self._faulty}
        part.problems = []
        return part

    @property
    def names(self) -> list[str]:
        """Of the labels that it has columns for."""
        paired = {column: name for name, columns in PAIRS.items() for column in columns}
        return list(dict.fromkeys(paired.get(column, column) for column in self._columns if column != "file"))

    def __iter__(self) -> Iterator[str]:
        """Sample ids in the order of their rows."""
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def _unreadable(self, error: Exception) -> DataError:
        return DataError(f"{self.path}: cannot be read as a CSV table ({error})")


class _Lines:
    """The lines of a table as text, and the byte at which the next one begins."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.position = stream.tell()

    def __iter__(self) -> Iterator[str]:
        for block in self._stream:
            for line in block.splitlines(keepends=True):  # of bytes: \n, \r\n and \r
                encoding = "utf-8-sig" if self.position == 0 else "utf-8"
                text = line.decode(encoding, "surrogateescape")  # file names may be no UTF-8; other cells are checked
                self.position += len(line)
                yield text


def to_cells(labels: Labels) -> dict[str, str]:
    """Labels as the cells of a table row, by column."""
    cells: dict[str, str] = {}
    for name, value in labels.items():
        if name in PAIRS:
            cells.update(zip(PAIRS[name], (_number(part) for part in value), strict=True))
        elif isinstance(value, np.ndarray):
            cells[name] = json.dumps(np.round(value.astype(float), 3).tolist())
        else:
            value = int(value) if isinstance(value, bool | np.bool_) else value
            cells[name] = _number(value) if isinstance(value, float) else str(value)
    return cells


def _number(value: float) -> str:
    return f"{float(value):.9g}"


def from_cells(row: Mapping[str, str], where: str) -> Labels:
    """Labels from the cells of a table row; ``where`` is for messages.

    Raises:
        DataError: a cell is faulty.
    """
    labels: Labels = {}
    cells = {key: value for key, value in row.items() if key != "file" and value}
    for name, text in cells.items():
        if not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text):
            raise DataError(f"{where}: {name} is no UTF-8 text; save the table as UTF-8")
    for name, columns in PAIRS.items():
        found = [cells.pop(column) for column in columns if column in cells]
        if len(found) == 2:
            labels[name] = np.array([_finite(text, f"{where}: {name}") for text in found])
    for name, text in cells.items():
        if name in PAIRS:
            labels[name] = _pair(text, f"{where}: {name}")
        elif text.startswith("[") and name != "subject":
            labels[name] = _array(text, f"{where}: {name}")
        elif name == "mirrored":
            if text not in ("0", "1"):
                raise DataError(f"{where}: mirrored is {text!r}, expected 0 or 1")
            labels["mirrored"] = int(text)
        else:
            labels[name] = text
    return labels


def _array(text: str, where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        values = np.array(json.loads(text), float)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"{where} holds no JSON array of numbers") from error
    if not np.isfinite(values).all():
        raise DataError(f"{where} holds numbers that are not finite")
    return values


def _pair(text: str, where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = _array(text, where)
    if values.shape != (2,):
        raise DataError(f"{where} is {text[:40]!r}, expected two numbers, as in [0.1, -0.2]")
    return values


def _finite(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where} is {text!r}, expected a finite number")
    return value


def column_values(labels: Iterable[Labels], name: str) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """One label of many images as an array (N, ...), or None when any image lacks it."""
    values = [row.get(name) for row in labels]
    return None if not values or any(value is None for value in values) else np.array(values, np.float64)
