"""The labels of a data set as shapes: its classes, its skeletons, and the label images beside its images."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from refiner.core.errors import DataError, ImageError
from refiner.data.formats.registry import Dataset, info_of
from refiner.data.labels.objects import AnnotationInfo
from refiner.data.labels.records import Record
from refiner.images.io import read_image
from refiner.inspection.overlays.label_shapes import label_image_shapes, label_shapes
from refiner.inspection.overlays.shapes import LabelStyle, Shape


class DatasetOverlays:
    """Shapes for the images of a data set.

    Args:
        dataset: the data set.
        classes: classes of its objects, in case it does not list them.
    """

    def __init__(self, dataset: Dataset, classes: Iterable[str] = ()) -> None:
        self.style = LabelStyle.of(_info_of(dataset)).with_classes(classes)
        self._label_images: dict[str, list[Path]] = defaultdict(list)
        found: Mapping[str, str | None] = getattr(getattr(dataset, "contents", None), "label_images", {})
        for name, image in found.items():
            if image is not None:
                self._label_images[image].append(dataset.root / name)

    def shapes(self, record: Record) -> list[Shape]:
        """Return the labels of a record as shapes, the lowest first; a label image that cannot be read has none."""
        size = (record.image.shape[0], record.image.shape[1])
        shapes = []
        for path in self._label_images.get(record.id, ()):
            try:
                shapes += label_image_shapes(read_image(path), size)
            except ImageError:
                continue
        return [*shapes, *label_shapes(record.labels, size, self.style)]


def _info_of(dataset: Dataset) -> AnnotationInfo | None:
    """Return facts about the annotated objects of a data set; None if it has none, or if they cannot be read."""
    try:
        return info_of(dataset)
    except DataError:  # inspect reports what is wrong with the labels
        return None
