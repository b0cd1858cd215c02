"""CSV tables in a folder of images: ``labels.csv`` with the labels, ``rejected.csv`` with the images left out.

``labels.csv`` has a header row and one row per image. Its column ``file`` is the path below the folder, with suffix.
See :mod:`refiner.data.labels.records` for the other columns. Tables that were written in other ways are read where
their meaning is certain, see :mod:`refiner.data.labels.table_text` and :mod:`refiner.data.labels.row_names`.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

from refiner.core.errors import DataError, ImageError
from refiner.core.files import atomic_path, check_regular
from refiner.data.labels.label_table import LabelTable, Lines
from refiner.data.labels.records import Labels, to_cells

LABELS_FILE = "labels.csv"

INFO_FILE = "labels.info.json"
"""Name of the file beside ``labels.csv`` with the facts about annotated objects, such as their classes."""

REJECTED_FILE = "rejected.csv"

REJECTED_COLUMNS = ("file", "stage", "reason")


def write_labels(path: Path, labels: Mapping[str, Labels]) -> None:
    """Write a label table atomically.

    Args:
        path: the table, usually ``labels.csv`` in the folder of the images.
        labels: labels by sample id.

    Raises:
        OutputError: the table cannot be written.
    """
    rows = [{"file": sample, **to_cells(values)} for sample, values in labels.items()]
    write_table(path, list(dict.fromkeys(column for row in rows for column in row)) or ["file"], rows)


def write_rejected(path: Path, rejected: Iterable[tuple[str, str, str]]) -> None:
    """Write ``rejected.csv``, sorted: one (file, stage, reason) for each input that was left out."""
    columns = REJECTED_COLUMNS
    write_table(path, columns, (dict(zip(columns, row, strict=True)) for row in sorted(rejected)))


def read_rejected(path: Path) -> set[str]:
    """Return the names in a table of rejected images; none if there is no such table, or it cannot be read."""
    try:
        check_regular(path)  # a link to a device would never end
        with path.open("rb") as stream:
            return {row["file"] for row in csv.DictReader(Lines(stream)) if row.get("file")}
    except (OSError, csv.Error):
        return set()


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write a CSV table with a header row, atomically and row by row.

    Args:
        path: the table.
        columns: the header.
        rows: cells by column; a missing cell is written as empty.

    Raises:
        OutputError: the table cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        writer = csv.DictWriter(_UnixLines(stream), columns, restval="", lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)


def was_written(path: Path, columns: Sequence[str]) -> bool:
    """Return whether a file begins like a table that :func:`write_table` wrote with these columns."""
    header = ",".join(columns).encode() + b"\n"
    try:
        check_regular(path)
        with path.open("rb") as stream:
            return stream.read(len(header)) == header
    except OSError:
        return False


class _UnixLines:
    """Stream for a CSV writer that ends rows with a line feed only.

    The writer itself must be set to end rows with CR LF. Before Python 3.13 it quotes a carriage return in a cell
    only then, and an unquoted one would end the row when it is read.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, row: str) -> int:
        """Write one row; bytes of file names that are not UTF-8 are written unchanged."""
        return self._stream.write(row.removesuffix("\r\n").encode(errors="surrogateescape") + b"\n")


def read_labels(path: Path) -> dict[str, Labels]:
    """Read a whole label table. :class:`LabelTable` reads one that may be large or faulty.

    Returns:
        Labels by sample id; a label whose cells are empty is left out.

    Raises:
        DataError: the column ``file`` is missing, a row names no file or one that has a row already, or a number is
            not finite.
    """
    table = LabelTable(path)
    if table.problems:
        raise DataError(table.problems[0])
    try:
        return {sample: table[sample] for sample in table}
    except ImageError as error:
        raise DataError(error.reason) from error
