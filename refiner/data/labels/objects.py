"""Objects in an image: their classes, boxes, outlines, masks and keypoints, whatever format they came in.

Coordinates are pixels of the image. Boxes and outlines are continuous, as in COCO: (0, 0) is the top-left corner of the
top-left pixel, whose centre is at (0.5, 0.5). Keypoints are positions of pixels, as every other point of this package:
the centre of the top-left pixel is at (0, 0). Numbers keep the form in which they were read, so that a data set that
is written again equals the one that was read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from refiner.core.errors import DataError

OBJECTS = "objects"
"""Name of the label that holds the :class:`ImageAnnotations` of an image."""

JSON_START = '{"objects":['
"""First characters of the JSON of :class:`ImageAnnotations`, by which a cell of a table is recognised."""

Box = tuple[float, float, float, float]
"""x and y of the top-left corner, width and height, in pixels."""

RunLengths = Mapping[str, Any]
"""A mask as COCO writes it: ``size``, (height, width), and ``counts``, run lengths as numbers or as text."""


@dataclass(frozen=True)
class ObjectLabel:
    """One object in an image.

    Attributes:
        id: its name in the data set, or at least in the image.
        category: name of its class; empty if it has none.
        box: its bounding box; None if it has none.
        polygons: outlines of its parts, each x1, y1, x2, y2, ...; empty if it has none.
        mask: its mask; None if it has none. An object has polygons or a mask, not both.
        keypoints: x, y and visibility of each keypoint in turn; empty if it has none. Visibility 0 means that the
            keypoint is not labelled, 1 that it is hidden, 2 that it is visible.
        file: annotation file that names it, relative to the data set; empty if the format has one file for all.
        extra: everything else that the format says about it, as JSON.
    """

    id: str
    category: str = ""
    box: Box | None = None
    polygons: tuple[tuple[float, ...], ...] = ()
    mask: RunLengths | None = None
    keypoints: tuple[float, ...] = ()
    file: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageAnnotations:
    """The objects of one image.

    Attributes:
        objects: the objects in the order of their file.
        entries: everything else that each annotation file says about the image, as JSON, by the file's name.
    """

    objects: tuple[ObjectLabel, ...] = ()
    entries: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the objects and entries as one line of JSON, from which they can be restored exactly."""
        objects = [{key: value for key, value in vars(each).items() if value} for each in self.objects]
        return json.dumps({"objects": objects, "entries": self.entries}, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, where: str) -> "ImageAnnotations":
        """Restore what :meth:`to_json` wrote.

        Args:
            text: the JSON.
            where: name of its place, for the message.

        Raises:
            DataError: the text is something else.
        """
        try:
            content = json.loads(text)
            return cls(tuple(_object(each) for each in content["objects"]), dict(content["entries"]))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DataError(f"{where} is not the JSON of annotated objects") from error


def _object(values: Mapping[str, Any]) -> ObjectLabel:
    """Restore one object from JSON, in which tuples have become lists."""
    values = dict(values)
    for name in ("box", "keypoints"):
        if name in values:
            values[name] = tuple(values[name])
    if "polygons" in values:
        values["polygons"] = tuple(tuple(outline) for outline in values["polygons"])
    return ObjectLabel(**values)


@dataclass(frozen=True)
class Category:
    """A class of objects.

    Attributes:
        id: its number in the data set.
        name: its name.
        keypoints: names of its keypoints, in order; empty if it has none.
        extra: everything else that the format says about it, as JSON.
    """

    id: int
    name: str
    keypoints: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AnnotationInfo:
    """Facts about the annotations of a whole data set.

    Attributes:
        format: name of the format that they came in, such as ``coco``.
        categories: the classes, in the order of the format.
        header: everything else that the format says about the whole data set, as JSON. Only the module of the format
            reads it.
    """

    format: str
    categories: Sequence[Category] = ()
    header: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the facts as one line of JSON."""
        return json.dumps({**vars(self), "categories": [vars(each) for each in self.categories]}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> "AnnotationInfo":
        """Restore what :meth:`to_json` wrote.

        Raises:
            DataError: the text is something else; the message begins with ``where``.
        """
        try:
            content = json.loads(text)
            categories = [Category(**{**each, "keypoints": tuple(each["keypoints"])}) for each in content["categories"]]
            return cls(str(content["format"]), tuple(categories), dict(content["header"]))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DataError(f"{where} is not the JSON of a data set's annotations") from error
