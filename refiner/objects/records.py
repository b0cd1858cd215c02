"""Rendered scenes as labelled records: 8-bit colour images, and the class, box and mask of each object."""

from collections.abc import Iterator

import numpy as np

from refiner.core.rng import numpy_generator
from refiner.data.annotations.positions.run_lengths import encode
from refiner.data.labels.objects import OBJECTS, AnnotationInfo, Category, ImageAnnotations, ObjectLabel
from refiner.data.labels.records import Record
from refiner.objects.rendering import Rendering, render_scene
from refiner.objects.scene import SceneRanges, draw_scene
from refiner.objects.shapes import SHAPES
from refiner.objects.target_camera import ObjectCamera

SIZE = (96, 128)
"""Usual height and width of the images."""

INFO = AnnotationInfo("coco", [Category(number, name) for number, name in enumerate(SHAPES, 1)])
"""The classes of the scenes."""


def rendered_scenes(
    ranges: SceneRanges,
    count: int,
    *,
    seed: int,
    size: tuple[int, int] = SIZE,
    camera: ObjectCamera | None = None,
    first: int = 0,
) -> Iterator[Record]:
    """Yield labelled scenes with the numbers ``first`` to ``count - 1``; the ids are ``000000.png`` and so on.

    Args:
        ranges: ranges to draw from.
        count: number after the last scene.
        seed: seed of all random values; a scene depends only on it and on the scene's number.
        size: (height, width) in pixels.
        camera: simulated target camera that takes each image; the labels stay valid.
        first: number of the first scene.

    Yields:
        Records with uint8 RGB images of shape (H, W, 3), and the label ``objects``.
    """
    for number in range(first, count):
        rendering = render_scene(draw_scene(ranges, numpy_generator(seed, "scene", number), size), size)
        image = rendering.image if camera is None else camera(rendering.image, number)
        yield Record(f"{number:06d}.png", image, {OBJECTS: annotations(rendering)})


def annotations(rendering: Rendering) -> ImageAnnotations:
    """Return the class, the mask and its bounding box of each object of an image, from its visible pixels."""
    objects = []
    for owner, thing in enumerate(rendering.things):
        mask = (rendering.owners == owner).astype(np.uint8)
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        top, left = int(rows[0]), int(columns[0])
        box = (left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)
        objects.append(ObjectLabel(str(owner + 1), thing.category, box, mask=encode(mask)))
    return ImageAnnotations(tuple(objects))
