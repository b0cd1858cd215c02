"""Labels of a folder of images, from ``labels.csv`` and from annotations in other formats."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.errors import DataError, ImageError, WrongInputError
from refiner.core.files import read_regular
from refiner.data.annotations.masks import MaskObjects
from refiner.data.annotations.source import LabelSource
from refiner.data.folders.contents import FolderContents
from refiner.data.labels.coordinates import PIXEL_LABELS
from refiner.data.labels.label_table import LabelTable
from refiner.data.labels.objects import OBJECTS, AnnotationInfo
from refiner.data.labels.records import Labels
from refiner.data.labels.tables import INFO_FILE, LABELS_FILE


class FolderLabels(Mapping[str, Labels]):
    """The labels of a folder by sample id, read image by image; it is a :class:`LabelSource` itself.

    If two sources give an image the same label, the first one counts; see :meth:`clashes`.

    Args:
        table: the label table, already matched with the images; None if the folder has none.
        sources: annotations in other formats.
        info: facts about the objects in the label table; None if it has none.

    Attributes:
        files, label_images, problems: those of all sources; see :class:`LabelSource`.
    """

    format = "folder"

    def __init__(
        self, table: LabelTable | None, sources: Sequence[LabelSource] = (), info: AnnotationInfo | None = None
    ) -> None:
        self.table, self.sources, self._info = table, tuple(sources), info
        own = frozenset() if table is None else frozenset([LABELS_FILE, INFO_FILE])
        self.files: frozenset[str] = own.union(*(source.files for source in sources))
        self.label_images: Mapping[str, str | None] = {
            name: image for source in sources for name, image in source.label_images.items()
        }
        self.problems: Sequence[str] = [problem for source in self.all_sources for problem in source.problems]

    @property
    def all_sources(self) -> tuple[LabelTable | LabelSource, ...]:
        """The label table, if there is one, and the annotations in other formats."""
        return self.sources if self.table is None else (self.table, *self.sources)

    @property
    def formats(self) -> tuple[str, ...]:
        """Names of the formats of the annotations, without that of the label table."""
        return tuple(dict.fromkeys(source.format for source in self.sources if source.names))

    @property
    def info(self) -> AnnotationInfo | None:
        """Facts about the objects of the whole folder. Those of several sources are merged by the names of classes."""
        found = [self._info, *(source.info for source in self.sources if source.names)]
        return merge_infos([info for info in found if info is not None])

    @property
    def names(self) -> list[str]:
        """Names of the labels that images can have."""
        return list(dict.fromkeys(name for source in self.all_sources for name in source.names))

    @property
    def renamed(self) -> dict[str, str]:
        """The row of each image that the label table names in another way."""
        return {} if self.table is None else self.table.renamed

    def only(self, samples: Iterable[str], labels: Sequence[str]) -> "FolderLabels":
        """Return the labels of some images, small enough to send to another process; see :class:`LabelSource`."""
        samples = list(samples)
        table = None if self.table is None else self.table.only(samples, labels)
        return FolderLabels(table, [source.only(samples, labels) for source in self.sources], self._info)

    def sound_rows(self) -> dict[str, Labels]:
        """Return the labels of all images, without those that are faulty."""
        rows: dict[str, Labels] = {}
        for source in self.all_sources:
            found = source.sound_rows().items() if isinstance(source, LabelTable) else _sound(source)
            for sample, labels in found:
                rows[sample] = {**labels, **rows.get(sample, {})}
        return rows

    def clashes(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield each image and label to which two sources give different values, and the names of both sources.

        Only labels that several sources know are read. The first source is the one that counts.
        """
        for number, second in enumerate(self.all_sources):
            for first in self.all_sources[:number]:
                shared = set(first.names).intersection(second.names)
                for sample in (sample for sample in second if shared and sample in first):
                    with contextlib.suppress(ImageError):  # faulty labels are reported where they are used
                        before, after = first[sample], second[sample]
                        different = sorted(name for name in shared if _differ(before.get(name), after.get(name)))
                        yield from ((sample, name, source_name(first), source_name(second)) for name in different)

    def __getitem__(self, sample: str) -> Labels:
        """Return the labels of one image.

        Raises:
            KeyError: the image has none.
            ImageError: they are faulty.
            DataError: the angles of the table are not in radians.
        """
        found = [source[sample] for source in self.all_sources if sample in source]
        if not found:
            raise KeyError(sample)
        return {name: value for labels in reversed(found) for name, value in labels.items()}

    def __contains__(self, sample: object) -> bool:
        """Return whether an image has labels, faulty or not, without reading them."""
        return any(sample in source for source in self.all_sources)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the sample ids, source by source."""
        return iter(dict.fromkeys(sample for source in self.all_sources for sample in source))

    def __len__(self) -> int:
        return len(self.all_sources[0]) if len(self.all_sources) == 1 else sum(1 for _ in self)


def source_name(source: LabelTable | LabelSource) -> str:
    """Return the name of a source for a message: its file, or one of them and their number."""
    if isinstance(source, LabelTable):
        return LABELS_FILE
    files = sorted(source.files)
    return (files[0] if files else source.format) + (f" and {len(files) - 1} more" if len(files) > 1 else "")


def _sound(source: LabelSource) -> Iterator[tuple[str, Labels]]:
    for sample in source:
        with contextlib.suppress(ImageError):
            yield sample, source[sample]


def _differ(first: Any, second: Any) -> bool:
    """Return whether two values of a label differ; a missing one agrees with every other."""
    if first is None or second is None:
        return False
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return not np.array_equal(first, second)
    return bool(first != second)


def open_labels(root: Path, contents: FolderContents) -> FolderLabels | None:
    """Open the labels of a folder; the rows of its label table are matched with the images.

    Args:
        root: the folder.
        contents: its files.

    Returns:
        The labels; None if there are none, or their files are excluded.

    Raises:
        DataError: the table cannot be read, none of its rows names an image, or the file beside it is damaged.
    """
    table = _open_table(root, contents)
    info = None
    if table is not None and OBJECTS in table.names and INFO_FILE in contents.companions:
        info = _read_info(root / INFO_FILE)
    return FolderLabels(table, contents.sources, info) if table is not None or contents.sources else None


def with_mask_objects(
    root: Path, contents: FolderContents, labels: FolderLabels | None, *, in_all: bool = False
) -> FolderLabels | None:
    """Return the labels of a folder with the objects in its masks, unless they have objects already.

    Args:
        root: the folder.
        contents: its files.
        labels: its labels; None if there are none.
        in_all: an image without mask counts as one without objects, not as one without label.
    """
    masks = MaskObjects(root, contents.label_images, contents.images if in_all else ())
    if not masks.places or (labels is not None and OBJECTS in labels.names):
        return labels
    return FolderLabels(None, [masks]) if labels is None else FolderLabels(labels.table, [*labels.sources, masks])


def with_drift_objects(root: Path, contents: FolderContents, labels: FolderLabels | None) -> FolderLabels | None:
    """Return the labels on which drift is measured: those in the masks, too, if there are no points and no objects.

    An image without mask counts as one without objects.

    Args:
        root: the folder.
        contents: its files.
        labels: its labels; None if there are none.
    """
    if labels is not None and not {*PIXEL_LABELS}.isdisjoint(labels.names):
        return labels
    return with_mask_objects(root, contents, labels, in_all=True)


def _read_info(path: Path) -> AnnotationInfo:
    try:
        text = read_regular(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); copy it again, or delete it") from error
    return AnnotationInfo.from_json(text, str(path))


def merge_infos(infos: Sequence[AnnotationInfo]) -> AnnotationInfo | None:
    """Return the facts of several sources as one: the first, with the classes that only others have at the end.

    A class whose number is taken by another class gets the next free one.
    """
    if len(infos) < 2:
        return infos[0] if infos else None
    categories = list(infos[0].categories)
    for category in (category for info in infos[1:] for category in info.categories):
        if category.name not in {each.name for each in categories}:
            taken = {each.id for each in categories}
            number = category.id if category.id not in taken else max(taken) + 1
            categories.append(replace(category, id=number))
    return replace(infos[0], categories=tuple(categories))


def _open_table(root: Path, contents: FolderContents) -> LabelTable | None:
    path, names = root / LABELS_FILE, contents.images
    if LABELS_FILE not in contents.companions:
        return None
    table = LabelTable(path)
    table.match(names, root)
    if len(table) and not any(name in table for name in names):
        row = next(iter(table))
        raise WrongInputError(
            f"no row of {path} names an image of the folder: the first row names {row}, and the first image is "
            f"{names[0]}; write into the column 'file' the path of each image below the folder"
        )
    return table
