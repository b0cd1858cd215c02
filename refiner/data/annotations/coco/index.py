"""Index of a COCO file: its images, and the place of each annotation in the file, which is too large to be kept."""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refiner.core.errors import DataError
from refiner.data.annotations.coco.objects import to_key
from refiner.data.annotations.coco.search import LISTS, LONG_HEAD
from refiner.data.annotations.json_scan import scan_object

Spans = NDArray[np.int64]
"""First and last offsets of values in a file, (N, 2)."""


class ListedImage(NamedTuple):
    """An image in a COCO file.

    Attributes:
        key: its id, from :func:`to_key`.
        name: its ``file_name``, or its ``coco_url`` if it has none.
        span: first and last offset of its entry.
        annotations: first and last offsets of its annotations.
        is_shared: True if another image has the same id, so that nobody knows whose the annotations are.
    """

    key: str | None
    name: str
    span: tuple[int, int]
    annotations: Spans
    is_shared: bool


@dataclass(frozen=True)
class CocoFile:
    """A COCO file.

    Attributes:
        name: path relative to the folder.
        images: the images in it, in order.
        categories: names of the classes by :func:`to_key` of their id.
        header: its top-level values but for images and annotations.
        next_id: id for the first annotation without one.
        segments: if its annotations are the segments of whole images: the picture of the segments of each image, by
            the image's key. Such a file holds no objects.
        problems: one sentence for each kind of fault by which annotations are not used.
        oddities: one sentence for each kind of fault that other programs may understand in another way.
    """

    name: str
    images: Sequence[ListedImage]
    categories: Mapping[str, str]
    header: Mapping[str, Any]
    next_id: int
    segments: Mapping[str | None, str]
    problems: Sequence[str]
    oddities: Sequence[str]


@dataclass
class _Found:
    """Findings of a scan so far; annotations are rows of ``image``, ``start`` and ``end``."""

    keys: dict[str | None, int] = field(default_factory=dict)
    image: "array[int]" = field(default_factory=lambda: array("q"))
    start: "array[int]" = field(default_factory=lambda: array("q"))
    end: "array[int]" = field(default_factory=lambda: array("q"))
    ids: "array[int]" = field(default_factory=lambda: array("q"))
    categories: Counter[str | None] = field(default_factory=Counter)
    listed: list[tuple[str | None, str, int, int]] = field(default_factory=list)
    other_ids: Counter[str | None] = field(default_factory=Counter)
    segments: dict[str | None, str] = field(default_factory=dict)
    damaged: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, value: Any, start: int, end: int) -> None:
        """Take in one element of a list."""
        if not isinstance(value, dict):
            self.damaged[kind] += 1
        elif kind == "images":
            name = value.get("file_name") or value.get("coco_url")  # LVIS has only the address
            if isinstance(name, str) and name:
                self.listed.append((to_key(value.get("id")), _utf8(name), start, end))
            else:
                self.damaged["names"] += 1
        else:
            key = to_key(value.get("image_id"))
            self.image.append(self.keys.setdefault(_utf8(key), len(self.keys)))
            self.start.append(start)
            self.end.append(end)
            self.categories[_utf8(to_key(value.get("category_id")))] += 1
            if "segments_info" in value and isinstance(value.get("file_name"), str):
                self.segments[_utf8(key)] = _utf8(value["file_name"])
            identity = value.get("id")
            if type(identity) is int and abs(identity) < 2**63:
                self.ids.append(identity)
            else:
                self.other_ids[to_key(identity)] += 1


def _utf8(text: Any) -> Any:
    """Return text of a scan with the characters that it has in UTF-8."""
    if text is None or text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:  # it was written with an escape
        return text


def read_index(root: Path, name: str) -> CocoFile | None:
    """Read the index of a file that may be COCO.

    Args:
        root: the folder.
        name: path of the file below it.

    Returns:
        The index; None if the file is something else.

    Raises:
        DataError: it is certainly COCO, and damaged.
    """
    found = _Found()
    try:
        header = scan_object(root / name, ("images", "annotations"), found.add)
    except (ValueError, OSError) as error:
        if not (found.listed and (found.image or isinstance(error, OSError))) and not _has_both_lists(root / name):
            return None
        raise DataError(
            f"{root / name} is a damaged COCO file: {error}; repair it, or leave it out with --exclude {name}"
        ) from error
    if not found.listed or not (found.image or "categories" in header):
        return None
    raw = header.get("categories")
    listed = [each for each in raw if isinstance(each, dict)] if isinstance(raw, list) else []
    categories = {key: str(each.get("name", key)) for each in listed if (key := to_key(each.get("id"))) is not None}
    problems = list(_problems(name, found))
    oddities = list(_oddities(name, found, listed, categories))
    if found.segments:
        images = "1 image" if len(found.segments) == 1 else f"{len(found.segments):,} images"
        oddities = [f"{name} holds the panoptic segments of {images}, which are not read as objects"]
    next_id = max(found.ids, default=0) + 1
    return CocoFile(name, list(_images(found)), categories, header, next_id, found.segments, problems, oddities)


def _has_both_lists(path: Path) -> bool:
    with path.open("rb") as stream:
        found = {match[1] for match in LISTS.finditer(stream.read(LONG_HEAD))}
    return b"images" in found and len(found) > 1


def _images(found: _Found) -> Iterator[ListedImage]:
    """Yield the images with the spans of their annotations."""
    # Sort the annotations by image; the order in the file stays.
    image = np.frombuffer(found.image, np.int64) if found.image else np.zeros(0, np.int64)
    order = np.argsort(image, kind="stable")
    spans = np.stack([_numbers(found.start)[order], _numbers(found.end)[order]], axis=1)
    limits = np.searchsorted(image[order], np.arange(len(found.keys) + 1))
    names: dict[str | None, set[str]] = {}
    for key, name, _, _ in found.listed:
        names.setdefault(key, set()).add(name)
    used: set[str | None] = set()
    for key, name, start, end in found.listed:
        row = found.keys.get(key)
        mine = spans[:0] if row is None or key in used else spans[limits[row] : limits[row + 1]]
        yield ListedImage(key, name, (start, end), mine, key is None or len(names[key]) > 1)
        used.add(key)  # an image that is listed twice with one id has its annotations once


def _numbers(values: "array[int]") -> NDArray[np.int64]:
    return np.frombuffer(values, np.int64) if values else np.zeros(0, np.int64)


def _problems(name: str, found: _Found) -> Iterator[str]:
    """Yield a sentence for each kind of fault by which annotations or images are not used."""
    keys = {key for key, _, _, _ in found.listed}
    counts = np.bincount(_numbers(found.image), minlength=len(found.keys))
    unknown = {key: int(counts[row]) for key, row in found.keys.items() if key not in keys}
    yield from _count(name, unknown, "of no image that it lists, without use", "image")
    for kind, count in found.damaged.items():
        one, many = _DAMAGED[kind]
        yield f"{name} has {one}" if count == 1 else f"{name} has {count:,} {many}"


_DAMAGED = {
    "names": ("1 image without file_name, which is not used", "images without file_name, which are not used"),
    "images": ("1 image that is no JSON object, which is not used", "images that are no JSON objects and are not used"),
    "annotations": (
        "1 annotation that is no JSON object, which is not used",
        "annotations that are no JSON objects and are not used",
    ),
}


def _oddities(
    name: str, found: _Found, listed: Sequence[Mapping[str, Any]], categories: Mapping[str, str]
) -> Iterator[str]:
    """Yield a sentence for each kind of fault that leaves the annotations of use."""
    missing = {key: count for key, count in found.categories.items() if key is not None and key not in categories}
    yield from _count(name, missing, "of a class that it does not list", "class")
    if categories and (without := found.categories[None]):
        yield f"{name} has {_annotations(without)} without category_id"
    repeated, times = np.unique(_numbers(found.ids), return_counts=True)
    twice = {str(each): int(count) for each, count in zip(repeated[times > 1], times[times > 1], strict=True)}
    twice |= {key: count for key, count in found.other_ids.items() if key is not None and count > 1}
    yield from _count(name, twice, "with the id of another one", "id")
    if without := found.other_ids[None]:
        yield f"{name} has {_annotations(without)} without id"
    for key, count in Counter(str(each.get("name")) for each in listed).items():
        if count > 1:
            ids = [str(each.get("id")) for each in listed if str(each.get("name")) == key]
            yield f"{name} has {count} classes of the name {key}, with the ids {', '.join(ids)}"


def _count(name: str, counts: Mapping[Any, int], what: str, of: str) -> Iterator[str]:
    if counts:
        example = next(iter(counts))
        yield f"{name} has {_annotations(sum(counts.values()))} {what}, such as {of} {example}"


def _annotations(count: int) -> str:
    return f"{count:,} annotation{'s' if count > 1 else ''}"
