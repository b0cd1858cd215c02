"""Reader of COCO: boxes, outlines, masks, keypoints and captions, in one or several JSON files of a folder.

Only the place of each annotation is held in memory. The annotations of an image are read from the file when they are
asked for, so that files of any size can be used, and processes only receive places.
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from refiner.core.errors import DataError, ImageError
from refiner.data.annotations.coco.index import CocoFile, Spans, read_index
from refiner.data.annotations.coco.objects import to_key, to_object
from refiner.data.annotations.coco.search import find_candidates
from refiner.data.annotations.edits import Edit, cut_elements
from refiner.data.annotations.file_names import ImageNames, Matches, clean_name
from refiner.data.annotations.json_scan import read_span, read_spans
from refiner.data.annotations.positions.run_lengths import mask_size
from refiner.data.labels.objects import OBJECTS, AnnotationInfo, Category, ImageAnnotations, ObjectLabel
from refiner.data.labels.records import Labels
from refiner.images.sizes import read_size

FORMAT = "coco"


class Entry(NamedTuple):
    """An image in a COCO file: the file's name, and the spans of its entry and its annotations.

    Attributes:
        fault: reason why its labels cannot be used; empty if they can.
    """

    file: str
    span: tuple[int, int]
    annotations: Spans
    fault: str = ""


class CocoSource(Mapping[str, Labels]):
    """The labels of a folder's images in COCO files; see :class:`refiner.data.annotations.source.LabelSource`.

    Args:
        root: the folder.
        entries: what the files say about each image, by sample id.
        categories: names of the classes of each file, by :func:`to_key` of their ids.
        info: facts about the data set.
        files, label_images, problems, oddities: see :class:`refiner.data.annotations.source.LabelSource`.
    """

    format = FORMAT

    def __init__(
        self,
        root: Path,
        entries: Mapping[str, Sequence[Entry]],
        categories: Mapping[str, Mapping[str, str]],
        info: AnnotationInfo,
        *,
        files: frozenset[str],
        label_images: Mapping[str, str | None],
        problems: Sequence[str],
        oddities: Sequence[str],
    ) -> None:
        self.root, self.info, self.files = root, info, files
        self.label_images, self.problems, self.oddities = label_images, problems, oddities
        self._entries, self._categories = entries, categories

    @property
    def names(self) -> Sequence[str]:
        """Names of the labels that images can have."""
        return (OBJECTS,) if self._entries else ()

    def __contains__(self, sample: object) -> bool:
        return sample in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def only(self, samples: Iterable[str], labels: Sequence[str]) -> "CocoSource":
        """Return the labels of some images, small enough to send to another process."""
        kept = {sample: self._entries[sample] for sample in samples if sample in self._entries}
        return CocoSource(
            self.root,
            kept if OBJECTS in labels else {},
            self._categories,
            self.info,
            files=self.files,
            label_images={name: image for name, image in self.label_images.items() if image in kept},
            problems=self.problems,
            oddities=self.oddities,
        )

    def __getitem__(self, sample: str) -> Labels:
        """Return the objects of an image.

        Raises:
            KeyError: no file names it.
            ImageError: its annotations are damaged, or they are for an image of another size.
        """
        objects: list[ObjectLabel] = []
        images: dict[str, list[Any]] = {}
        for entry in self._entries[sample]:
            if entry.fault:
                raise ImageError(sample, entry.fault)
            try:
                image = read_span(self.root / entry.file, *entry.span)
                annotations = read_spans(self.root / entry.file, entry.annotations.tolist())
                self._check_size(sample, entry, image)
                # An image that is listed twice in one file has two entries; the first one names it.
                images.setdefault(entry.file, []).append(image)
                objects += self._objects(entry, image, annotations, images[entry.file][0].get("id"))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ImageError(sample, f"has damaged annotations in {entry.file}: {error}") from error
            except OSError as error:
                raise ImageError(sample, f"has annotations in {entry.file}, which cannot be read: {error}") from error
        entries = {file: found[0] if len(found) == 1 else found for file, found in images.items()}
        return {OBJECTS: ImageAnnotations(tuple(objects), entries)}

    def _objects(
        self, entry: Entry, image: Mapping[str, Any], annotations: Sequence[Any], image_id: Any
    ) -> Iterator[ObjectLabel]:
        for number, annotation in enumerate(annotations, 1):
            try:
                each = to_object(annotation, entry.file, self._categories[entry.file], image_id, number)
                if each.mask is not None and (stated := stated_size(image)) not in (None, mask_size(each.mask)):
                    sizes = "x".join(map(str, mask_size(each.mask))), "{}x{}".format(*(stated or ()))
                    raise ValueError(f"its mask is {sizes[0]}, but its image is {sizes[1]}")
            except ValueError as error:
                raise ValueError(f"annotation {annotation.get('id', f'number {number}')}: {error}") from error
            yield each

    def why_fixed(self) -> str:
        """Return an empty text: single annotations can be cut out of a COCO file."""
        return ""

    def without(self, broken: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, Edit]]:
        """Yield the changes that cut out annotations; see :class:`refiner.data.annotations.edits.ObjectEditor`."""
        spans: dict[str, list[tuple[int, int]]] = {}
        for sample, numbers in broken.items():
            places = [(entry.file, *span) for entry in self._entries[sample] for span in entry.annotations.tolist()]
            for number in numbers:
                file, start, end = places[number]
                spans.setdefault(file, []).append((start, end))
        for file, found in spans.items():
            yield from ((file, edit) for edit in cut_elements(self.root / file, found))

    def _check_size(self, sample: str, entry: Entry, image: Mapping[str, Any]) -> None:
        """Check that the file states the size that the image has; otherwise its labels are those of another image.

        Raises:
            ImageError: it states another one.
        """
        stated = stated_size(image)
        if stated is not None and (actual := read_size(self.root / sample)) not in (None, stated):
            raise ImageError(
                sample,
                "is {}x{}, but {} says that it is {}x{}, so its labels would be wrong; correct the size or the "
                "coordinates".format(*(actual or ()), entry.file, *stated),
            )


def stated_size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return (height, width) of an image as its entry states it; None if it does not.

    Raises:
        ValueError: one of both is no whole number.
    """
    values = image.get("height"), image.get("width")
    if None in values:
        return None
    sides = [float(value) for value in values if isinstance(value, int | float | str)]
    if len(sides) < 2 or not all(side.is_integer() for side in sides):
        raise ValueError(f"its height and width are {values[0]!r} and {values[1]!r}; expected whole numbers")
    return int(sides[0]), int(sides[1])


def find(root: Path, files: Sequence[str], images: Sequence[str]) -> Sequence[CocoSource]:
    """Return the source of the COCO files in a folder; see :class:`refiner.data.annotations.source.LabelFormat`.

    Raises:
        DataError: a COCO file is damaged, or names an image that several files can be.
    """
    found = [index for name in find_candidates(root, files, images) if (index := read_index(root, name)) is not None]
    if not found:
        return []
    names = ImageNames(root, images)
    entries: dict[str, list[Entry]] = {}
    label_images: dict[str, str | None] = {}
    for index in found:
        matches = names.match(index.name, [image.name for image in index.images])
        if index.segments:
            label_images |= _segment_images(index, matches, images)
            continue
        _refuse_ambiguity(root, index.name, matches)
        for image in index.images:
            sample = matches.found.get(image.name) or matches.missing[image.name]
            fault = _shared_fault(index.name) if image.is_shared else ""
            entries.setdefault(sample, []).append(Entry(index.name, image.span, image.annotations, fault))
    used = [index for index in found if not index.segments]
    source = CocoSource(
        root,
        entries,
        {index.name: index.categories for index in used},
        to_info(used),
        files=frozenset(index.name for index in used),
        label_images=label_images,
        problems=[problem for index in found for problem in index.problems],
        oddities=[oddity for index in found for oddity in index.oddities],
    )
    return [source]


def _segment_images(index: CocoFile, matches: Matches, images: Sequence[str]) -> dict[str, str | None]:
    """Return the pictures of the segments of a panoptic file, each with its image; they have the names of the images.

    COCO puts them into a folder of the file's name, or of another name with that word.
    """
    samples = {image.key: matches.found.get(image.name) for image in index.images}
    owners = {posixpath.basename(clean_name(name)): samples.get(key) for key, name in index.segments.items()}
    folder = index.name.rpartition(".")[0]
    return {
        image: owners[base]
        for image in images
        if (base := posixpath.basename(image)) in owners
        and owners[base] != image
        and (f"/{image}".startswith(f"/{folder}/") or "panoptic" in posixpath.dirname(image).lower())
    }


def _refuse_ambiguity(root: Path, name: str, matches: Matches) -> None:
    for image, possible in matches.ambiguous.items():
        raise DataError(
            f"{root / name} names the image {image}, which can be {possible[0]} or {possible[1]}; write its folder "
            f"into file_name, or leave the file out with --exclude {name}"
        )


def _shared_fault(name: str) -> str:
    return f"has no id in {name}, or one that another image has too, so that its annotations are not certain"


def own_facts(info: AnnotationInfo) -> list[str]:
    """Return the names of the facts about a data set that only COCO files hold: ``licenses``, ``supercategory``, ..."""
    files = info.header.get("files", {}).values()
    names = dict.fromkeys(key for header in files for key, value in header.items() if value and key != "categories")
    for category in info.categories:
        names |= dict.fromkeys(key for key, value in category.extra.items() if value)
        names |= {"names of keypoints": None} if category.keypoints else {}
    return list(names)


def to_info(files: Sequence[CocoFile]) -> AnnotationInfo:
    """Return the facts about the data set: the classes of all files, each name and number once."""
    categories: dict[tuple[str, str], Category] = {}
    for file in files:
        raw = file.header.get("categories")
        for each in raw if isinstance(raw, list) else []:
            if isinstance(each, dict) and (key := to_key(each.get("id"))) is not None:
                category = _category(each, file.categories[key], len(categories) + 1)
                before = categories.get((key, category.name))
                if before is None or (category.keypoints and not before.keypoints):
                    categories[key, category.name] = category
    header = {
        "files": {file.name: file.header for file in files},
        "next_ids": {file.name: file.next_id for file in files},
    }
    return AnnotationInfo(FORMAT, _with_own_ids(categories.values()), header)


def _category(raw: Mapping[str, Any], name: str, number: int) -> Category:
    keypoints = raw.get("keypoints")
    key = to_key(raw.get("id"))
    identity = int(key) if key is not None and key.removeprefix("-").isdecimal() else number
    names = tuple(map(str, keypoints)) if isinstance(keypoints, list) else ()
    return Category(identity, name, names, {k: v for k, v in raw.items() if k not in ("id", "name", "keypoints")})


def _with_own_ids(categories: Iterable[Category]) -> list[Category]:
    """Return the classes, with another number for each whose number a class of an earlier file has."""
    result: dict[int, Category] = {}
    for each in categories:
        number = each.id if each.id not in result else max(result) + 1
        result[number] = Category(number, each.name, each.keypoints, each.extra)
    return list(result.values())
