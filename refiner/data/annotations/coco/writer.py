"""Writer of COCO: the files that the annotations came in, or one new file for annotations of another format.

Images and annotations are collected in files on the disk, so that memory stays flat, and joined at the end.
"""

import json
import logging
import posixpath
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from refiner.core.errors import DataError, OutputError
from refiner.core.files import TEMPORARY_PREFIX, atomic_path
from refiner.data.annotations.coco.objects import from_object, new_annotation
from refiner.data.annotations.coco.reader import FORMAT, stated_size
from refiner.data.annotations.file_names import clean_name
from refiner.data.annotations.positions.bounds import bounds_of
from refiner.data.annotations.source import LabelledImage, Lost
from refiner.data.labels.objects import OBJECTS, AnnotationInfo, Category, ImageAnnotations, ObjectLabel

log = logging.getLogger(__name__)

NEW_FILE = "annotations.json"
"""Name of the file for annotations that came in another format."""

NO_CLASS = "object"
"""Name of the class of objects without class, since every annotation of COCO has one."""

SCENES = ("bop", "solo", "perception")
"""Formats whose facts about an image, such as its camera, become fields of its entry."""

_OWN = ("id", "file_name", "height", "width", "license")  # fields of an entry that have a meaning in COCO

_BUFFERED = 2**24
"""Number of characters that are kept in memory before they are written to the disk."""


def image_name(name: str) -> str:
    """Return the path of an image below the folder, which COCO leaves as it is."""
    return name


def holds(label: str) -> bool:
    """Return whether COCO holds a label of this name: the objects."""
    return label == OBJECTS


def write(
    root: Path, images: Iterable[LabelledImage], info: AnnotationInfo | None, lost: Lost | None = None
) -> list[str]:
    """Write the COCO files of a folder; see :class:`refiner.data.annotations.source.LabelWriter`.

    Annotations that came in COCO keep their ids, and the files their names and all other facts. The size of each image
    is always written. Other annotations get ids from 1, and so do images and classes. Objects of other formats without
    any place are left out, as the tools of BOP do: evaluation and training fail on an annotation without ``bbox``.

    Raises:
        DataError: an image has objects that COCO cannot hold.
        OutputError: a file cannot be written.
    """
    say = lost or (lambda what, name: log.warning("%s: %s", name, what))
    header = info.header.get("files", {}) if info is not None and info.format == FORMAT else {}
    next_ids = info.header.get("next_ids", {}) if info is not None and header else {}
    files = {name: _File(root, name, values, next_ids.get(name, 1)) for name, values in header.items()}
    try:
        for image in images:
            annotations = image.labels.get(OBJECTS, ImageAnnotations())
            kept = [name for name in files if name in annotations.entries]
            others = [each for each in annotations.objects if each.file not in kept]
            try:
                for name in kept:
                    mine = [each for each in annotations.objects if each.file == name]
                    files[name].add(image, annotations.entries[name], mine)
                # Objects of other formats, and all images if there is nothing else, go into a file of their own.
                if others or not header:
                    new = files.setdefault(NEW_FILE, _NewFile(root, () if info is None else info.categories))
                    placed = [each for each in others if each.box is not None or bounds_of(each) is not None]
                    if len(placed) < len(others):
                        say(
                            "objects without any place, such as hidden ones, are left out: COCO needs boxes", image.name
                        )
                    new.add(image, _facts(annotations) if info is not None and info.format in SCENES else {}, placed)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise DataError(f"{image.name}: its {OBJECTS} cannot be written as COCO: {error}") from error
        if not files:
            files[NEW_FILE] = _NewFile(root, () if info is None else info.categories)
        return [each.finish() for each in files.values()]
    finally:
        for each in files.values():
            each.clear()


class _List:
    """A list of JSON values on the disk, in the order in which they are added."""

    def __init__(self, path: Path) -> None:
        self._path, self._waiting, self._size, self.count = path, list[str](), 0, 0

    def add(self, value: Any) -> None:
        """Add a value."""
        text = json.dumps(value, separators=(",", ":"))
        self._waiting.append(("," if self.count else "") + text)
        self._size += len(text)
        self.count += 1
        if self._size > _BUFFERED:
            self._flush()

    def _flush(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="ascii") as stream:
                stream.writelines(self._waiting)
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written ({error.strerror or error}); free some space") from error
        self._waiting, self._size = [], 0

    def copy_to(self, stream: IO[str]) -> None:
        """Write the list as JSON."""
        stream.write("[")
        if self._path.exists():
            with self._path.open(encoding="ascii") as source:
                shutil.copyfileobj(source, stream, 2**20)
        stream.writelines(self._waiting)
        stream.write("]")

    def clear(self) -> None:
        """Remove the file on the disk."""
        self._path.unlink(missing_ok=True)


class _File:
    """A COCO file that is being written, from which the annotations came.

    Args:
        root: the folder.
        name: path of the file below it.
        header: its values but for images and annotations.
        next_id: first id for annotations that have none.
    """

    def __init__(self, root: Path, name: str, header: Mapping[str, Any], next_id: int = 1) -> None:
        self.name, self._path, self._header, self._next_id = name, root / name, header, next_id
        self._images, self._annotations = (
            _List(self._path.with_name(f"{TEMPORARY_PREFIX}{self._path.name}.{kind}"))
            for kind in ("images", "annotations")
        )

    def add(self, image: LabelledImage, entry: Any, objects: Iterable[ObjectLabel]) -> None:
        """Add an image with its objects.

        Args:
            image: the image.
            entry: what the file says about it; a list if it is listed more than once.
            objects: its objects.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: they are damaged.
        """
        entries = entry if isinstance(entry, list) else [entry]
        for each in entries:
            self._images.add(_image_entry(image, each, self.name))
        for one in objects:
            annotation = from_object(one, self._next_id, entries[0].get("id"))
            self._next_id += annotation["id"] == self._next_id
            self._annotations.add(annotation)

    def header(self) -> Mapping[str, Any]:
        """Return the values of the file but for its images and annotations."""
        return self._header

    def finish(self) -> str:
        """Write the file, and return its name."""
        try:
            with atomic_path(self._path) as path, path.open("w", encoding="ascii") as stream:
                stream.write("{")
                for key, value in self.header().items():
                    stream.write(f"{json.dumps(key)}: {json.dumps(value)},\n")
                stream.write('"images": ')
                self._images.copy_to(stream)
                stream.write(',\n"annotations": ')
                self._annotations.copy_to(stream)
                stream.write("}\n")
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written ({error.strerror or error}); free some space") from error
        return self.name

    def clear(self) -> None:
        """Remove the files on the disk that are not needed any more."""
        self._images.clear()
        self._annotations.clear()


class _NewFile(_File):
    """A COCO file for annotations of other formats, with ids from 1.

    Args:
        root: the folder.
        categories: the classes; those that only the objects name follow them.
    """

    def __init__(self, root: Path, categories: Sequence[Category]) -> None:
        super().__init__(root, NEW_FILE, {})
        # COCO leaves 0 to the background, where other formats begin with it.
        shift = int(any(each.id == 0 for each in categories))
        self._categories = [_category(each, each.id + shift) for each in categories]
        self._ids: dict[str, int] = {each["name"]: each["id"] for each in reversed(self._categories)}

    def add(self, image: LabelledImage, entry: Any, objects: Iterable[ObjectLabel]) -> None:
        """Add an image with its objects; see :meth:`_File.add`."""
        number = self._images.count + 1
        self._images.add(_image_entry(image, {**entry, "id": number}, self.name))
        for each in objects:
            category = self._category_id(each.category or NO_CLASS)
            self._annotations.add(new_annotation(each, self._annotations.count + 1, number, category))

    def _category_id(self, name: str) -> int:
        if name not in self._ids:
            self._ids[name] = max((each["id"] for each in self._categories), default=0) + 1
            self._categories.append({"id": self._ids[name], "name": name})
        return self._ids[name]

    def header(self) -> Mapping[str, Any]:
        """Return the classes."""
        return {"categories": self._categories}


def _category(each: Category, number: int) -> dict[str, Any]:
    keypoints = {"keypoints": list(each.keypoints)} if each.keypoints else {}
    return {**each.extra, "id": number, "name": each.name, **keypoints}


def _image_entry(image: LabelledImage, entry: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Return the entry of an image: its size is that of the image, and its name fits the path of the image."""
    stated = {} if stated_size(entry) == image.size else {"height": image.size[0], "width": image.size[1]}
    return {**entry, "file_name": _file_name(image.name, entry.get("file_name"), file), **stated}


def _facts(annotations: ImageAnnotations) -> dict[str, Any]:
    """Return what other formats say about an image, without the fields that COCO has itself."""
    entries = [entry for entry in annotations.entries.values() if isinstance(entry, Mapping)]
    return {key: value for entry in entries for key, value in entry.items() if key not in _OWN}


def _file_name(name: str, before: Any, file: str) -> str:
    """Return the name of an image in a COCO file.

    Args:
        name: path of the image below the folder.
        before: its name in the file that was read, if there was one. It is kept if it ends the path of the image.
        file: path of the COCO file.
    """
    if isinstance(before, str):
        clean, base = clean_name(before), posixpath.basename(name)
        if posixpath.basename(clean) == base and (f"/{name}".endswith(f"/{clean}") or not _is_below(clean)):
            return before
        # The image may have another suffix now.
        changed = posixpath.join(posixpath.dirname(clean), base)
        if f"/{name}".endswith(f"/{changed}"):
            return changed
    folder = posixpath.dirname(file)
    return name.removeprefix(f"{folder}/") if folder and name.startswith(f"{folder}/") else name


def _is_below(name: str) -> bool:
    """Return whether a name is no path on another machine or in another folder."""
    return not name.startswith(("/", "../"))
