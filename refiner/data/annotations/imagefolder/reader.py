"""Reader of Hugging Face ImageFolders: images, and ``metadata.csv``, ``.jsonl`` or ``.parquet`` beside or above them.

A row belongs to the image that its column ``file_name`` names, relative to the metadata file. Every other column is a
label of that name. The column ``objects`` with boxes becomes annotated objects; see
:mod:`refiner.data.annotations.imagefolder.objects`. Other values become text, numbers or arrays, and keep their type:
see :mod:`refiner.data.annotations.imagefolder.values`.
"""

import base64
import copy
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from refiner.core.errors import DataError, ImageError
from refiner.data.annotations.edits import Edit, dumped_like, value_span
from refiner.data.annotations.imagefolder.files import METADATA_FILES, MetadataFile, ParquetFile, Row, open_metadata
from refiner.data.annotations.imagefolder.objects import (
    COLUMN,
    LayoutFinder,
    drop_objects,
    holds_objects,
    read_objects,
)
from refiner.data.annotations.imagefolder.values import Kind, KindFinder, encode
from refiner.data.labels.angles import ANGLE_COLUMNS, RadiansCheck
from refiner.data.labels.objects import OBJECTS, AnnotationInfo
from refiner.data.labels.records import PAIRS, Labels, from_cells
from refiner.images.sizes import read_size

FORMAT = "imagefolder"

FILE_NAME = "file_name"

_LABEL_WORDS = {*("mask", "masks", "seg", "segmentation", "semantic", "instance", "depth", "normal", "normals", "flow")}

_RENAMED = {"": "unnamed", "file": "file_column"}
"""Labels of columns whose names mean something else in a table of labels."""


def label_name(column: str, *, is_objects: bool = False) -> str:
    """Return the name of the label that a column becomes."""
    if column == OBJECTS and not is_objects:
        return f"{OBJECTS}_column"
    return _RENAMED.get(column, column)


def is_file_column(column: str) -> bool:
    """Return whether a column names files."""
    return column == FILE_NAME or column.endswith(f"_{FILE_NAME}")


class _Place(NamedTuple):
    """A row: the number of its file, its position in it, its line, and the column that names its image."""

    file: int
    position: int
    line: int
    column: str


class ImageFolderSource:
    """Labels of the images in an ImageFolder; see :class:`refiner.data.annotations.source.LabelSource`.

    Args:
        root: the folder.
        files: its metadata files, relative to it.
        images: the image files of the folder.

    Raises:
        DataError: a file cannot be read.
    """

    format = FORMAT

    def __init__(self, root: Path, files: Mapping[str, MetadataFile], images: Sequence[str]) -> None:
        self.root = root
        self.files = frozenset(files)
        self._label_images: dict[str, str | None] = {}
        self._problems: list[str] = []
        self.label_images: Mapping[str, str | None] = self._label_images
        self.problems: Sequence[str] = self._problems
        self._names, self._tables = list(files), list(files.values())
        self._images = frozenset(images)
        self._places: dict[str, _Place | None] = {}  # None for an image that only accompanies another one
        self._faulty: dict[str, str] = {}
        self._wanted: frozenset[str] | None = None  # labels to read; None reads all
        self._not_radians = ""
        finders = self._scan()
        self._objects.check_corners(lambda sample: read_size(root / sample))
        objects, self._layout = self._objects, self._objects.layout if self._has_objects else None
        self._kinds: dict[str, Kind] = {column: finder.kind for column, finder in finders.items()}
        if self._has_objects and self._layout is None:
            self._problems.append(f"{self._names[0]}: objects {objects.problem}, so it is kept as text")
        elif self._has_objects:
            self._kinds[COLUMN] = "json"
        self.info = self._info(objects)
        del self._objects, self._images

    # --- the first pass over all rows ------------------------------------------------------------------------------

    def _scan(self) -> dict[str, KindFinder]:
        """Note where each row begins, and find the kinds of the columns."""
        finders: dict[str, KindFinder] = {}
        self._objects, self._has_objects = LayoutFinder(), False
        self._columns: dict[str, None] = {}
        missing: set[str] = set()
        has_null: set[str] = set()
        for number, table in enumerate(self._tables):
            angles = RadiansCheck(list(ANGLE_COLUMNS))
            for found in table.rows():
                if found.row is None:
                    self._problems.append(f"{self._names[number]}: line {found.line} {found.fault}")
                    continue
                sample = self._place(number, found.position, found.line, found.row)
                if not sample:
                    continue
                missing |= self._columns.keys() - found.row.keys()
                missing |= found.row.keys() - self._columns.keys() if self._columns else set()
                self._columns |= dict.fromkeys(found.row)
                for column, value in found.row.items():
                    if value is None:
                        has_null.add(column)
                    if column == COLUMN and not table.is_csv and (self._has_objects or holds_objects(value)):
                        self._has_objects = True
                        if value is None or holds_objects(value):
                            self._objects.see(sample, value)
                    finders.setdefault(column, KindFinder(is_csv=table.is_csv)).see(value)
                angles.see([str(found.row.get(name, "")) for name in ANGLE_COLUMNS], found.line)
            if angles.problem and not self._not_radians:
                self._not_radians = f"{self.root / self._names[number]}: {angles.problem}"
        self._absent = missing - has_null
        return finders

    def _place(self, number: int, position: int, line: int, row: Row) -> str:
        """Note the row of an image, and return the image; empty if the row names none."""
        where = f"{self._names[number]}: line {line}"
        names = {column: row.get(column) for column in row if is_file_column(column)}
        main = FILE_NAME if FILE_NAME in names else next((c for c in names if not _is_label(c)), next(iter(names), ""))
        value = names.get(main)
        sample = self._path(number, value) if isinstance(value, str) else ""
        if not sample:
            self._problems.append(f"{where} has no {main or FILE_NAME} that is a path below the folder of the file")
            return ""
        if self._places.get(sample) is not None:
            other = self._places[sample]
            assert other is not None
            before = f"line {other.line}" + ("" if other.file == number else f" of {self._names[other.file]}")
            self._faulty[sample] = f"{where} is a second row of {sample}, beside {before}; keep one row per image"
            self._problems.append(self._faulty[sample])
            return sample
        self._places[sample] = _Place(number, position, line, main)
        # Other images of the row are its label images, or accompany it.
        for column, other_name in names.items():
            if column != main and isinstance(other_name, str) and (path := self._path(number, other_name)):
                if path in self._images and _is_label(column):
                    self._label_images[path] = sample
                elif path in self._images:
                    self._places.setdefault(path, None)
        return sample

    def _path(self, number: int, name: str) -> str:
        """Return the path of a file below the root; empty if it is not below the folder of its metadata file."""
        path = posixpath.normpath(name.replace("\\", "/")) if name else ".."
        if posixpath.isabs(path) or path == ".." or path.startswith("../") or "://" in name:
            return ""
        return posixpath.join(posixpath.dirname(self._names[number]), path)

    def _info(self, objects: LayoutFinder) -> AnnotationInfo:
        """Return what is needed to write the data set again."""
        header: dict[str, Any] = {
            "files": self._names,
            "columns": {column: self._kinds[column] for column in self._columns},
            "absent": sorted(self._absent),
        }
        if self._layout is not None:
            header["objects"] = self._layout.to_json()
        if isinstance(table := self._tables[0], ParquetFile):
            header["schema"] = base64.b64encode(table.schema).decode()
        return AnnotationInfo(FORMAT, objects.categories() if self._layout else (), header)

    # --- the labels of an image ------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """Names of the labels."""
        paired = {column: name for name, columns in PAIRS.items() for column in columns}
        labels = (self._label(column) for column in self._columns if column != FILE_NAME)
        return list(dict.fromkeys(paired.get(name, name) for name in labels))

    def _label(self, column: str) -> str:
        return label_name(column, is_objects=self._layout is not None)

    def __contains__(self, sample: object) -> bool:
        """Return whether an image has a row, faulty or not."""
        return sample in self._places

    def __iter__(self) -> Iterator[str]:
        """Iterate over the images that have a row."""
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, sample: str) -> Labels:
        """Return the labels of an image.

        Raises:
            KeyError: it has no row.
            ImageError: its row is faulty.
            DataError: the angles of the metadata are not in radians.
        """
        place = self._places[sample]
        if sample in self._faulty:
            raise ImageError(sample, self._faulty[sample])
        if place is None:
            return {}
        if self._not_radians and (self._wanted is None or not self._wanted.isdisjoint(ANGLE_COLUMNS)):
            raise DataError(self._not_radians)
        where = f"{self._names[place.file]}: line {place.line}"
        try:
            return self._labels(self._tables[place.file].read(place.position), place, where)
        except (ValueError, DataError) as error:
            text = str(error)
            raise ImageError(sample, text if text.startswith(where) else f"{where}: {text}") from error
        except OSError as error:
            raise ImageError(sample, f"{where} cannot be read ({error.strerror})") from error

    def _labels(self, row: Row, place: _Place, where: str) -> Labels:
        """Return the values of a row as labels.

        Raises:
            ValueError, DataError: one of them is damaged.
        """
        cells: dict[str, str] = {}
        labels: Labels = {}
        for column, value in row.items():
            name = self._label(column)
            if column == place.column == FILE_NAME or value is None:
                continue
            if self._wanted is not None and name not in self._wanted:
                continue
            if column == COLUMN and self._layout is not None:
                labels[OBJECTS] = read_objects(value, self._layout, self._names[place.file])
            else:
                cells[name] = encode(value, self._kinds[column])
        for name in cells:
            if name == "mirrored":
                cells[name] = {"true": "1", "false": "0"}.get(cells[name], cells[name])
        return from_cells(cells, where) | labels

    def why_fixed(self) -> str:
        """Return a reason if the objects are in a Parquet file, whose rows have no text to change."""
        parquet = [name for name in self._names if name.endswith(".parquet")]
        return f"{parquet[0]} is a Parquet file" if parquet else ""

    def without(self, broken: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, Edit]]:
        """Yield the changes of rows; see :class:`refiner.data.annotations.edits.ObjectEditor`."""
        for sample, numbers in broken.items():
            place = self._places[sample]
            assert place is not None
            path = self._tables[place.file].path
            with path.open("rb") as stream:
                stream.seek(place.position)
                text = stream.readline().decode()
            span = value_span(text, COLUMN)
            if span is None:
                raise DataError(f"{path}: line {place.line} has changed since it was read; run the command again")
            before = text[slice(*span)]
            after = dumped_like(drop_objects(json.loads(before), numbers), before)
            start, end = (place.position + len(text[:at].encode()) for at in span)
            yield self._names[place.file], Edit(start, end, after.encode())

    def only(self, samples: Iterable[str], labels: Sequence[str]) -> "ImageFolderSource":
        """Return the labels of some images, small enough to send to another process."""
        part = copy.copy(self)
        part._wanted = frozenset(column for label in labels for column in (label, *PAIRS.get(label, ())))
        part._places = {sample: self._places[sample] for sample in samples if sample in self._places}
        part._faulty = {sample: self._faulty[sample] for sample in part._places if sample in self._faulty}
        part.problems, part.label_images, part._problems, part._label_images = [], {}, [], {}
        return part


def _is_label(column: str) -> bool:
    """Return whether a column of file names holds label images, such as masks."""
    return not _LABEL_WORDS.isdisjoint(re.split(r"[^a-z]+", column.lower()))


def find(root: Path, files: Sequence[str], images: Sequence[str]) -> list[ImageFolderSource]:
    """Return the source of the metadata files in a folder; see :class:`refiner.data.annotations.source.LabelFormat`.

    A file is taken only if its columns name files: other tables may have the same name.

    Raises:
        DataError: a metadata file cannot be read.
    """
    named = sorted((name for name in files if posixpath.basename(name) in METADATA_FILES), key=_order)
    found: dict[str, MetadataFile] = {}
    unused = []
    for name in named:
        table = open_metadata(root / name)
        if not any(map(is_file_column, table.columns())):
            continue
        first = next(iter(found), name)
        if posixpath.splitext(first)[1] == posixpath.splitext(name)[1]:
            found[name] = table
        else:
            unused.append(f"{name} is not read, as {first} is of another type; keep metadata files of one type")
    if not found:
        return []
    source = ImageFolderSource(root, {name: found[name] for name in sorted(found)}, images)
    source.problems = [*source.problems, *unused]
    return [source]


def _order(name: str) -> tuple[int, str]:
    return METADATA_FILES.index(posixpath.basename(name)), name
