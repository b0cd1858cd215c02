"""Reader of YOLO data sets: a text file for each image, with an object in each line.

Boxes become boxes in pixels, outlines and boxes at any angle become polygons, keypoints become keypoints with
visibility. An empty file says that an image holds no objects; without a file, the objects of an image are not known.
The text of each line is kept with its object, so that unchanged labels are written again with the same digits.
"""

import codecs
import copy
import functools
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from refiner.core.errors import DataError, ImageError
from refiner.core.files import read_regular
from refiner.data.annotations.edits import Edit
from refiner.data.annotations.yolo.layout import ClassNames, find_class_names, label_path, names_for, pair_files
from refiner.data.annotations.yolo.lines import Shape, parse_line, to_pixels
from refiner.data.annotations.yolo.lists import Lists, find_lists
from refiner.data.labels.objects import OBJECTS, AnnotationInfo, Category, ImageAnnotations, ObjectLabel
from refiner.data.labels.records import Labels
from refiner.images.sizes import read_size

log = logging.getLogger(__name__)

FORMAT = "yolo"

LINE = "yolo_line"
"""Name of the further field of an object that holds its line."""

SCORE = "score"
"""Name of the further field of an object that holds its confidence."""

LISTED = "yolo_listed"
"""Name of the entry of an image about a list of images: what stands before its path there."""

_SAMPLE = 200  # text files that are read to find out whether they are YOLO's

_SOUND_SHARE = 0.9
"""Least share of sound files, among those with objects, that proves the format without a file of classes."""


class YoloSource:
    """Labels of the images in a YOLO data set; see :class:`refiner.data.annotations.source.LabelSource`.

    Args:
        root: the folder.
        pairs: the text file of each image, or of a text file itself if it has no image.
        classes: the classes.
        lists: lists of images.
    """

    format = FORMAT

    def __init__(self, root: Path, pairs: Mapping[str, str], classes: ClassNames, lists: Lists) -> None:
        self.root, self._pairs, self._classes, self._lists = root, dict(pairs), classes, lists
        self.files = frozenset([*pairs.values(), *classes.files, *lists])
        self.label_images: Mapping[str, str | None] = {}
        self.problems: Sequence[str] = []

    names: Sequence[str] = (OBJECTS,)

    @cached_property
    def info(self) -> AnnotationInfo | None:
        """The classes, and what ``data.yaml`` says besides them."""
        classes = self._classes
        names = classes.names
        if names is None:  # every class that occurs, and those between
            names = {number: str(number) for number in range(self._highest_class() + 1)}
        categories = [Category(number, name, classes.keypoint_names.get(number, ())) for number, name in names.items()]
        header: dict[str, Any] = {"files": list(classes.files), "data": dict(classes.data)}
        if self._lists:
            # Images without a text file have no label that could say in which lists they are.
            header["lists"] = {
                name: {label_path(image): before for image, before in images.items() if image not in self._pairs}
                for name, images in self._lists.items()
            }
        if classes.keypoints is not None:
            header["kpt_shape"] = list(classes.keypoints)
        return AnnotationInfo(FORMAT, categories, header)

    def _highest_class(self) -> int:
        highest = -1
        for name in set(self._pairs.values()):
            try:
                highest = max([highest, *(shape.number for _, shape in self._shapes(name))])
            except (ValueError, OSError):  # reported where the labels are used
                continue
        return highest

    def __contains__(self, sample: object) -> bool:
        """Return whether an image has a text file."""
        return sample in self._pairs

    def __iter__(self) -> Iterator[str]:
        """Iterate over the images with a text file, and over the text files without an image."""
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, sample: str) -> Labels:
        """Return the objects of an image.

        Raises:
            KeyError: it has no text file.
            ImageError: the text file or the image is faulty.
        """
        name = self._pairs[sample]
        try:
            shapes = self._shapes(name)
        except ValueError as error:
            raise ImageError(sample, f"{name}: {error}") from error
        except OSError as error:
            raise ImageError(sample, f"{name} cannot be read ({error.strerror or error})") from error
        size = read_size(self.root / sample) if shapes else (0, 0)
        if size is None:
            raise ImageError(sample, "has no size that can be read, which its YOLO labels need")
        objects = [self._object(f"{number}", line, shape, name, size) for number, (line, shape) in enumerate(shapes)]
        entries = {name: {LISTED: images[sample]} for name, images in self._lists.items() if sample in images}
        return {OBJECTS: ImageAnnotations(tuple(objects), entries)}

    def _shapes(self, name: str) -> list[tuple[str, Shape]]:
        """Return the lines of a text file that are not blank, each with its object.

        Raises:
            ValueError: a line is faulty.
            OSError: the file cannot be read.
        """
        return read_shapes(self.root / name, self._classes)

    def _object(self, number: str, line: str, shape: Shape, file: str, size: tuple[int, int]) -> ObjectLabel:
        box, outline, keypoints = to_pixels(shape, size)
        names = self._classes.names
        extra: dict[str, Any] = {LINE: line}
        if shape.confidence is not None:
            extra[SCORE] = shape.confidence
        return ObjectLabel(
            number,
            str(shape.number) if names is None else names[shape.number],
            box,
            (outline,) if outline else (),
            keypoints=keypoints,
            file=file,
            extra=extra,
        )

    def why_fixed(self) -> str:
        """Return a reason if two images share a text file."""
        files = [*self._pairs.values()]
        return "two images share a label file" if len({*files}) < len(files) else ""

    def without(self, broken: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, Edit]]:
        """Yield the changes that cut out lines; see :class:`refiner.data.annotations.edits.ObjectEditor`."""
        for sample, numbers in broken.items():
            name = self._pairs[sample]
            start, spans = 0, []
            for line in read_regular(self.root / name).splitlines(keepends=True):
                if line.removeprefix(codecs.BOM_UTF8).strip():
                    spans.append((start, start + len(line)))
                start += len(line)
            if numbers and numbers[-1] >= len(spans):
                raise DataError(f"{self.root / name} has changed since it was read; run the command again")
            yield from ((name, Edit(*spans[number])) for number in numbers)

    def only(self, samples: Iterable[str], labels: Sequence[str]) -> "YoloSource":
        """Return the labels of some images, small enough to send to another process."""
        part = copy.copy(self)
        part.__dict__.pop("info", None)  # it may need all files
        part._pairs = {sample: self._pairs[sample] for sample in samples if sample in self._pairs}
        part._lists = {
            name: {sample: images[sample] for sample in part._pairs if sample in images}
            for name, images in self._lists.items()
        }
        part.files = frozenset()
        return part


def read_shapes(path: Path, classes: ClassNames) -> list[tuple[str, Shape]]:
    """Return the lines of a text file that are not blank, each with its object.

    Raises:
        ValueError: a line is faulty; the message has its number.
        OSError: the file cannot be read.
    """
    found = []
    for number, raw in enumerate(read_regular(path).splitlines(), 1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise ValueError(f"line {number} is not UTF-8 text") from error
        if line:
            try:
                shape = parse_line(line, classes.keypoints, has_data_file=bool(classes.data))
                if classes.names is not None and shape.number not in classes.names:
                    raise ValueError(
                        f"names the class {shape.number}, but {classes.files[0]} has {len(classes.names)} classes"
                    )
            except ValueError as error:
                raise ValueError(f"line {number} {error}") from error
            found.append((line, shape))
    return found


def find(root: Path, files: Sequence[str], images: Sequence[str]) -> list[YoloSource]:
    """Return the sources of a YOLO data set; see :class:`refiner.data.annotations.source.LabelFormat`.

    Parts of the folder with classes of their own are sources of their own. Text files beside images may be notes: they
    are taken only if a ``data.yaml`` is above them, or if their lines are those of YOLO.
    """
    pairs = pair_files(images, files)
    if not pairs:
        return []
    known = find_class_names(root, files)
    # Parts of the folder with other classes are sources of their own.
    groups: dict[str, tuple[ClassNames, dict[str, str]]] = {}
    for image, text in pairs.items():
        classes = names_for(text, known)
        groups.setdefault(_key(classes), (classes, {}))[1][image] = text
    sources = []
    texts = {*pairs.values()}
    for key, (classes, part) in groups.items():
        certain = {image: text for image, text in part.items() if classes.data and text == label_path(image)}
        other = {image: text for image, text in part.items() if image not in certain}
        if not _are_yolo(root, classes, [*other.values()]):
            other = {}
        if found := {image: text for image, text in part.items() if image in certain or image in other}:
            for name in _without_image(files, pairs.values(), found.values()):
                if _key(names_for(name, known)) == key and _are_yolo(root, classes, [name]):
                    found[name] = name
            if classes.names is None:
                _say_numbers_only(root)
            same = [file for each in known if each.names == classes.names for file in each.files]
            own = replace(classes, files=tuple(dict.fromkeys([*classes.files, *same])))
            others = [name for name in files if name not in texts]
            sources.append(YoloSource(root, found, own, find_lists(root, others, images, classes.data)))
    return sources


def _key(classes: ClassNames) -> str:
    """Return a text that is equal for equal classes."""
    return json.dumps([classes.names, classes.keypoints, bool(classes.data)])


def _without_image(files: Iterable[str], paired: Iterable[str], used: Iterable[str]) -> Iterator[str]:
    """Yield the text files that belong to no image, in the folders of those that do."""
    taken, folders = {*paired}, {name.rpartition("/")[0] for name in used}
    for name in files:
        if name.lower().endswith(".txt") and name not in taken and name.rpartition("/")[0] in folders:
            yield name


@functools.lru_cache(maxsize=16)
def _say_numbers_only(root: Path) -> None:
    """Say once that no file names the classes."""
    log.warning(
        "%s: the YOLO labels have no data.yaml, classes.txt or obj.names, so their classes are named 0, 1, ...", root
    )


def _are_yolo(root: Path, classes: ClassNames, names: Sequence[str]) -> bool:
    """Return whether text files are those of YOLO, by a sample of them; files without any line prove nothing."""
    step = max(1, len(names) // _SAMPLE)
    sound = faulty = 0
    for name in names[::step]:
        try:
            sound += bool(read_shapes(root / name, classes))
        except (ValueError, OSError):
            faulty += 1
    if classes.names is not None and names and not faulty:  # empty files beside a list of classes
        return True
    return sound > 0 and sound >= _SOUND_SHARE * (sound + faulty)
