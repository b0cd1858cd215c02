"""Label preservation metrics: shifts of the labelled region, gaze changes seen by a frozen network, and edges.

The reference of each metric is the same measurement on renders with added noise, in which nothing moved. The noise is
as large as the change that the refiner made.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from refiner.core.rng import torch_generator
from refiner.data.drift.measurement import measure_label_drift
from refiner.data.drift.objects import LOST
from refiner.data.drift.regions import MASK, PUPIL, UNKNOWN
from refiner.data.drift.scores import patch_scale
from refiner.data.drift.table import LabelDrift
from refiner.data.labels.angles import angular_error_degrees
from refiner.data.labels.objects import OBJECTS
from refiner.data.labels.records import Labels
from refiner.evaluation.measurement import Metric
from refiner.metrics.intervals import Interval, cluster_interval

Estimate = Callable[[Tensor], Any]
"""Function from images (N, C, H, W) in [-1, 1] to an array (N, 2) of pitch and yaw in radians."""

PATCH_PIXELS = "px at 36x60"
"""Unit of shifts that are compared with a limit: pixels of a 36x60 patch, whatever the size of the images."""

REGION = 0.06
"""Half the side of the square around a labelled point, as a share of the image width; about an iris in an eye patch."""


def measure_preservation(
    synthetic: Tensor,
    refined: Tensor,
    watched: Sequence[Labels],
    *,
    estimate: Estimate | None,
    seed: int,
    clusters: Sequence[str] | None = None,
    drifts: Sequence[LabelDrift] | None = None,
) -> list[Metric]:
    """Measure all metrics of label preservation.

    Args:
        synthetic, refined: (N, C, H, W), in [-1, 1]; refined image i belongs to render i.
        watched: region that must stay in place, for each pair; see
            :meth:`refiner.data.drift.regions.LabelRegion.watched`.
        estimate: frozen gaze network that was trained on renders; None if the images are no eyes.
        seed: seed of the noise.
        clusters: person of each render; None treats the renders as independent.
        drifts: label drift of each pair; None measures it.

    Returns:
        Shifts in pixels, the drift score, the edge correlation; the share of annotated objects that are lost, if there
        are any; the largest change in the labelled region if all images have the same kind of label, and it is no
        object, whose colours may change; the gaze shift if ``estimate`` is given.
    """
    noisy = _add_noise(synthetic, refined, seed)
    kinds = {next(iter(row), None) for row in watched} - {UNKNOWN}
    kind = kinds.pop() if len(kinds) == 1 else None
    what = {PUPIL: "pupil", MASK: "masked region", OBJECTS: "worst object", None: "image"}.get(kind, "worst point")
    # Measure how far the labelled regions moved, once after refining and once after adding noise.
    noise = measure_label_drift(synthetic, noisy, watched)
    if drifts is None:
        drifts = measure_label_drift(synthetic, refined, watched)
    lengths = [[drift.pixels for drift in some] for some in (drifts, noise)]
    scores = [[drift.score for drift in some] for some in (drifts, noise)]
    edges = [_edge_agreement(synthetic, images) for images in (refined, noisy)]
    metrics = [
        _mean("moved", f"shift of the {what}", "px", lengths, clusters),
        _mean("score", "drift score", PATCH_PIXELS, scores, clusters),
        _common_shift(drifts, noise, patch_scale(synthetic.shape[2:]), clusters),
        _mean("edges", "edge correlation", "", edges, clusters),
    ]
    if any(drift.objects for drift in drifts):
        lost = [[_lost_share(drift) for drift in some] for some in (drifts, noise)]
        metrics.append(_mean("objects_lost", "share of objects that are lost", "", lost, clusters))
    # Measure the change of pixels inside the labelled regions.
    rows = [number for number, row in enumerate(watched) if kind in row and drifts[number].known]
    if kind not in (None, OBJECTS) and len(rows) > 1:
        regions = [watched[number][kind] for number in rows]
        changes = [_region_change(synthetic[rows], images[rows], regions) for images in (refined, noisy)]
        where = "in" if kind == MASK else "around"
        people = None if clusters is None else [clusters[number] for number in rows]
        metrics.append(_mean("region", f"largest change {where} the {what}", "levels", changes, people))
    # Compare the gaze that a frozen network estimates before and after.
    if estimate is not None:
        gaze = estimate(synthetic)
        shifts = [angular_error_degrees(estimate(images), gaze) for images in (refined, noisy)]
        metrics.append(_mean("gaze_shift", "gaze shift seen by a frozen network", "°", shifts, clusters))
    return metrics


def _lost_share(drift: LabelDrift) -> float:
    """Return the share of the objects of an image of which less than half is left; 0 if none can be followed."""
    followed = [each.structure for each in drift.objects if each.known]
    return sum(structure < LOST for structure in followed) / max(1, len(followed))


def _mean(key: str, name: str, unit: str, pair: Sequence[Any], clusters: Sequence[str] | None) -> Metric:
    """Return the metric of a pair: the values of the refined images, and those of the reference."""
    value, reference = (cluster_interval(np.asarray(numbers, np.float64), clusters) for numbers in pair)
    return Metric(key, name, "labels", unit, value, reference=reference)


def _add_noise(synthetic: Tensor, refined: Tensor, seed: int) -> Tensor:
    """Add Gaussian noise with the mean absolute size of the refiner's change, image by image."""
    size = (refined - synthetic).abs().mean(dim=(1, 2, 3), keepdim=True)
    noise = torch.randn(synthetic.shape, generator=torch_generator(seed, "noise"))
    noisy: Tensor = (synthetic + noise * size * (torch.pi / 2) ** 0.5).clamp(-1, 1)
    return noisy


def _common_shift(
    drifts: Sequence[LabelDrift], noise: Sequence[LabelDrift], scale: float, clusters: Sequence[str] | None
) -> Metric:
    """Measure the length of the mean shift, which biases every model that is trained on the images.

    Args:
        drifts, noise: drift of the refined images, and of the reference.
        scale: pixels of an image for one pixel of a 36x60 patch.
        clusters: see :func:`measure_preservation`.
    """
    value, reference = (
        _along_the_mean(np.array([[drift.x, drift.y] for drift in some]) / scale, clusters) for some in (drifts, noise)
    )
    return Metric("common_shift", "mean shift of all images", "labels", PATCH_PIXELS, value, reference=reference)


def _along_the_mean(shifts: Any, clusters: Sequence[str] | None) -> Interval:
    """Project shifts (N, 2) on the direction of their mean, and return the interval of the projections."""
    mean = shifts.mean(axis=0)
    length = float(np.hypot(*mean))
    return cluster_interval(shifts @ (mean / max(length, 1e-9)), clusters)


def _edge_agreement(synthetic: Tensor, images: Tensor) -> Any:
    """Return the correlation of edge strengths before and after, (N,); 1 if no edge changed."""
    strengths = []
    for side in (synthetic, images):
        # Smooth a little, so that noise makes no edges.
        smooth = functional.avg_pool2d(side.mean(dim=1, keepdim=True), 3, stride=1, padding=1, count_include_pad=False)
        across, down = torch.gradient(smooth, dim=(-1, -2))
        strength = torch.hypot(across, down).flatten(1)
        strengths.append(functional.normalize(strength - strength.mean(dim=1, keepdim=True), dim=1))
    return (strengths[0] * strengths[1]).sum(dim=1).numpy()


def _region_change(synthetic: Tensor, images: Tensor, regions: Sequence[Any]) -> Any:
    """Return the largest pixel change in each region, N numbers in grey levels from 0 to 255."""
    changes = []
    for render, image, region in zip(synthetic, images, regions, strict=True):
        change = (image - render).abs().amax(dim=0)[_inside(region, render.shape[1], render.shape[2])]
        changes.append(127.5 * float(change.max()) if len(change) else 0.0)
    return changes


def _inside(region: Any, height: int, width: int) -> Tensor:
    """Return the region of points (K, 2) or of a mask (H, W) as booleans (H, W)."""
    if region.shape == (height, width):
        return torch.from_numpy(region > 0)
    rows, columns = torch.arange(height).view(-1, 1), torch.arange(width)
    inside = torch.zeros(height, width, dtype=torch.bool)
    for x, y in np.asarray(region, np.float64).reshape(-1, 2):
        inside |= ((rows - y).abs() <= REGION * width) & ((columns - x).abs() <= REGION * width)
    return inside
