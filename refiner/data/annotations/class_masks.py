"""Masks of the classes in an image, made of its annotated objects."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from refiner.data.annotations.positions.run_lengths import decode, mask_size
from refiner.data.labels.objects import ImageAnnotations, ObjectLabel

IGNORED = 255
"""Value of pixels whose class is not certain."""


def has_outline(each: ObjectLabel) -> bool:
    """Return whether an object has outlines or a mask, not only a box."""
    return bool(each.polygons) or each.mask is not None


def class_mask(
    annotations: ImageAnnotations, size: tuple[int, int], numbers: Mapping[str, int], *, boxes: bool = False
) -> NDArray[np.uint8]:
    """Return the class of each pixel.

    Args:
        annotations: the objects of the image.
        size: (height, width) of the image.
        numbers: number of each class, from 1 to 254, by its name. Pixels of other classes are ignored.
        boxes: True fills the box of each object, whatever its outlines.

    Returns:
        (height, width): the number of the class, 0 for the background, or :data:`IGNORED`. Pixels that objects of
        several classes claim are ignored, and so is the box of an object without outline.

    Raises:
        ValueError: a mask is damaged, or has another size than the image.
    """
    found = np.zeros(size, np.uint8)
    for each in annotations.objects:
        number = numbers.get(each.category, IGNORED)
        # Without an outline, the box is all that is known.
        inside = _box(each, size) if boxes or not has_outline(each) else object_mask(each, size)
        if not boxes and not has_outline(each):
            number = IGNORED
        found[inside & (found != 0) & (found != number)] = IGNORED
        found[inside & (found == 0)] = number
    return found


def object_mask(each: ObjectLabel, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels of an object, (height, width), from its mask or outlines; outlines are filled as COCO does.

    Raises:
        ValueError: its mask is damaged, or has another size than the image.
    """
    if each.mask is not None:
        if mask_size(each.mask) != size:
            height, width = mask_size(each.mask)
            raise ValueError(f"a mask is {height}x{width}, but the image is {size[0]}x{size[1]}")
        return decode(each.mask).astype(bool)
    outlines = [list(outline) for outline in each.polygons if len(outline) >= 6]
    if not outlines:
        return np.zeros(size, bool)
    merged = coco_mask.merge(coco_mask.frPyObjects(outlines, size[0], size[1]))
    return decode({"size": merged["size"], "counts": merged["counts"].decode("ascii")}).astype(bool)


def _box(each: ObjectLabel, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels whose centres are in the box of an object, or in the box around its outlines."""
    inside = np.zeros(size, bool)
    if each.box is None:
        down, across = np.nonzero(object_mask(each, size))
        if len(down):
            inside[down.min() : down.max() + 1, across.min() : across.max() + 1] = True
        return inside
    left, top, width, height = each.box
    rows, columns = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    return ((rows >= top) & (rows < top + height))[:, None] & ((columns >= left) & (columns < left + width))[None]
