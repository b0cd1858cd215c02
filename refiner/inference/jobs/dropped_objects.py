"""``refine --drop-objects``: annotation files without the objects whose drift is above the limit."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from refiner.core.errors import UsageError, WrongInputError
from refiner.core.files import content_digest
from refiner.data.annotations.edits import Edit, ObjectEditor, write_edited
from refiner.data.annotations.source import LabelSource
from refiner.data.drift.regions import LabelRegion
from refiner.data.drift.table import DROPPED_FILE, DriftLimit, LabelDrift
from refiner.data.folders.labels import FolderLabels
from refiner.data.folders.left_out import EXAMPLES, LeftOut
from refiner.data.folders.table_objects import TableObjects
from refiner.data.labels.label_table import LabelTable
from refiner.data.labels.objects import OBJECTS
from refiner.data.labels.tables import LABELS_FILE, write_table
from refiner.data.output.folder import OutputFolder

_COLUMNS = ("file", "object", "class", "score", "reason")


class ObjectDropper:
    """The annotation files of a folder, and the objects that they lose.

    Args:
        source: the folder of the originals.
        labels: its labels; None if it has none.
        region: the region where drift is measured.
        limit: the limit of drift, which drops objects.

    Attributes:
        files: the annotation files with objects; they are written when the drift of all images is known.

    Raises:
        UsageError: there are no objects, their drift is not measured, or their files cannot be changed.
    """

    def __init__(self, source: Path, labels: FolderLabels | None, region: LabelRegion, limit: DriftLimit) -> None:
        self.source, self.limit = source, limit
        sources = [] if labels is None else [each for each in labels.all_sources if OBJECTS in each.names]
        if not sources:
            raise UsageError(f"--drop-objects needs annotated objects, and {source} has none; leave it out")
        if region.mask is not None or region.points not in (None, OBJECTS):
            raise UsageError(
                "--drop-objects needs the drift of the objects, but --points or --mask asks for that of something "
                "else; leave one of them out"
            )
        self.editors = [(each, _editor(each, source)) for each in sources]
        self.files = frozenset[str]().union(*(_files(each) for each in sources))
        _check_apart(source, sources)
        self.count = 0
        self._broken: dict[str, list[int]] = {}
        self._examples: list[str] = []

    def take(self, drifts: Iterable[tuple[str, LabelDrift]]) -> Iterator[tuple[str, LabelDrift]]:
        """Yield images and their drift as they come, and note the objects to drop."""
        for name, drift in drifts:
            broken = [number for number, each in enumerate(drift.objects) if self.limit.drops(each)]
            if broken:
                self._broken[name] = broken
                self.count += len(broken)
                for number in broken[: EXAMPLES - len(self._examples)]:
                    self._examples.append(f"{name} {drift.objects[number].name}")
            yield name, drift

    def write(self, output: OutputFolder, names: Iterable[str]) -> None:
        """Write annotation files without the dropped objects; a file that loses none is copied.

        Args:
            output: the folder of the refined images.
            names: the annotation files to write, relative to the folder.

        Raises:
            DataError: an annotation file has changed in the meantime.
            OutputError: a file cannot be written.
        """
        # Find the changes of each file; an image has its objects in one source.
        edits: dict[str, set[Edit]] = {}
        for source, editor in self.editors:
            mine = {name: broken for name, broken in self._broken.items() if name in source}
            for name, edit in editor.without(mine):
                edits.setdefault(name, set()).add(edit)  # two images may share a file
        # Write the files that change, and copy the others.
        for name in names:
            if name not in edits:
                output.copy(self.source / name, name)
                continue
            changes = hashlib.sha256(repr(sorted(edits[name])).encode()).hexdigest()[:16]
            stamp = f"{content_digest(self.source / name)} {changes}"
            if output.stamp_of(name) != stamp:
                output.claim(name)
                write_edited(self.source / name, output.root / name, edits[name])
                output.finish(name, stamp)

    def write_list(self, path: Path, drifts: Iterable[tuple[str, LabelDrift]]) -> None:
        """Write ``dropped_objects.csv`` with a row for each dropped object.

        Args:
            path: the table.
            drifts: the images that lose objects, with their drift.

        Raises:
            OutputError: the table cannot be written.
        """
        write_table(path, _COLUMNS, self._rows(drifts))

    def _rows(self, drifts: Iterable[tuple[str, LabelDrift]]) -> Iterator[Mapping[str, str]]:
        for name, drift in drifts:
            for each in drift.objects:
                if self.limit.drops(each):
                    reason = f"{each.sentence()} (drift score {each.score:.2f}, limit {self.limit.score:g})"
                    row = (name, each.id, each.category, f"{each.score:.3f}", reason)
                    yield dict(zip(_COLUMNS, row, strict=True))

    @property
    def images(self) -> list[str]:
        """Names of the images that lose objects."""
        return list(self._broken)

    def reports(self) -> Iterator[LeftOut]:
        """Yield a report about the dropped objects, if there are any."""
        if self.count:
            what = (
                f"{self.count:,} objects lose their annotations" if self.count > 1 else "1 object loses its annotation"
            )
            more = f" and {self.count - EXAMPLES:,} more" if self.count > EXAMPLES else ""
            text = f"{what}, as the drift score is above the limit; see {DROPPED_FILE}"
            yield LeftOut(
                "dropped objects",
                self.count,
                tuple(self._examples),
                f"{text}: {', '.join(self._examples)}{more}",
                is_loss=True,
            )


def _editor(source: LabelTable | LabelSource, root: Path) -> ObjectEditor:
    editor = TableObjects(source) if isinstance(source, LabelTable) else source
    reason = editor.why_fixed() if isinstance(editor, ObjectEditor) else f"{editor.format} is only read"
    if reason or not isinstance(editor, ObjectEditor):
        raise UsageError(
            f"--drop-objects cannot write the annotations of {root} without some of their objects, as {reason}; "
            f"convert them first: refiner convert {root} OUT --to coco"
        )
    return editor


def _files(source: LabelTable | LabelSource) -> frozenset[str]:
    return frozenset([LABELS_FILE]) if isinstance(source, LabelTable) else source.files


def _check_apart(root: Path, sources: Sequence[LabelTable | LabelSource]) -> None:
    """Refuse a folder in which two sources have the objects of one image: one would keep the broken ones."""
    seen: set[str] = set()
    for source in sources:
        for name in source:
            if name in seen:
                raise WrongInputError(
                    f"--drop-objects cannot be used, as two annotation files of different formats in {root} hold the "
                    f"objects of {name}; leave one out with --exclude"
                )
            seen.add(name)
