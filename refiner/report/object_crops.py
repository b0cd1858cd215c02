"""Objects cut out of their images for a page, and the real object that looks most like another one."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from refiner.core.errors import ImageError
from refiner.data.formats.registry import Dataset
from refiner.data.labels.objects import OBJECTS, ImageAnnotations
from refiner.images.arrays import resize, to_grey
from refiner.images.io import Image
from refiner.inspection.overlays.label_shapes import object_shapes
from refiner.inspection.overlays.shapes import LabelStyle, Shape
from refiner.report.pictures import data_uri, shown

REAL_POOL = 100
"""Number of real images among which the nearest real object is searched."""

CONTEXT = 0.25
"""Width of the surroundings that are shown around an object, as a share of its longer side; at least six pixels."""

_COMPARED = 24  # side of the squares by which crops are compared


class Window(NamedTuple):
    """A part of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int

    def cut(self, image: Image) -> Image:
        """Cut the part out of an image."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


class RealCrops:
    """Pictures of real objects by their class, and the most similar one to another picture."""

    def __init__(self) -> None:
        self._crops: dict[str, list[Image]] = {}
        self._vectors: dict[str, list[Any]] = {}

    def add(self, category: str, crop: Image) -> None:
        """Add the picture of an object."""
        self._crops.setdefault(category, []).append(crop)
        self._vectors.setdefault(category, []).append(_unit(crop))

    def nearest(self, category: str, crop: Image) -> str:
        """Return the most similar picture of a class as a data URI; empty if the class has none."""
        if category not in self._crops:
            return ""
        return data_uri(self._crops[category][int((np.stack(self._vectors[category]) @ _unit(crop)).argmax())])


def real_crops(dataset: Dataset, ids: Sequence[str]) -> RealCrops:
    """Cut the annotated objects out of some real images; most real data have none."""
    crops = RealCrops()
    style = LabelStyle()
    for place in np.linspace(0, len(ids) - 1, min(len(ids), REAL_POOL)).astype(int).tolist():
        try:
            record = dataset.read(ids[place])
        except ImageError:
            continue
        annotations = record.labels.get(OBJECTS)
        if not isinstance(annotations, ImageAnnotations):
            return crops
        size = (record.image.shape[0], record.image.shape[1])
        for each in annotations.objects:
            window = window_around(object_shapes(each, size, style), size)
            if window is not None:
                crops.add(each.category, shown(window.cut(record.image)))
    return crops


def window_around(shapes: Sequence[Shape], size: tuple[int, int]) -> Window | None:
    """Return a square around shapes, inside an image of (height, width) if it fits; None if there is nothing."""
    points = [part for shape in shapes for part in shape.parts if len(part)]
    if not points:
        return None
    corners = np.concatenate(points)
    limits = np.array([size[1], size[0]], float)
    low, high = np.clip(corners.min(axis=0), 0, limits), np.clip(corners.max(axis=0) + 1, 0, limits)
    if (high - low <= 0).any():
        return None
    longer = float((high - low).max())
    side = int(np.ceil(longer + 2 * max(6.0, CONTEXT * longer)))
    width, height = (int(min(side, limit)) for limit in limits)
    middle = (low + high) / 2
    left, top = (
        int(np.clip(round(centre - length / 2), 0, limit - length))
        for centre, length, limit in zip(middle.tolist(), (width, height), limits.astype(int).tolist(), strict=True)
    )
    return Window(left, top, width, height)


def _unit(crop: Image) -> Any:
    """Return a picture as a vector of unit length without its mean."""
    small = resize(to_grey(crop), (_COMPARED, _COMPARED)).astype(float).reshape(-1)
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-6)
