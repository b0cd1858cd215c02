"""Head for the class of each pixel: of annotated objects, or of a label ``mask``."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from refiner.data.annotations.class_masks import IGNORED, class_mask, has_outline
from refiner.data.labels.objects import OBJECTS, ImageAnnotations, ObjectLabel
from refiner.evaluation.heads.classes import one_sided
from refiner.evaluation.heads.head import Labelled, Measure, Shared, Sums, UnfitError, check_counts
from refiner.evaluation.samples import Original
from refiner.models.unet import SmallUNet

MASK = "mask"
"""Name of a label that is itself a mask, (H, W)."""

MAX_CLASSES = 32
"""Largest number of classes that a head learns."""

MIN_IMAGES_EACH = 5
"""Smallest number of images of each side in which a class is."""

ClassMap = NDArray[np.uint8]


class MasksHead:
    """U-Net for the background and ``names``; ``weights`` of the classes in the loss begin with the background."""

    steps, batch_size = 300, 16

    def __init__(self, names: Sequence[str], weights: Sequence[float]) -> None:
        self.names, self._weights = list(names), torch.tensor(weights, dtype=torch.float32)

    def build(self, size: tuple[int, int], channels: int) -> nn.Module:
        """Build the network for images of (height, width)."""
        return SmallUNet(classes=len(self.names) + 1, channels=channels)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of the pixels whose class is known."""
        return functional.cross_entropy(outputs, targets.long(), weight=self._weights, ignore_index=IGNORED)

    def outcomes(self, outputs: Tensor, targets: Tensor) -> Sums:
        """Return intersection and union of each class in each image, (N, 2K), in pixels."""
        return self._overlaps(outputs.argmax(dim=1), targets)

    def _overlaps(self, found: Tensor, targets: Tensor) -> Sums:
        known = targets != IGNORED
        sums = []
        for number in range(1, len(self.names) + 1):
            ours, theirs = (found == number) & known, targets == number
            sums += [(ours & theirs).sum(dim=(1, 2)), (ours | theirs).sum(dim=(1, 2))]
        return torch.stack(sums, dim=1).double().numpy()

    def measures(self, trained: Tensor, tested: Tensor) -> Sequence[Measure]:
        """Return the mean IoU."""
        constants = [
            float(mean_iou(self._overlaps(torch.full_like(tested, number), tested).sum(axis=0)))
            for number in range(1, len(self.names) + 1)
        ]
        return (Measure("mask_iou", "mean IoU on real labels", "%", True, mean_iou, max(constants)),)


def mean_iou(sums: Sums) -> Sums:
    """Return the mean over classes of intersection over union in percent, (...), from their sums, (..., 2K).

    Classes that are in no image and were found in none do not count.
    """
    pairs = sums.reshape(*sums.shape[:-1], -1, 2)
    with np.errstate(invalid="ignore"):
        return np.asarray(100 * np.nanmean(pairs[..., 0] / pairs[..., 1], axis=-1))


def share_masks(
    renders: Labelled, refined: Sequence[Original], real: Labelled, work: tuple[int, int], *, boxes: bool
) -> Shared:
    """Find the classes of pixels that the renders and the real images share.

    Args:
        renders, real: the labels of both.
        refined: the labels of the refined images.
        work: (height, width) of the images that the head sees.
        boxes: True takes the boxes of the objects of both sides if those of one side have no outlines.

    Raises:
        UnfitError: there are none, or too few.
    """
    sides = [renders.rows, refined, real.rows]
    objects = all(any(OBJECTS in row.labels for row in rows) for rows in sides)
    if not objects and not all(any(MASK in row.labels for row in rows) for rows in sides):
        raise UnfitError(f"both sides share no objects, and no label {MASK}")
    every = [_classes(rows, objects) for rows in sides]
    shared = sorted(every[0] & every[2])
    if not shared:
        raise UnfitError(f"the classes of {renders.where} and of {real.where} have no name in common")
    notes = one_sided(every[0], every[2], renders, real)
    only_boxes = objects and not all(map(_have_outlines, sides))
    if only_boxes and not boxes:
        raise UnfitError("the objects of one side have boxes only")
    boxes = only_boxes
    if boxes:
        notes.append("One side has boxes only, so masks are the boxes of the objects.")
    names, dropped = list[str](), list[str]()
    for name in shared:
        counts = [sum(name in _in_image(row, objects) for row in rows) for rows in (renders.rows, real.rows)]
        (names if min(counts) >= MIN_IMAGES_EACH else dropped).append(name)
    if len(names) > MAX_CLASSES:
        raise UnfitError(f"both sides share {len(names)} classes of pixels, and at most {MAX_CLASSES} can be learnt")
    if not names:
        raise UnfitError(f"no class is in {MIN_IMAGES_EACH} images of each side")
    if dropped:
        notes.append(f"Classes in fewer than {MIN_IMAGES_EACH} images are not tested: {', '.join(dropped[:8])}.")

    # Draw the masks at the size that the head sees.
    numbers = {name: number for number, name in enumerate(names, 1)}
    draw = partial(_drawn, numbers=numbers, boxes=boxes, work=work, objects=objects)
    with ThreadPoolExecutor() as pool:
        maps = [list(pool.map(draw, rows)) for rows in sides]
    faulty = sum(
        found is None and _has(row, objects)
        for rows, side in zip(sides, maps, strict=True)
        for row, found in zip(rows, side, strict=True)
    )
    if faulty:
        notes.append(f"The masks of {faulty:,} images are damaged or of another size than the image.")
    known = [{number for number, found in enumerate(side) if found is not None} for side in maps]
    pairs, tested = sorted(known[0] & known[1]), sorted(known[2])
    check_counts(len(pairs), len(tested), renders, real, "masks")
    raw, after, true = (_stacked(side, chosen) for side, chosen in zip(maps, (pairs, pairs, tested), strict=True))
    what = "boxes" if boxes else "masks"
    about = f"{what} of {len(names)} classes: {', '.join(names[:8])}{' and more' if len(names) > 8 else ''}"
    head = MasksHead(names, _class_weights(raw, len(names)))
    return Shared("mask", about, head, raw, after, true, pairs, tested, notes)


def _classes(rows: Sequence[Original], objects: bool) -> set[str]:
    return set().union(*(_in_image(row, objects) for row in rows))


def _in_image(row: Original, objects: bool) -> set[str]:
    """Return the classes in an image."""
    value = row.labels.get(OBJECTS if objects else MASK)
    if isinstance(value, ImageAnnotations):
        return {each.category for each in value.objects if each.box is not None or has_outline(each)}
    if isinstance(value, np.ndarray) and not objects:
        return {str(number) for number in np.unique(value).tolist() if number != 0}
    return set()


def _has(row: Original, objects: bool) -> bool:
    return (OBJECTS if objects else MASK) in row.labels


def _have_outlines(rows: Sequence[Original]) -> bool:
    """Return whether objects have outlines, or at least half of them do."""
    shaped = [has_outline(each) for row in rows for each in _objects(row)]
    return 2 * sum(shaped) >= len(shaped)


def _objects(row: Original) -> Sequence[ObjectLabel]:
    value = row.labels.get(OBJECTS)
    return value.objects if isinstance(value, ImageAnnotations) else ()


def _drawn(
    row: Original, *, numbers: dict[str, int], boxes: bool, work: tuple[int, int], objects: bool
) -> ClassMap | None:
    """Return the classes of the pixels of an image at the size ``work``; None if they are unknown or faulty."""
    value = row.labels.get(OBJECTS if objects else MASK)
    try:
        if isinstance(value, ImageAnnotations):
            found = class_mask(value, row.size, numbers, boxes=boxes)
        elif isinstance(value, np.ndarray) and value.shape == row.size and not objects:
            found = np.full(row.size, IGNORED, np.uint8)
            found[value == 0] = 0
            for name, number in numbers.items():
                found[value == float(name)] = number
        else:
            return None
    except ValueError:
        return None
    if (found == IGNORED).all():
        return None
    return np.asarray(cv2.resize(found, work[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _stacked(maps: Sequence[ClassMap | None], numbers: Sequence[int]) -> Tensor:
    return torch.from_numpy(np.stack([found for number in numbers if (found := maps[number]) is not None]))


def _class_weights(maps: Tensor, classes: int) -> list[float]:
    """Return weights by the root of the rarity of each class, of mean 1, so that small objects are learnt in time."""
    counts = torch.bincount(maps.flatten().int(), minlength=IGNORED + 1)[: classes + 1].double()
    weights = (counts.sum() / counts.clamp(min=1)).sqrt().clamp(max=30)
    return (weights / weights.mean()).tolist()
