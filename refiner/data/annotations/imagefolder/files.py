"""Metadata files of a Hugging Face ImageFolder: CSV, JSON lines or Parquet, read row by row."""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from refiner.core.errors import DataError
from refiner.core.files import check_regular

METADATA_FILES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
"""Names of metadata files, the first that is read first; the Hub's library reads one kind in a data set."""

Row = Mapping[str, Any]
"""Values of a row by column, as JSON."""


class FoundRow(NamedTuple):
    """A row of a metadata file.

    Attributes:
        position: where it begins: a byte, or the number of the row in a Parquet file.
        line: its number for messages, from 1.
        row: its values; None if it is faulty.
        fault: what is wrong with it.
    """

    position: int
    line: int
    row: Row | None
    fault: str = ""


class MetadataFile(Protocol):
    """A metadata file. It can be read from several threads and sent to other processes.

    Attributes:
        path: the file.
        is_csv: True if all values are texts.
    """

    path: Path
    is_csv: bool

    def columns(self) -> list[str]:
        """Return the names of the columns, as far as the first row shows them; empty if it is no table."""

    def rows(self) -> Iterator[FoundRow]:
        """Iterate over all rows."""

    def read(self, position: int) -> Row:
        """Read one row again, by its position."""


def open_metadata(path: Path) -> MetadataFile:
    """Open a metadata file by its suffix.

    Raises:
        DataError: it is a Parquet file, and pyarrow is not installed; or it cannot be read.
    """
    readers: Mapping[str, Callable[[Path], MetadataFile]]
    readers = {".csv": CsvFile, ".jsonl": JsonLinesFile, ".parquet": ParquetFile}
    try:
        check_regular(path)  # a link to a device would never end
        return readers[path.suffix](path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error


class JsonLinesFile:
    """A metadata file with one JSON object a line."""

    is_csv = False

    def __init__(self, path: Path) -> None:
        self.path = path

    def columns(self) -> list[str]:
        """Return the names in the first line that is a JSON object."""
        return next((list(found.row) for found in self.rows() if found.row is not None), [])

    def rows(self) -> Iterator[FoundRow]:
        """Iterate over all lines that are not blank."""
        position = 0
        with self.path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    try:
                        yield FoundRow(position, number, parse_row(line))
                    except ValueError as error:
                        yield FoundRow(position, number, None, str(error))
                position += len(line)

    def read(self, position: int) -> Row:
        """Read one line again."""
        with self.path.open("rb") as stream:
            stream.seek(position)
            return parse_row(stream.readline())


def parse_row(line: bytes) -> Row:
    """Return the JSON object in a line.

    Raises:
        ValueError: the line holds something else.
    """
    try:
        row = json.loads(line.decode("utf-8-sig"), parse_constant=_refuse, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise ValueError("is not UTF-8 text; save the file as UTF-8") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error})") from error
    if not isinstance(row, dict):
        raise ValueError("is not a JSON object; expected names and values, as in {...}")
    return row


def _refuse(text: str) -> float:
    raise ValueError(f"holds {text}, which is no JSON; write null for a missing number")


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"holds {text[:40]}, which is too large for a number")
    return number


class CsvFile:
    """A metadata file with a header row, whose cells are separated by commas."""

    is_csv = True

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as stream:
            self._header = self._cells(stream)

    def _cells(self, stream: IO[bytes]) -> list[str]:
        """Read the next row; an empty one at the end of the file.

        Raises:
            DataError: it is no row of a CSV table.
        """
        try:
            return next(csv.reader(_decoded(stream)), [])
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{self.path} cannot be read as a CSV table ({error}); save it as UTF-8") from error

    def columns(self) -> list[str]:
        """Return the cells of the header."""
        return self._header

    def rows(self) -> Iterator[FoundRow]:
        """Iterate over all rows that are not blank."""
        with self.path.open("rb") as stream:
            lines = _CountedLines(stream)
            reader = csv.reader(lines)
            self._next(reader)
            position, row = lines.position, self._next(reader)
            while row is not None:
                if row and len(row) > len(self._header):
                    fault = f"has {len(row)} cells for {len(self._header)} columns"
                    yield FoundRow(position, reader.line_num, None, fault)
                elif row:
                    yield FoundRow(position, reader.line_num, self._row(row))
                position, row = lines.position, self._next(reader)

    def _next(self, reader: Iterator[list[str]]) -> list[str] | None:
        try:
            return next(reader, None)
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{self.path} cannot be read as a CSV table ({error}); save it as UTF-8") from error

    def read(self, position: int) -> Row:
        """Read one row again."""
        with self.path.open("rb") as stream:
            stream.seek(position)
            return self._row(self._cells(stream))

    def _row(self, cells: list[str]) -> Row:
        return {name: text or None for name, text in zip(self._header, cells)}


def _decoded(stream: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a file from its present position."""
    encoding = "utf-8" if stream.tell() else "utf-8-sig"
    for line in stream:
        yield line.decode(encoding)
        encoding = "utf-8"


class _CountedLines:
    """Iterator over the lines of a file that knows the position of the next line."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.position = stream, 0

    def __iter__(self) -> "_CountedLines":
        return self

    def __next__(self) -> str:
        line = next(self._stream)
        encoding = "utf-8" if self.position else "utf-8-sig"
        self.position += len(line)
        return line.decode(encoding)


class ParquetFile:
    """A metadata file in Parquet, read with pyarrow. Values that JSON does not know become texts.

    Attributes:
        schema: the schema of its table, as bytes; see :func:`restore_schema`.
    """

    is_csv = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._table: Any = None
        self.schema = bytes(self._load().schema.serialize())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_table": None}  # each process reads the file itself

    def _load(self) -> Any:
        if self._table is None:
            arrow, parquet = import_arrow(self.path)
            try:
                self._table = parquet.read_table(self.path)
            except arrow.ArrowException as error:
                raise DataError(f"{self.path} cannot be read as a Parquet file ({error})") from error
        return self._table

    def columns(self) -> list[str]:
        """Return the names of the columns."""
        return list(self._load().column_names)

    def rows(self) -> Iterator[FoundRow]:
        """Iterate over all rows."""
        for number in range(self._load().num_rows):
            yield FoundRow(number, number + 1, self.read(number))

    def read(self, position: int) -> Row:
        """Read one row again."""
        table = self._load()
        part = table.slice(position, 1)
        row = {}
        for name, column in zip(table.column_names, part.columns, strict=True):
            value = column.to_pylist()[0]
            row[name] = value if _is_json(value) else _as_text(column)
        return row


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(part) for key, part in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or isinstance(value, str | int | bool) or (isinstance(value, float) and math.isfinite(value))


def _as_text(column: Any) -> str:
    """Return the only value of an Arrow column as text, such as a date.

    Raises:
        DataError: it has no text.
    """
    import pyarrow as arrow

    try:
        return str(column.cast(arrow.string()).to_pylist()[0])
    except arrow.ArrowException as error:
        raise DataError(f"a value of the type {column.type} cannot be kept as a label") from error


def import_arrow(path: Path) -> tuple[Any, Any]:
    """Return the modules ``pyarrow`` and ``pyarrow.parquet``.

    Raises:
        DataError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            f"{path} is a Parquet file, and pyarrow is not installed; pip install 'simgan-refiner[parquet]' adds it, "
            "or leave the file out with --exclude metadata.parquet"
        ) from error
    return pyarrow, pyarrow.parquet


def restore_schema(data: bytes) -> Any:
    """Return the Arrow schema that :attr:`ParquetFile.schema` holds."""
    import pyarrow

    return pyarrow.ipc.read_schema(pyarrow.py_buffer(data))
