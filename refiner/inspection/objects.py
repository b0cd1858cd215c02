"""Facts about the annotated objects of a data set: their classes and shapes, and what does not fit their images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from refiner.data.annotations.positions.run_lengths import mask_size
from refiner.data.labels.objects import AnnotationInfo, Box, ImageAnnotations, ObjectLabel
from refiner.inspection.images import Images

BEYOND = 1.0
"""Distance in pixels by which a box may reach beyond its image: programs round in different ways."""

NO_CLASS = "(no class)"


@dataclass
class ObjectFacts:
    """Facts about the annotated objects of the inspected images.

    Attributes:
        images: number of images with at least one object.
        empty: number of images that are annotated and have no object.
        missing: images without annotations, in a data set that has some.
        count: number of objects.
        classes: number of objects by class, most frequent first; classes without an object have 0.
        boxes, outlines, masks, keypoints: number of objects that have them.
        beyond: images with a box that reaches beyond them by more than :data:`BEYOND`.
        points_outside: images with a labelled keypoint outside.
        sizes: images whose annotations state another size than theirs.
        flat: images with a box without area.
    """

    images: int = 0
    empty: int = 0
    missing: Images = field(default_factory=Images)
    count: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    boxes: int = 0
    outlines: int = 0
    masks: int = 0
    keypoints: int = 0
    beyond: Images = field(default_factory=Images)
    points_outside: Images = field(default_factory=Images)
    sizes: Images = field(default_factory=Images)
    flat: Images = field(default_factory=Images)


class ObjectMeter:
    """Collect the objects of one image after the other."""

    def __init__(self) -> None:
        self._facts, self._classes = ObjectFacts(), Counter[str]()

    def add(self, annotations: ImageAnnotations | None, size: tuple[int, int], sample: str) -> None:
        """Add one image.

        Args:
            annotations: its objects; None if it has no annotations.
            size: (height, width) of the image.
            sample: its id.
        """
        facts = self._facts
        if annotations is None:
            facts.missing.add(sample)
            return
        objects = annotations.objects
        facts.images += bool(objects)
        facts.empty += not objects
        facts.count += len(objects)
        # Count the objects by class and by kind of shape.
        self._classes.update(each.category or NO_CLASS for each in objects)
        facts.boxes += sum(each.box is not None for each in objects)
        facts.outlines += sum(bool(each.polygons) for each in objects)
        facts.masks += sum(each.mask is not None for each in objects)
        facts.keypoints += sum(bool(each.keypoints) for each in objects)
        # Note what does not fit the image.
        boxes = [each.box for each in objects if each.box is not None]
        for found, images in (
            (any(_is_beyond(box, size) for box in boxes), facts.beyond),
            (any(_is_flat(box) for box in boxes), facts.flat),
            (any(_has_point_outside(each, size) for each in objects), facts.points_outside),
            (any(stated != size for stated in _stated_sizes(annotations)), facts.sizes),
        ):
            if found:
                images.add(sample)

    def result(self, info: AnnotationInfo | None) -> ObjectFacts | None:
        """Return the facts; None if no image has annotations.

        Args:
            info: facts about the whole data set, which name classes without objects.
        """
        if not self._facts.images and not self._facts.empty:
            return None
        unused = {} if info is None else {each.name: 0 for each in info.categories if each.name not in self._classes}
        self._facts.classes = {**dict(self._classes.most_common()), **unused}
        return self._facts


def _is_beyond(box: Box, size: tuple[int, int]) -> bool:
    x, y, width, height = box
    inside = min(x, y) >= -BEYOND and x + width <= size[1] + BEYOND and y + height <= size[0] + BEYOND
    return not inside


def _is_flat(box: Box) -> bool:
    return not (box[2] > 0 and box[3] > 0)


def _has_point_outside(each: ObjectLabel, size: tuple[int, int]) -> bool:
    points = zip(each.keypoints[::3], each.keypoints[1::3], each.keypoints[2::3], strict=False)
    height, width = size
    return any(v > 0 and not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5) for x, y, v in points)


def _stated_sizes(annotations: ImageAnnotations) -> Sequence[tuple[int, int]]:
    """Return the sizes (height, width) that annotations state: for the image, and for each mask."""
    entries: list[Any] = [entry for entry in annotations.entries.values() if isinstance(entry, Mapping)]
    stated = [(entry["height"], entry["width"]) for entry in entries if {"height", "width"} <= entry.keys()]
    for each in annotations.objects:
        if each.mask is not None:
            try:
                stated.append(mask_size(each.mask))
            except ValueError:
                stated.append((0, 0))
    return stated


def object_lines(facts: ObjectFacts, of: int) -> list[tuple[str, str]]:
    """Return the facts as rows of a name and a text.

    Args:
        facts: the facts.
        of: number of images that were read.
    """
    without = [(facts.empty, "annotated without any"), (facts.missing.count, "not annotated")]
    more = "".join(f", {count:,} {what}" for count, what in without if count)
    shapes = [(facts.boxes, "boxes"), (facts.outlines, "outlines"), (facts.masks, "masks")]
    shapes.append((facts.keypoints, "sets of keypoints"))
    shown = [f"{name} {count:,}" for name, count in list(facts.classes.items())[:8]]
    rest = f" and {len(facts.classes) - 8} more" if len(facts.classes) > 8 else ""
    return [
        ("objects", f"{facts.count:,} in {facts.images:,} of {of:,} images{more}"),
        ("shapes", ", ".join(f"{count:,} {what}" for count, what in shapes if count) or "none"),
        ("classes", f"{len(facts.classes):,}: {', '.join(shown)}{rest}"),
    ]
