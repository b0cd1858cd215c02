"""Masks of classes, against pixels counted by hand and by pycocotools' own annotations."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from refiner.data.annotations.class_masks import IGNORED, class_mask
from refiner.data.annotations.positions.run_lengths import encode
from refiner.data.labels.objects import ImageAnnotations, ObjectLabel

SIZE = (6, 9)
NUMBERS = {"a": 1, "b": 2}


def square(name: str, category: str, left: float, top: float, side: float, **more: object) -> ObjectLabel:
    outline = (left, top, left + side, top, left + side, top + side, left, top + side)
    return ObjectLabel(name, category, polygons=(outline,), **more)


def test_pixels_get_the_class_of_their_object_and_contested_ones_none() -> None:
    objects = (
        square("1", "a", 1, 1, 3),
        square("2", "b", 3, 2, 3),
        square("3", "a", 0, 0, 2),
        square("4", "c", 8, 0, 1),
    )
    found = class_mask(ImageAnnotations(objects), SIZE, NUMBERS)
    wanted = np.zeros(SIZE, int)
    wanted[0:2, 0:2] = wanted[1:4, 1:4] = 1
    wanted[2:5, 3:6] = 2
    wanted[2:4, 3] = IGNORED  # of a and of b
    wanted[0, 8] = IGNORED  # of a class that is not asked for
    assert np.array_equal(found, wanted)


def test_outlines_are_filled_as_coco_fills_them() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        outline = (rng.uniform(0, 1, (5, 2)) * [9, 6]).ravel().tolist()
        reference = coco_mask.decode(coco_mask.frPyObjects([outline], *SIZE))[..., 0]
        found = class_mask(ImageAnnotations((ObjectLabel("1", "b", polygons=(tuple(outline),)),)), SIZE, NUMBERS)
        assert np.array_equal(found, 2 * reference)


def test_run_lengths_and_boxes() -> None:
    pixels = np.random.default_rng(1).integers(0, 2, SIZE, dtype=np.uint8)
    masked = ObjectLabel("1", "a", box=(0.0, 0.0, 2.0, 6.0), mask=encode(pixels))
    assert np.array_equal(class_mask(ImageAnnotations((masked,)), SIZE, NUMBERS), pixels)
    columns = np.zeros(SIZE, int)
    columns[:, :2] = 1
    assert np.array_equal(class_mask(ImageAnnotations((masked,)), SIZE, NUMBERS, boxes=True), columns)
    # Without an outline, the pixels in the box are of no certain class; a box without a number is that of its outline.
    boxed = ImageAnnotations((ObjectLabel("1", "a", box=(2.4, 1.0, 1.9, 2.0)),))
    assert np.argwhere(class_mask(boxed, SIZE, NUMBERS) == IGNORED).tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]
    assert np.argwhere(class_mask(boxed, SIZE, NUMBERS, boxes=True) == 1).tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]
    around = class_mask(ImageAnnotations((square("1", "b", 2, 3, 2),)), SIZE, NUMBERS, boxes=True)
    assert np.argwhere(around == 2).tolist() == [[3, 2], [3, 3], [4, 2], [4, 3]]


def test_a_mask_of_another_size_is_refused() -> None:
    wrong = ObjectLabel("1", "a", mask=encode(np.ones((9, 6), np.uint8)))
    with pytest.raises(ValueError, match="a mask is 9x6, but the image is 6x9"):
        class_mask(ImageAnnotations((wrong,)), SIZE, NUMBERS)
