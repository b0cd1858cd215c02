"""Head for points: a pupil, joints, or the keypoints of one object in each image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from refiner.data.drift.regions import POINTS, point_pairs
from refiner.data.labels.coordinates import ANGLES
from refiner.data.labels.objects import OBJECTS, AnnotationInfo, ImageAnnotations, ObjectLabel
from refiner.evaluation.heads.head import Labelled, Measure, Shared, Sums, UnfitError, check_counts
from refiner.evaluation.samples import Original
from refiner.models.heatmaps import HeatmapEstimator

WITHIN = 0.05
"""Largest distance at which a point counts as found, as a share of the longer side of the image."""

KEYPOINTS = "keypoints of the object"

Places = np.ndarray[tuple[int, int], np.dtype[np.float64]]
"""(K, 2), x and y as shares of the image's width and height, NaN where unknown; 0 and 1 are the edges."""


class PointsHead:
    """Regressor of K points; errors are in pixels of images of ``size``, (height, width)."""

    steps, batch_size = 400, 32

    def __init__(self, points: int, size: tuple[int, int]) -> None:
        self.points, self.size = points, size

    def build(self, size: tuple[int, int], channels: int) -> nn.Module:
        """Build the network for images of (height, width)."""
        return HeatmapEstimator(size, joints=self.points, channels=channels)

    def targets(self, places: Sequence[Places], size: tuple[int, int]) -> Tensor:
        """Return the outputs that a network for images of ``size`` should have, (N, 2K)."""
        height, width = size
        pixels = np.stack(places) * [width, height] - 0.5
        return torch.from_numpy((pixels / max(size)).reshape(len(places), -1).astype(np.float32))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of the points that are known."""
        known = targets.isfinite()
        return functional.smooth_l1_loss(outputs[known], targets[known], beta=0.05)

    def outcomes(self, outputs: Tensor, targets: Tensor) -> Sums:
        """Return the sum of distances in pixels, the number of points found, and of points, of each image, (N, 3)."""
        shift = (outputs - targets).double().unflatten(1, (-1, 2)) * max(self.size)
        distances = shift.norm(dim=2)
        known = distances.isfinite()
        found = known & (distances <= WITHIN * max(self.size))
        sums = [torch.where(known, distances, 0).sum(dim=1), found.sum(dim=1), known.sum(dim=1)]
        return torch.stack([values.double() for values in sums], dim=1).numpy()

    def measures(self, trained: Tensor, tested: Tensor) -> Sequence[Measure]:
        """Return the mean distance in pixels, and the share of points found (PCK)."""
        mean = torch.from_numpy(np.nanmean(trained.numpy(), axis=0))
        sums = self.outcomes(mean.expand(len(tested), -1), tested).sum(axis=0)
        return (
            Measure("point_error", "distance of points on real labels", "px", False, _distance, float(_distance(sums))),
            Measure("pck", f"points within {WITHIN:.0%} of the longer side", "%", True, _found, float(_found(sums))),
        )


def _distance(sums: Sums) -> Sums:
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 2], 1))


def _found(sums: Sums) -> Sums:
    return np.asarray(100 * sums[..., 1] / np.maximum(sums[..., 2], 1))


def share_points(
    renders: Labelled, real: Labelled, size: tuple[int, int], work: tuple[int, int], *, label: str | None = None
) -> Shared:
    """Find the points that the renders and the real images share.

    Args:
        renders, real: the labels of both.
        size: (height, width) in whose pixels errors are given.
        work: (height, width) of the images that the head sees.
        label: name of the label; None takes the first that fits.

    Raises:
        UnfitError: there are none, or too few.
    """
    reasons = []
    for name in _candidates(renders, real) if label is None else (label,):
        sides = [_places(side, name) for side in (renders, real)]
        if name == KEYPOINTS:
            sides = _matched_keypoints(sides, renders, real)
        lengths = [{len(places) for places in side.values()} for side in sides]
        if any(len(some) != 1 for some in lengths) or lengths[0] != lengths[1]:
            reasons.append(_mismatch(name, sides, renders, real))
            continue
        try:
            check_counts(len(sides[0]), len(sides[1]), renders, real, f"the points {name}")
        except UnfitError as error:
            reasons.append(str(error))
            continue
        head = PointsHead(lengths[0].pop(), size)
        trained = head.targets(list(sides[0].values()), work)
        tested = head.targets(list(sides[1].values()), work)
        about = f"{head.points} points of the label {name}" if name != KEYPOINTS else f"{head.points} {name}"
        return Shared("points", about, head, trained, trained, tested, list(sides[0]), list(sides[1]))
    raise UnfitError("; ".join(reasons) or "both sides share no label of points")


def _candidates(renders: Labelled, real: Labelled) -> list[str]:
    """Return the names of labels that may be points on both sides, the usual ones first."""
    names = []
    for side in (renders, real):
        found = {name for row in side.rows for name, value in row.labels.items() if _may_be_points(name, value)}
        if any(_objects_with_keypoints(row) for row in side.rows):
            found.add(KEYPOINTS)
        names.append(found)
    shared = names[0] & names[1]
    return [name for name in (*POINTS, KEYPOINTS) if name in shared] + sorted(shared - {*POINTS, KEYPOINTS})


def _may_be_points(name: str, value: Any) -> bool:
    if name in ANGLES or name.startswith("drift_") or point_pairs(value) is None:
        return False
    return name in POINTS or np.ndim(value) == 2


def _places(side: Labelled, name: str) -> dict[int, Places]:
    """Return the places of the points of each image that has some, by the number of the image."""
    found = {}
    for number, row in enumerate(side.rows):
        points = _keypoints(row) if name == KEYPOINTS else _pairs(row, name)
        if points is not None and np.isfinite(points).all(axis=1).any():
            height, width = row.size
            found[number] = (points + 0.5) / [width, height]
    return found


def _pairs(row: Original, name: str) -> Places | None:
    points = point_pairs(row.labels.get(name))
    return None if points is None else np.asarray(points, np.float64).reshape(-1, 2)


def _objects_with_keypoints(row: Original) -> list[ObjectLabel]:
    annotations = row.labels.get(OBJECTS)
    if not isinstance(annotations, ImageAnnotations):
        return []
    return [each for each in annotations.objects if any(each.keypoints[2::3])]


def _keypoints(row: Original) -> Places | None:
    """Return the keypoints of the only object that has some, NaN where they are not labelled."""
    objects = _objects_with_keypoints(row)
    if len(objects) != 1:  # it is not known which one a head should find
        return None
    values = np.asarray(objects[0].keypoints, np.float64).reshape(-1, 3)
    return np.where(values[:, 2:] > 0, values[:, :2], np.nan)


def _matched_keypoints(sides: list[dict[int, Places]], renders: Labelled, real: Labelled) -> list[dict[int, Places]]:
    """Bring the keypoints of both sides into one order by their names, if both name them."""
    names = [_keypoint_names(side.info) for side in (renders, real)]
    if not all(names) or names[0] == names[1]:
        return sides
    common = [name for name in names[0] if name in names[1]]
    orders = [[some.index(name) for name in common] for some in names]
    return [
        {number: places[order] for number, places in side.items() if len(places) == len(some)}
        for side, order, some in zip(sides, orders, names, strict=True)
    ]


def _keypoint_names(info: AnnotationInfo | None) -> tuple[str, ...]:
    found = {each.keypoints for each in (info.categories if info else ()) if each.keypoints}
    return found.pop() if len(found) == 1 else ()


def _mismatch(name: str, sides: Sequence[dict[int, Places]], renders: Labelled, real: Labelled) -> str:
    if name == KEYPOINTS and not all(sides):
        return "no image of one side shows exactly one object with keypoints"
    counts = [sorted({len(places) for places in side.values()}) or [0] for side in sides]
    return (
        f"{name} has {', '.join(map(str, counts[0]))} points in {renders.where} and "
        f"{', '.join(map(str, counts[1]))} in {real.where}"
    )
