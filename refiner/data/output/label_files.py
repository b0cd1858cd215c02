"""Label files of a folder that is written: ``labels.csv``, and annotations in another format."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping

from refiner.core.errors import DataError
from refiner.core.files import write_bytes
from refiner.data.annotations.registry import WRITERS, facts_left_out
from refiner.data.annotations.source import LabelledImage
from refiner.data.folders.labels import FolderLabels
from refiner.data.folders.left_out import LeftOut, left_out
from refiner.data.formats.registry import Dataset, info_of
from refiner.data.labels.objects import OBJECTS, AnnotationInfo
from refiner.data.labels.records import PAIRS, from_cells
from refiner.data.labels.tables import INFO_FILE, LABELS_FILE, write_table
from refiner.data.output.chunks import Line
from refiner.data.output.folder import OutputFolder
from refiner.data.output.output_names import STATE_FOLDER, is_too_long, leads_out
from refiner.data.store.hdf5 import ImageKind

FOLDER = "folder"
"""Name of the format whose labels are in ``labels.csv``."""

_FALLBACK = "coco"  # format for objects that came in one that is not written

_PAIRED = {column: name for name, columns in PAIRS.items() for column in columns}


def usual_format(dataset: Dataset) -> str:
    """Return the format in which a folder made of a data set holds its labels, unless the user names one.

    That is the format in which they came, else COCO for objects, else ``labels.csv``.
    """
    labels = getattr(dataset, "labels", None)
    came_in = [*labels.formats] if isinstance(labels, FolderLabels) else []
    if isinstance(labels, FolderLabels) and labels.table is not None and OBJECTS in labels.table.names:
        came_in.insert(0, FOLDER)
    if isinstance(root := getattr(dataset, "label_format", None), str):
        came_in.append(root)
    for name in came_in:
        if name == FOLDER or name in WRITERS:
            return name
    return _FALLBACK if info_of(dataset) is not None and _FALLBACK in WRITERS else FOLDER


class LabelFiles:
    """The label files of one folder.

    Args:
        to: format of the annotations: a key of :data:`WRITERS`, or :data:`FOLDER`.
        info: facts about the annotated objects; None if there are none.

    Attributes:
        lost: names of the images with labels that the format could not hold as they are, by what happened to them.
    """

    def __init__(self, to: str = FOLDER, info: AnnotationInfo | None = None) -> None:
        self.to, self.info = to, info
        self._writer = WRITERS.get(to)
        self.lost: dict[str, list[str]] = {}

    def image_name(self, name: str) -> str:
        """Return the path below the folder under which the format expects an image."""
        return name if self._writer is None or leads_out(name) else self._writer.image_name(name)

    def write(self, output: OutputFolder, lines: Callable[[], Iterable[Line]]) -> list[str]:
        """Write the files; return their names.

        Args:
            output: the folder.
            lines: returns the outcomes of all samples, in order.

        Raises:
            DataError: the format cannot hold the labels.
            OutputError: a file cannot be written, or one of the user would be replaced.
        """
        written = [*self._write_annotations(output, lines), *self._write_table(output, lines)]
        if self.info is not None and self._writer is None:
            output.claim(INFO_FILE)
            write_bytes(output.root / INFO_FILE, self.info.to_json().encode(errors="backslashreplace"))
            written.append(INFO_FILE)
        return written

    def _write_table(self, output: OutputFolder, lines: Callable[[], Iterable[Line]]) -> list[str]:
        """Write the labels that the other format does not hold into ``labels.csv``, if there are any."""
        seen = dict.fromkeys(column for line in lines() for column in line.cells)
        columns = [column for column in seen if not self._holds(column)]
        if not columns:
            return []
        rows = ({"file": line.name, **_chosen(line.cells, columns)} for line in lines() if line.name)
        output.claim(LABELS_FILE)
        write_table(output.root / LABELS_FILE, ["file", *columns], rows)
        return [LABELS_FILE]

    def _write_annotations(self, output: OutputFolder, lines: Callable[[], Iterable[Line]]) -> list[str]:
        if self._writer is None:
            return []
        # Write into an empty folder, so that the files of the user can be protected before anything is replaced.
        folder = output.root / STATE_FOLDER / "annotations"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.lost.clear()
        names = sorted(self._writer.write(folder, self._images(lines()), self.info, self._note_loss))
        if unusable := [name for name in names if leads_out(name) or is_too_long(name)]:
            raise DataError(f"the annotations cannot be written to {unusable[0]!r}; choose another format with --to")
        output.claim(*names)
        for name in names:
            place = output.root / name
            place.parent.mkdir(parents=True, exist_ok=True)
            (folder / name).replace(place)
        shutil.rmtree(folder, ignore_errors=True)
        return names

    def _note_loss(self, what: str, name: str) -> None:
        self.lost.setdefault(what, []).append(name)

    def losses(self) -> Iterator[LeftOut]:
        """Yield a report for each kind of labels that the format could not hold as they are."""
        for what, names in self.lost.items():
            one, many = f"{{count}} image: {what}", f"{{count}} images: {what}"
            yield from left_out(f"labels of another kind: {what}", dict.fromkeys(names), one, many, is_loss=True)
        if self._writer is not None:
            yield from left_out(
                "facts about the data set",
                facts_left_out(self.info, self.to),
                f"{{count}} fact about the data set or its classes is not part of {self.to} files",
                f"{{count}} facts about the data set or its classes are not part of {self.to} files",
            )

    def _images(self, lines: Iterable[Line]) -> Iterator[LabelledImage]:
        for line in lines:
            if line.name:
                held = {column: text for column, text in line.cells.items() if self._holds(column)}
                kind = ImageKind.parse(line.kind)
                yield LabelledImage(line.name, (kind.height, kind.width), from_cells(held, line.source))

    def _holds(self, column: str) -> bool:
        return self._writer is not None and self._writer.holds(_PAIRED.get(column, column))


def _chosen(cells: Mapping[str, str], columns: Iterable[str]) -> dict[str, str]:
    return {column: cells[column] for column in columns if column in cells}
