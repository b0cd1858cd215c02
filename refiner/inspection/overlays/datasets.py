"""The labels of a data set as shapes: its classes, its skeletons, and the label images beside its images."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from refiner.core.errors import DataError, ImageError
from refiner.data.formats.registry import Dataset, info_of
from refiner.data.labels.objects import OBJECTS, AnnotationInfo, ImageAnnotations, ObjectLabel
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
        self._label_images: dict[str, list[str]] = defaultdict(list)
        self._root = dataset.root
        found: Mapping[str, str | None] = getattr(getattr(dataset, "contents", None), "label_images", {})
        for name, image in found.items():
            if image is not None:
                self._label_images[image].append(name)

    def shapes(self, record: Record) -> list[Shape]:
        """Return the labels of a record as shapes, the lowest first; a label image that cannot be read has none."""
        size = (record.image.shape[0], record.image.shape[1])
        shapes = []
        # A mask whose values are objects is drawn as these.
        drawn = {each.extra.get("label_image") for each in _objects(record)}
        for name in self._label_images.get(record.id, ()):
            if name in drawn:
                continue
            try:
                shapes += label_image_shapes(read_image(self._root / name), size)
            except ImageError:
                continue
        return [*shapes, *label_shapes(record.labels, size, self.style)]


def _objects(record: Record) -> Sequence[ObjectLabel]:
    annotations = record.labels.get(OBJECTS)
    return annotations.objects if isinstance(annotations, ImageAnnotations) else ()


def _info_of(dataset: Dataset) -> AnnotationInfo | None:
    """Return facts about the annotated objects of a data set; None if it has none, or if they cannot be read."""
    try:
        return info_of(dataset)
    except DataError:  # inspect reports what is wrong with the labels
        return None
