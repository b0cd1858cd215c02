"""Label table whose rows are read from disk one by one, such as ``labels.csv``."""

import contextlib
import copy
import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import IO

from refiner.core.errors import DataError, ImageError
from refiner.core.files import check_regular, read_regular
from refiner.data.labels.angles import ANGLE_COLUMNS, RadiansCheck
from refiner.data.labels.records import PAIRS, Labels, from_cells
from refiner.data.labels.row_names import match_rows
from refiner.data.labels.table_text import (
    DELIMITERS,
    DecimalSigns,
    TableText,
    check_header,
    encoding_of,
    read_columns,
)


class LabelTable(Mapping[str, Labels]):
    """A label table whose rows are read from disk one by one.

    Only the ids are held in memory, and a faulty row affects only its own image.

    Args:
        path: the table.

    Attributes:
        problems: one sentence for each row that names no image, or an image that has a row already.
        renamed: the row of each image that the table names in another way; see :meth:`match`.

    A table whose angles exceed pi is not in radians. Reading its rows fails, unless no angle is wanted.

    Raises:
        DataError: the table cannot be read, or has no column ``file``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        self.renamed: dict[str, str] = {}
        self._positions: dict[str, tuple[int, int]] = {}  # byte where the row begins, number of its last line
        self._faulty: dict[str, str] = {}
        self._wanted: frozenset[str] | None = None  # columns to read; None reads all
        self._transcoded: bytes | None = None  # the table in UTF-8, if the file is not
        try:
            check_regular(path)
            with path.open("rb") as stream:
                self._encoding = encoding_of(path, stream.read(4096))
            with self._opened() as stream:
                self._text = self._read_header(stream)
                self._index(stream)
        except (OSError, UnicodeError, csv.Error) as error:
            raise self._unreadable(error) from error

    def _read_header(self, stream: IO[bytes]) -> TableText:
        """Divide the header by each delimiter, and take the one that gives a column of files."""
        header = {}
        for delimiter in DELIMITERS:
            stream.seek(0)
            header[delimiter] = next(csv.reader(Lines(stream), delimiter=delimiter), [])
            check_header(self.path, header[delimiter])
        return read_columns(self.path, header)

    def _index(self, stream: IO[bytes]) -> None:
        """Note where each row begins, without keeping its cells; check that angles can be radians."""
        stream.seek(0)
        lines, signs, angles = Lines(stream), DecimalSigns(), RadiansCheck(self._text.columns)
        rows = csv.reader(lines, delimiter=self._text.delimiter)
        next(rows, None)
        column, start = self._text.file, lines.position
        for row in rows:
            sample = row[column] if column < len(row) else ""
            where = f"{self.path}: line {rows.line_num}"
            if not sample and row:
                self.problems.append(f"{where} has no file; expected a path below the folder")
            elif sample in self._positions:
                self._faulty[sample] = f"{where} is the second row of {sample}; keep one row per image"
                self.problems.append(self._faulty[sample])
            elif sample:
                self._positions[sample] = (start, rows.line_num)
            angles.see(self._text.numbers(row), rows.line_num)
            if self._text.delimiter != ",":  # between commas, a number has no decimal comma
                signs.add(row)
            start = lines.position
        self._text = self._text._replace(has_decimal_commas=signs.are_commas)
        self._not_radians = angles.problem

    def match(self, names: Collection[str], root: Path) -> None:
        """Give rows that name an image in another way the name of that image, where that is unambiguous.

        Args:
            names: relative paths of the images.
            root: the folder of the images.
        """
        known = names if isinstance(names, Set) else frozenset(names)
        self.renamed = match_rows(self._positions.keys(), known, root)
        for name, row in self.renamed.items():
            self._positions[name] = self._positions.pop(row)
            if row in self._faulty:
                self._faulty[name] = self._faulty.pop(row)

    def __getitem__(self, sample: str) -> Labels:
        """Return the labels of one image.

        Raises:
            KeyError: the image has no row.
            ImageError: its row is faulty.
            DataError: the angles of the table are not in radians.
        """
        if sample not in self._positions:
            raise KeyError(sample)
        with self._opened() as stream:
            return self._read(stream, sample)

    def sound_rows(self) -> dict[str, Labels]:
        """Return the labels of all images whose row has no fault, read in one pass."""
        rows = {}
        with self._opened() as stream:
            for sample in self._positions:
                with contextlib.suppress(ImageError):
                    rows[sample] = self._read(stream, sample)
        return rows

    @contextlib.contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        try:
            if self._encoding is not None:
                if self._transcoded is None:
                    self._transcoded = read_regular(self.path).decode(self._encoding).encode()
                yield io.BytesIO(self._transcoded)
                return
            with self.path.open("rb") as stream:
                yield stream
        except OSError as error:
            raise self._unreadable(error) from error

    def _read(self, stream: IO[bytes], sample: str) -> Labels:
        position, number = self._positions[sample]
        if self._not_radians and (self._wanted is None or not self._wanted.isdisjoint(ANGLE_COLUMNS)):
            raise DataError(f"{self.path}: {self._not_radians}")
        if sample in self._faulty:
            raise ImageError(sample, self._faulty[sample])
        try:
            stream.seek(position)
            # Read the row again from its byte position, and keep the wanted columns.
            row = next(csv.reader(Lines(stream), delimiter=self._text.delimiter))
            return from_cells(self._text.cells(row, self._wanted), f"{self.path}: line {number}")
        except (csv.Error, StopIteration) as error:
            raise self._unreadable(error) from error
        except DataError as error:
            raise ImageError(sample, str(error)) from error

    @property
    def is_utf8(self) -> bool:
        """True if the file itself is UTF-8, so that :meth:`row_text` gives its bytes."""
        return self._encoding is None

    def row_text(self, sample: str) -> tuple[int, bytes, Mapping[str, str]]:
        """Return the place of a row in the file, its bytes, and its cells by column.

        Raises:
            KeyError: the image has no row.
            DataError: the table cannot be read.
        """
        position, _ = self._positions[sample]
        with self._opened() as stream:
            stream.seek(position)
            lines = Lines(stream)
            cells = next(csv.reader(lines, delimiter=self._text.delimiter), [])
            end = lines.position
            stream.seek(position)
            return position, stream.read(end - position), self._text.cells(cells, None)

    def only(self, samples: Iterable[str], labels: Sequence[str]) -> "LabelTable":
        """Return a table restricted to some rows and labels, small enough to send to another process."""
        part = copy.copy(self)
        # A pair has a column for each of its two values.
        part._wanted = frozenset(column for label in labels for column in (label, *PAIRS.get(label, ())))
        part._positions = {sample: self._positions[sample] for sample in samples if sample in self._positions}
        part._faulty = {sample: self._faulty[sample] for sample in part._positions if sample in self._faulty}
        part.problems, part.renamed, part._transcoded = [], {}, None
        return part

    @property
    def names(self) -> list[str]:
        """Names of the labels that the table has columns for."""
        paired = {column: name for name, columns in PAIRS.items() for column in columns}
        return list(dict.fromkeys(paired.get(column, column) for column in self._text.columns if column != "file"))

    def __contains__(self, sample: object) -> bool:
        """Return whether an image has a row, faulty or not, without reading it."""
        return sample in self._positions

    def __iter__(self) -> Iterator[str]:
        """Iterate over the sample ids in the order of their rows."""
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def _unreadable(self, error: Exception) -> DataError:
        return DataError(f"{self.path} cannot be read as a CSV table ({error})")


class Lines:
    """The lines of a table as text, with the byte position of the next line."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.position = stream.tell()

    def __iter__(self) -> Iterator[str]:
        for block in self._stream:
            for line in block.splitlines(keepends=True):  # of bytes: \n, \r\n and \r
                encoding = "utf-8-sig" if self.position == 0 else "utf-8"
                text = line.decode(encoding, "surrogateescape")  # file names may not be UTF-8; other cells must be
                self.position += len(line)
                yield text
