"""Shapes over an image, and the colours and skeletons of the classes that they show."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from refiner.data.labels.objects import AnnotationInfo

Colour = tuple[int, int, int]
"""Red, green and blue, from 0 to 255."""

Points = np.ndarray[Any, np.dtype[np.float64]]
"""(K, 2), x and y in pixels of the image."""

CLASS_COLOURS: tuple[Colour, ...] = (
    *((86, 180, 233), (255, 165, 0), (0, 220, 130), (255, 235, 60), (255, 110, 180), (165, 130, 255)),
    *((255, 95, 60), (60, 235, 235), (175, 235, 60), (200, 150, 110)),
)
"""Colours of classes, in the order of the classes; they can be told apart on dark and on light images."""


@dataclass(frozen=True)
class Shape:
    """A shape over an image.

    Attributes:
        kind: ``area``, closed outlines whose inside is tinted; ``outline``, closed outlines; ``line``, open lines;
            ``dots``; ``circles``, for points that are hidden; or ``arrow``, from the first point to the second.
        parts: the outlines or lines, or one array of all dots, in pixels of the image. An outline within another one
            is a hole.
        colour: its colour.
        name: what it shows, such as the class of an object.
    """

    kind: Literal["area", "outline", "line", "dots", "circles", "arrow"]
    parts: tuple[Points, ...]
    colour: Colour
    name: str = ""


@dataclass(frozen=True)
class LabelStyle:
    """Colours of the classes of a data set, and the bones between their keypoints.

    Attributes:
        classes: names of the classes; their colours follow this order.
        skeletons: for each class, pairs of numbers of connected keypoints, from 0.
    """

    classes: tuple[str, ...] = ()
    skeletons: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, info: AnnotationInfo | None) -> "LabelStyle":
        """Return the style for the annotations of a data set; its skeletons are COCO's, which count from 1."""
        if info is None:
            return cls()
        skeletons = {}
        for category in info.categories:
            bones = category.extra.get("skeleton")
            if isinstance(bones, list | tuple):
                skeletons[category.name] = [(first - 1, last - 1) for first, last in filter(_is_bone, bones)]
        return cls(tuple(category.name for category in info.categories), skeletons)

    def with_classes(self, names: Iterable[str]) -> "LabelStyle":
        """Return the style with further classes, in alphabetical order after the others."""
        return replace(self, classes=(*self.classes, *sorted({*names} - {*self.classes, ""})))

    def colour(self, name: str) -> Colour:
        """Return the colour of a class; one that is not in the list has a colour of its own, too."""
        number = self.classes.index(name) if name in self.classes else zlib.crc32(name.encode("utf-8", "replace"))
        return CLASS_COLOURS[number % len(CLASS_COLOURS)]


def _is_bone(pair: Any) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(end, int) for end in pair)
