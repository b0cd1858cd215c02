"""The column ``objects`` of a Hugging Face ImageFolder: boxes and classes as the Hub's detection data sets hold them.

Two layouts are read: a dictionary of lists, ``{"bbox": [[x, y, width, height], ...], "categories": [...]}``, and a list
of dictionaries, ``[{"bbox": [x, y, width, height], "category": ...}, ...]``. Every further field is kept.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from refiner.data.labels.objects import Category, ImageAnnotations, ObjectLabel

COLUMN = "objects"

_CATEGORIES = ("category", "categories", "category_id", "category_ids", "label", "labels", "class", "classes", "name")
_IDS = ("id", "ids")

_CHECKED = 200
"""Number of images whose boxes are kept to tell a width and a height from a second corner."""


@dataclass(frozen=True)
class ObjectsLayout:
    """The way in which a data set writes its objects.

    Attributes:
        is_list: each object is a dictionary of its own.
        keys: names of the fields, in order.
        category: name of the field that holds the classes; empty if there is none.
        numbered: the classes are numbers.
        id: name of the field that holds the ids; empty if there is none.
        id_numbered: the ids are numbers.
        lists: names of the fields that are empty lists, not null, for objects without them. ``datasets`` gives the
            values of other objects to an object with null among lists.
    """

    is_list: bool
    keys: tuple[str, ...]
    category: str = ""
    numbered: bool = False
    id: str = ""
    id_numbered: bool = False
    lists: tuple[str, ...] = ("bbox", "segmentation", "keypoints")

    def to_json(self) -> dict[str, Any]:
        """Return the layout as JSON."""
        return {**asdict(self), "keys": list(self.keys), "lists": list(self.lists)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ObjectsLayout":
        """Restore what :meth:`to_json` returned."""
        return cls(**{**values, "keys": tuple(values["keys"]), "lists": tuple(values["lists"])})


class LayoutFinder:
    """Finds the layout of the objects from the values of all rows.

    Attributes:
        names: the classes, in order of appearance.
        problem: why the column holds no objects that can be read; empty if it does.
    """

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.problem = ""
        self._keys: dict[str, None] = {}
        self._is_list: bool | None = None
        self._category = self._id = ""
        self._types: dict[str, set[type]] = {"category": set(), "id": set()}
        self._boxes = self._shares = 0
        self._may_be_corners = True  # as long as no box has a width or height below its x or y
        self._far: dict[str, tuple[float, float, float, float]] = {}

    def see(self, sample: str, value: Any) -> None:
        """Look at the value of the row of an image."""
        if value is None or self.problem:
            return
        fields = list(value) if isinstance(value, dict) else [key for each in value for key in each]
        if self._is_list is not None and self._is_list != isinstance(value, list):
            self.problem = "is a list of objects in some rows and a dictionary of lists in others"
            return
        self._is_list = isinstance(value, list)
        self._keys |= dict.fromkeys(fields)
        self._category = next((name for name in _CATEGORIES if name in self._keys), "")
        self._id = next((name for name in _IDS if name in self._keys), "")
        for field, key in (("category", self._category), ("id", self._id)):
            found = _column(value, key)
            self._types[field] |= set(map(type, found))
            if field == "category":
                self.names |= dict.fromkeys(map(str, found))
        for box in _column(value, "bbox"):
            if isinstance(box, list) and box:
                self._boxes += 1
                numbers = [each for each in box if isinstance(each, int | float)]
                self._see_corners(sample, numbers)
                self._shares += all(0 <= each <= 1 for each in numbers) and any(each % 1 for each in numbers)

    def _see_corners(self, sample: str, box: Sequence[float]) -> None:
        """Keep how far the boxes of an image reach, if the last two numbers are a size, and if they are a corner."""
        if len(box) != 4:
            return
        x, y, third, fourth = box
        self._may_be_corners &= third > x and fourth > y
        if self._may_be_corners and (sample in self._far or len(self._far) < _CHECKED):
            reach = (x + third, y + fourth, third, fourth)
            before = self._far.get(sample, reach)
            self._far[sample] = tuple(map(max, before, reach))  # type: ignore[assignment]

    def check_corners(self, size_of: Callable[[str], tuple[int, int] | None]) -> None:
        """Find out whether the boxes are two corners each: some then fit their images, which they do not as x, y, w, h.

        Args:
            size_of: returns the (height, width) of an image; None if it is unknown.
        """
        if self.problem or not self._may_be_corners:
            return
        is_outside = False
        for sample, (right, bottom, third, fourth) in self._far.items():
            if (size := size_of(sample)) is not None:
                height, width = size
                if third > width + 1 or fourth > height + 1:
                    return  # no corners either
                is_outside |= right > width + 1 or bottom > height + 1
        if is_outside:
            self.problem = "has boxes of two corners (x, y, x, y), where x, y, width and height are expected"

    @property
    def layout(self) -> ObjectsLayout | None:
        """The layout; None if the column holds no objects that can be read, as ``problem`` says."""
        if not self.problem and self._is_list is None:
            self.problem = "is null in every row"
        if not self.problem and "bbox" not in self._keys and self._keys:
            self.problem = "has no field bbox"
        if not self.problem and self._boxes and self._boxes == self._shares:
            self.problem = "has boxes in shares of the image size, not in pixels"
        if self.problem:
            return None
        types = {field: found if found <= {int} or found <= {str} else {object} for field, found in self._types.items()}
        named = {
            field: key for field, key in (("category", self._category), ("id", self._id)) if types[field] - {object}
        }
        return ObjectsLayout(
            bool(self._is_list),
            tuple(self._keys),
            named.get("category", ""),
            types["category"] == {int},
            named.get("id", ""),
            types["id"] == {int},
        )

    def categories(self) -> list[Category]:
        """Return the classes: in order of their numbers, or of appearance if they have names."""
        layout = self.layout
        if layout is None or not layout.category:
            return []
        if layout.numbered:
            return [Category(int(name), name) for name in sorted(self.names, key=int)]
        return [Category(number, name) for number, name in enumerate(self.names)]


def holds_objects(value: Any) -> bool:
    """Return whether a value has the form of one of the two layouts, by its outermost levels."""
    if isinstance(value, dict):
        return any(isinstance(part, list) for part in value.values())
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _column(value: Any, key: str) -> list[Any]:
    """Return the values of one field of all objects in a row."""
    if isinstance(value, dict):
        found = value.get(key)
        return found if isinstance(found, list) else []
    return [each[key] for each in value if key in each]


def read_objects(value: Any, layout: ObjectsLayout, file: str) -> ImageAnnotations:
    """Return the objects of a row.

    Args:
        value: the value of the column.
        layout: the way in which the data set writes it.
        file: name of the metadata file.

    Raises:
        ValueError: the value is damaged.
    """
    if not holds_objects(value) or isinstance(value, list) != layout.is_list:
        raise ValueError("objects is neither a dictionary of lists nor a list of dictionaries, as in the other rows")
    entries: dict[str, Any] = {}
    if layout.is_list:
        rows = [dict(each) for each in value]
    else:
        # Lists of one length describe the objects one by one; anything else is about the image.
        boxes = value.get("bbox")
        count = len(boxes) if isinstance(boxes, list) else 0
        per_object = {key: part for key, part in value.items() if isinstance(part, list) and len(part) == count}
        for key in ("bbox", layout.category, layout.id):
            if key in value and key not in per_object:
                raise ValueError(f"objects.{key} has another number of values than objects.bbox ({count})")
        rows = [{key: part[number] for key, part in per_object.items()} for number in range(count)]
        if rest := {key: part for key, part in value.items() if key not in per_object}:
            entries = {file: rest}
    return ImageAnnotations(tuple(_read_object(row, number, layout) for number, row in enumerate(rows)), entries)


def _read_object(row: dict[str, Any], number: int, layout: ObjectsLayout) -> ObjectLabel:
    # A box of null or [] is no box; it stays among the further fields, so that it is written again as it was.
    box = row.pop("bbox") if row.get("bbox") else None
    if box is not None and not (
        isinstance(box, list) and len(box) == 4 and all(_is_number(part) for part in box) and min(box[2:]) >= 0
    ):
        raise ValueError(f"objects.bbox holds {str(box)[:60]}; expected [x, y, width, height] in pixels")
    category = row.pop(layout.category, "") if layout.category else ""
    name = row.pop(layout.id, number) if layout.id else number
    found = ObjectLabel(str(name), str(category), None if box is None else tuple(box))
    outlines, keypoints = row.get("segmentation"), row.get("keypoints")
    if isinstance(outlines, list) and outlines and all(_are_numbers(each, 2) for each in outlines):
        found = replace(found, polygons=tuple(map(tuple, row.pop("segmentation"))))
    if isinstance(keypoints, list) and keypoints and _are_numbers(keypoints, 3):
        found = replace(found, keypoints=tuple(row.pop("keypoints")))
    mask = row.get("mask")
    if isinstance(mask, dict) and {"size", "counts"} <= mask.keys():
        found = replace(found, mask=row.pop("mask"))
    return replace(found, extra=row)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_numbers(value: Any, step: int) -> bool:
    return isinstance(value, list) and len(value) % step == 0 and all(map(_is_number, value))


def write_objects(annotations: ImageAnnotations, layout: ObjectsLayout) -> Any:
    """Return the value of the column for the objects of an image; the reverse of :func:`read_objects`."""
    rows = [_write_object(each, layout) for each in annotations.objects]
    if layout.is_list:
        return rows
    entry = {
        key: part for each in annotations.entries.values() if isinstance(each, Mapping) for key, part in each.items()
    }
    keys = [key for key in layout.keys if key not in entry and (not rows or any(key in row for row in rows))]
    value = {key: [row.get(key, [] if key in layout.lists else None) for row in rows] for key in keys}
    return {key: {**value, **entry}[key] for key in layout.keys if key in value or key in entry}


def _write_object(each: ObjectLabel, layout: ObjectsLayout) -> dict[str, Any]:
    row = dict(each.extra)
    if each.box is not None:
        row["bbox"] = list(each.box)
    if each.polygons:
        row["segmentation"] = [list(outline) for outline in each.polygons]
    if each.mask is not None:
        row["mask"] = dict(each.mask)
    if each.keypoints:
        row["keypoints"] = list(each.keypoints)
    if layout.category and each.category:
        row[layout.category] = int(each.category) if layout.numbered else each.category
    if layout.id:
        row[layout.id] = int(each.id) if layout.id_numbered else each.id
    return {key: row[key] for key in layout.keys if key in row}


def foreign_layout(objects: Sequence[ObjectLabel], before: ObjectsLayout | None) -> ObjectsLayout:
    """Return the layout for objects that came in another format, after those of some more objects.

    Args:
        objects: the objects of an image.
        before: the layout for the objects seen before; None for the first.
    """
    keys = dict.fromkeys(before.keys if before else ("id", "bbox", "category"))
    lists = dict.fromkeys(before.lists if before else ("bbox", "segmentation", "keypoints"))
    for each in objects:
        shapes = {"segmentation": each.polygons, "mask": each.mask, "keypoints": each.keypoints}
        keys |= {key: None for key, shape in shapes.items() if shape} | dict.fromkeys(each.extra)
        lists |= {key: None for key, value in each.extra.items() if isinstance(value, list)}
    return ObjectsLayout(False, tuple(keys), "category", id="id", lists=tuple(lists))


def drop_objects(value: Any, numbers: Sequence[int]) -> Any:
    """Return the value of the column without the objects at some positions."""
    dropped = set(numbers)

    def kept(values: Sequence[Any]) -> list[Any]:
        return [each for number, each in enumerate(values) if number not in dropped]

    if isinstance(value, list):
        return kept(value)
    # As in reading, lists of another length are about the image.
    count = len(value["bbox"])
    return {key: kept(part) if isinstance(part, list) and len(part) == count else part for key, part in value.items()}
