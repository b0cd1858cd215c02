"""Labels over pictures of a page, as SVG that scales with the picture."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from refiner.data.formats.registry import Dataset
from refiner.data.labels.objects import OBJECTS, ImageAnnotations
from refiner.data.labels.records import Labels
from refiner.inspection.overlays.datasets import DatasetOverlays
from refiner.inspection.overlays.shapes import Points, Shape

View = tuple[float, float, float, float]
"""Part of an image that a picture shows: left, top, width and height, in pixels; the image's corner is at -0.5."""

FAR = 1e5
"""Largest distance of a point from the image that is written, in pixels."""

FEW = 8
"""Number of points up to which they are large dots; many points outline something, and would hide it."""


NAMED = 6
"""Number of classes that the caption of an image names, the most frequent ones."""


class Overlay(NamedTuple):
    """Labels over one picture.

    Attributes:
        view: value of the attribute ``viewBox``.
        body: SVG elements.
        text: the labels in words; empty if there are none.
    """

    view: str
    body: str
    text: str


NO_OVERLAY = Overlay("0 0 1 1", "", "")


class OverlaySource:
    """Overlays for the images of a data set.

    Args:
        dataset: the data set.
        classes: classes of its objects, in case it does not list them.
    """

    def __init__(self, dataset: Dataset, classes: Sequence[str] = ()) -> None:
        self._dataset, self.shapes_of = dataset, DatasetOverlays(dataset, classes)

    def of(self, name: str) -> Overlay:
        """Return the labels of an image.

        Raises:
            RefinerError: the image can no longer be read.
        """
        record = self._dataset.read(name)
        height, width = record.image.shape[:2]
        shapes = self.shapes_of.shapes(record)
        return overlay(shapes, (-0.5, -0.5, width, height), describe(record.labels, shapes))


def overlay(shapes: Sequence[Shape], view: View, text: str) -> Overlay:
    """Return shapes as the overlay of a picture that shows a part of their image."""
    return Overlay(" ".join(f"{value:g}" for value in view), svg_shapes(shapes), text)


def describe(labels: Labels, shapes: Sequence[Shape]) -> str:
    """Return the labels of an image in words, such as "2 cup, 1 ring"."""
    annotations = labels.get(OBJECTS)
    if isinstance(annotations, ImageAnnotations) and annotations.objects:
        counts = Counter(each.category or "object" for each in annotations.objects)
        more = [f"{len(counts) - NAMED} other classes"] if len(counts) > NAMED + 1 else []
        named = counts.most_common(NAMED if more else None)
        return ", ".join([*(f"{count} {name}" for name, count in named), *more])
    return ", ".join(dict.fromkeys(shape.name for shape in shapes))


def svg_shapes(shapes: Sequence[Shape]) -> str:
    """Return shapes as SVG elements in pixels of the image; widths of lines do not scale with the picture."""
    return "".join(_element(shape) for shape in shapes if any(len(part) for part in shape.parts))


def _element(shape: Shape) -> str:
    colour = "#{:02x}{:02x}{:02x}".format(*shape.colour)
    title = f"<title>{escape(shape.name)}</title>" if shape.name else ""
    if shape.kind in ("dots", "circles"):
        # A line of no length with round ends is a dot whose size does not scale.
        path = "".join(f"M{_pair(point)}h0" for part in shape.parts for point in part.tolist())
        hollow = f'<path d="{path}" class="label-hole"/>' if shape.kind == "circles" else ""
        kind = "label-dot" if sum(map(len, shape.parts)) <= FEW else "label-dot label-small"
        return f'<g><path d="{path}" class="{kind}" stroke="{colour}"/>{hollow}{title}</g>'
    path = "".join(_path(part, closed=shape.kind in ("area", "outline")) for part in shape.parts if len(part))
    if shape.kind == "arrow":
        start, _ = shape.parts[0].tolist()
        end = f'<path d="M{_pair(start)}h0" class="label-dot" stroke="{colour}"/>'
        return f'<g><path d="{path}" class="label-arrow" stroke="{colour}"/>{end}{title}</g>'
    area = f'<path d="{path}" class="label-area" fill="{colour}"/>' if shape.kind == "area" else ""
    edge = f'<path d="{path}" class="label-rim"/><path d="{path}" class="label-edge" stroke="{colour}"/>'
    return f"<g>{area}{edge}{title}</g>"


def _path(points: Points, *, closed: bool) -> str:
    return "M" + "L".join(_pair(point) for point in points.tolist()) + ("Z" if closed else "")


def _pair(point: Sequence[float]) -> str:
    x, y = (f"{min(max(value, -FAR), FAR):.2f}".rstrip("0").rstrip(".") for value in point)
    return f"{x} {y}"
