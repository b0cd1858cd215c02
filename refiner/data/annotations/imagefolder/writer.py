"""Writer of Hugging Face ImageFolders: a folder that ``datasets.load_dataset("imagefolder", data_dir=...)`` opens."""

import base64
import contextlib
import json
import logging
import posixpath
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from refiner.core.errors import DataError
from refiner.core.files import atomic_path
from refiner.data.annotations.imagefolder.files import import_arrow, restore_schema
from refiner.data.annotations.imagefolder.objects import COLUMN, ObjectsLayout, foreign_layout, write_objects
from refiner.data.annotations.imagefolder.reader import FILE_NAME, FORMAT, is_file_column, label_name
from refiner.data.annotations.imagefolder.splits import split_folder, split_in_file
from refiner.data.annotations.imagefolder.values import Kind, KindGuess, decode
from refiner.data.annotations.source import LabelledImage, Lost
from refiner.data.labels.objects import OBJECTS, AnnotationInfo, ImageAnnotations
from refiner.data.labels.records import PAIRS, to_cells
from refiner.data.labels.tables import write_table

log = logging.getLogger(__name__)

_ROWS = 10_000  # rows of a Parquet file that are in memory at a time


def image_name(name: str) -> str:
    """Return the path of an image; one whose own name stands for a split goes into a folder of that split.

    ``datasets`` would take ``test-01.png`` for the split ``test``, and would not find its metadata elsewhere.
    """
    split = split_in_file(name)
    return name if split is None or split_folder(name) is not None else f"{split}/{name}"


@dataclass
class _Plan:
    """Columns of the metadata, from the first pass over all images.

    Attributes:
        columns: the columns in order, with their kinds.
        layout: the way in which objects are written; None if there are none.
        absent: columns that are left out of a row without a value, instead of null.
        suffix: suffix of the metadata files.
        folders: folders of the metadata files that the data set had.
        schema: Arrow schema of the Parquet file that the data set had, as bytes; empty if there was none.
        names: names of all images, if rows name more files than their image.
        accompanying: images that another row names, so that they need no row of their own.
    """

    columns: dict[str, Kind] = field(default_factory=dict)
    layout: ObjectsLayout | None = None
    absent: frozenset[str] = frozenset()
    suffix: str = ".jsonl"
    folders: tuple[str, ...] = ()
    schema: bytes = b""
    names: set[str] = field(default_factory=set)
    accompanying: set[str] = field(default_factory=set)

    def label(self, column: str) -> str:
        return label_name(column, is_objects=column == COLUMN and self.layout is not None)


def holds(label: str) -> bool:
    """Return True: the metadata hold every label."""
    return True


def write(
    root: Path, images: Iterable[LabelledImage], info: AnnotationInfo | None, lost: Lost | None = None
) -> list[str]:
    """Write the metadata files of a folder; see :class:`refiner.data.annotations.source.LabelWriter`.

    Without any labels, no file is written: ``datasets`` then takes the names of the folders for classes.

    Raises:
        DataError: values cannot be written as Parquet, or pyarrow is needed and not installed.
        OutputError: a file cannot be written.
    """
    with tempfile.TemporaryFile() as spool:
        # The types of the columns are known only when all rows have been seen, so the rows wait on the disk.
        plan = _make_plan(_spooled(spool, images), info)
        if not plan.columns:
            return []
        _find_accompanying(spool, plan)
        counts: dict[str, int] = {}
        for row in _rows(spool, plan):
            folder = _folder(row["name"], plan)
            counts[folder] = counts.get(folder, 0) + 1
        names = [posixpath.join(folder, f"metadata{plan.suffix}") for folder in counts]
        for folder, name in zip(counts, names, strict=True):
            _write_file(root / name, _values(spool, folder, plan), plan)
    if "" in counts and any(split_folder(name) for name in names):
        log.warning(
            "%d images are in no folder of a split, such as train; datasets.load_dataset does not show them", counts[""]
        )
    return names


# --- the first pass ------------------------------------------------------------------------------------------------


_Row = tuple[str, dict[str, str], ImageAnnotations | None]
"""Name of an image, its cells, and its objects."""


def _spooled(spool: IO[bytes], images: Iterable[LabelledImage]) -> Iterator[_Row]:
    """Note the rows on the disk, and yield the name, the cells and the objects of each."""
    for image in images:
        labels = dict(image.labels)
        objects = labels.pop(OBJECTS) if isinstance(labels.get(OBJECTS), ImageAnnotations) else None
        cells = {name: text for name, text in to_cells(labels).items() if text}
        line = {"name": image.name, "cells": cells, "objects": objects and objects.to_json()}
        spool.write(json.dumps(line).encode() + b"\n")
        yield image.name, cells, objects


def _rows(spool: IO[bytes], plan: _Plan) -> Iterator[dict[str, Any]]:
    """Yield the noted rows, but for images that only accompany others."""
    spool.seek(0)
    for row in map(json.loads, spool):
        if row["cells"] or row["objects"] or row["name"] not in plan.accompanying:
            yield row


def _make_plan(
    rows: Iterable[tuple[str, dict[str, str], ImageAnnotations | None]], info: AnnotationInfo | None
) -> _Plan:
    """Find the columns and their kinds: those that the data set had, as far as all cells are still of that kind."""
    header: Mapping[str, Any] = info.header if info is not None and info.format == FORMAT else {}
    plan = _Plan(
        absent=frozenset(header.get("absent", ())),
        folders=tuple(posixpath.dirname(name) for name in header.get("files", ())),
        schema=base64.b64decode(header.get("schema", "")),
    )
    if "objects" in header:
        plan.layout = ObjectsLayout.from_json(header["objects"])
    known: dict[str, Kind] = dict(header.get("columns", {}))
    columns = {plan.label(column): column for column in known}
    guesses: dict[str, KindGuess] = {}
    foreign: ObjectsLayout | None = None
    has_objects = False
    for _, cells, objects in rows:
        _join_pairs(cells, columns)
        for label, text in cells.items():
            guesses.setdefault(label, KindGuess()).see(text)
            column = columns.get(label, label)
            if column in known and not _is_of_kind(text, known[column]):
                del known[column]
        if objects is not None:
            has_objects = True
            foreign = foreign_layout(objects.objects, foreign)
    if has_objects and plan.layout is None:
        plan.layout = foreign
        known.pop(COLUMN, None)
    _order_columns(plan, known, columns, guesses, has_objects=has_objects)
    plan.suffix = posixpath.splitext(next(iter(header.get("files", ())), "metadata.jsonl"))[1]
    if plan.suffix == ".csv" and has_objects:
        # A cell of a CSV table holds no objects. Its texts that are numbers are numbers to every reader of CSV.
        plan.suffix = ".jsonl"
        kinds = {column: guesses[columns.get(column, column)].kind for column in plan.columns if column in guesses}
        plan.columns |= kinds
    return plan


def _find_accompanying(spool: IO[bytes], plan: _Plan) -> None:
    """Note the images of the folder that rows of other images name."""
    if columns := [plan.label(column) for column in plan.columns if is_file_column(column) and column != FILE_NAME]:
        plan.names = {row["name"] for row in _rows(spool, plan)}
        for row in _rows(spool, _Plan()):
            paths = (_path(row["name"], row["cells"][column], plan) for column in columns if column in row["cells"])
            plan.accompanying |= plan.names.intersection(paths) - {row["name"]}


def _join_pairs(cells: dict[str, str], columns: Mapping[str, str]) -> None:
    """Return the two cells of a pair to one list, if that is how the data set wrote it."""
    for name, (first, second) in PAIRS.items():
        if name in columns and first in cells and second in cells:
            cells[name] = f"[{cells.pop(first)}, {cells.pop(second)}]"


def _is_of_kind(text: str, kind: Kind) -> bool:
    try:
        decode(text, kind)
    except ValueError:
        return False
    return True


def _order_columns(
    plan: _Plan,
    known: Mapping[str, Kind],
    columns: Mapping[str, str],
    guesses: Mapping[str, KindGuess],
    *,
    has_objects: bool,
) -> None:
    """Set the columns of a plan: those of the data set in their order, then new ones. Lost ones are left out."""
    for label, column in columns.items():
        if column == FILE_NAME or (column == COLUMN and plan.layout is not None):
            plan.columns[column] = "json"
        elif label in guesses or known.get(column) == "null":
            plan.columns[column] = known[column] if column in known else guesses[label].kind
    for label, guess in guesses.items():
        if label not in columns:
            plan.columns[label] = "text" if label == "subject" and guess.kind == "number" else guess.kind
    if has_objects:
        plan.columns.setdefault(COLUMN, "json")
    if plan.columns and not any(map(is_file_column, columns)):
        plan.columns = {FILE_NAME: "json", **plan.columns}


# --- the second pass -----------------------------------------------------------------------------------------------


def _folder(name: str, plan: _Plan) -> str:
    """Return the folder of the metadata file that holds the row of an image."""
    split = split_folder(name)
    inside = [folder for folder in plan.folders if not folder or name.startswith(f"{folder}/")]
    deepest = max(inside, key=len, default="")
    if split is None or deepest == split or deepest.startswith(f"{split}/"):
        return deepest
    return split


def _path(name: str, text: str, plan: _Plan) -> str:
    """Return the path below the root of a file that the row of an image names.

    Images are found under the names of converted images, too. Any other file keeps the path that the row gives it.
    """
    old = max((f for f in plan.folders if not f or name.startswith(f"{f}/")), key=len, default="")
    path = posixpath.normpath(posixpath.join(old, text.replace("\\", "/")))
    candidates = (path, f"{posixpath.splitext(path)[0]}.png", f"{path}.png")
    return next((candidate for candidate in candidates if candidate in plan.names), path)


def _values(spool: IO[bytes], folder: str, plan: _Plan) -> Iterator[dict[str, Any]]:
    """Yield the rows of one metadata file as JSON."""
    columns = {plan.label(column): column for column in plan.columns}
    for row in _rows(spool, plan):
        name, cells = row["name"], row["cells"]
        if _folder(name, plan) != folder:
            continue
        _join_pairs(cells, columns)
        values: dict[str, Any] = {}
        for label, column in columns.items():
            if column == FILE_NAME:
                values[column] = posixpath.relpath(name, folder or ".")
            elif column == COLUMN and plan.layout is not None:
                objects = row["objects"] and ImageAnnotations.from_json(row["objects"], name)
                values[column] = write_objects(objects, plan.layout) if objects else None
            else:
                values[column] = decode(cells.get(label, ""), plan.columns[column])
                if is_file_column(column) and values[column] is not None:
                    values[column] = posixpath.relpath(_path(name, str(values[column]), plan), folder or ".")
            if values[column] is None and column in plan.absent:
                del values[column]
        yield values


def _write_file(path: Path, rows: Iterator[dict[str, Any]], plan: _Plan) -> None:
    """Write a metadata file by its suffix."""
    if path.suffix == ".csv":
        write_table(
            path, list(plan.columns), ({k: "" if v is None else str(v) for k, v in row.items()} for row in rows)
        )
    elif path.suffix == ".parquet":
        _write_parquet(path, rows, plan)
    else:
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            for row in rows:
                stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]], plan: _Plan) -> None:
    """Write a Parquet file with the types that the data set had, as far as the values still fit them."""
    arrow, parquet = import_arrow(path)
    before = restore_schema(plan.schema) if plan.schema else arrow.schema([])
    kept = list(rows)
    with atomic_path(path) as temporary:
        fields, columns = [], []
        for column in plan.columns:
            values = [row.get(column) for row in kept]
            array = None
            if column in before.names:
                with contextlib.suppress(arrow.ArrowException, TypeError):
                    array = _to_arrow(arrow, values, before.field(column).type)
            try:
                array = arrow.array(values) if array is None else array
            except arrow.ArrowException as error:
                raise DataError(f"{path}: the column {column} has values of several types ({error})") from error
            fields.append(arrow.field(column, array.type))
            columns.append(array)
        schema = arrow.schema(fields, metadata=before.metadata)
        parquet.write_table(arrow.table(columns, schema=schema), temporary, row_group_size=_ROWS)


def _to_arrow(arrow: Any, values: list[Any], kind: Any) -> Any:
    """Return values as an Arrow array of a type; texts of dates and the like are read again."""
    try:
        return arrow.array(values, kind)
    except (arrow.ArrowException, TypeError):
        return arrow.array(values, arrow.string()).cast(kind)
