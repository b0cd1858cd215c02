"""Tables beside a folder of images: ``labels.csv`` with what is known of each, ``rejected.csv`` with what was left out.

``labels.csv`` has a header row and one row per image, keyed by ``file``: the path below the folder, with suffix; see
:mod:`refiner.data.labels.records` for the other columns.
"""

import contextlib
import copy
import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from refiner.core.errors import DataError, ImageError
from refiner.core.files import atomic_path, check_regular
from refiner.data.labels.records import PAIRS, Labels, from_cells, to_cells

LABELS_FILE = "labels.csv"

REJECTED_FILE = "rejected.csv"

REJECTED_COLUMNS = ("file", "stage", "reason")

csv.field_size_limit(2**24)  # of characters in a cell; more than the standard's 131,072, which an array can have


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
