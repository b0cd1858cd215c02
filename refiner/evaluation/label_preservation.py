"""Did labels survive? What moved, what a gaze network that saw renders alone makes of it, what is left of edges.

Beside each figure stands the same for images that nothing was moved in: renders with noise of the same size.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from refiner.core.rng import torch_generator
from refiner.data.labels.angles import angular_error_degrees
from refiner.data.labels.drift import LabelDrift, measure_label_drift
from refiner.data.labels.records import Labels
from refiner.data.labels.regions import MASK, PUPIL
from refiner.evaluation.measurement import Metric
from refiner.metrics.intervals import Interval, bootstrap_interval

Estimate = Callable[[Tensor], Any]
"""(N, 1, H, W) in [-1, 1] to (N, 2), pitch and yaw in radians, as an array."""

REGION = 0.06
"""Half the side of the labelled region around a point, in widths of the image: an iris of an eye patch."""


def measure_preservation(
    synthetic: Tensor, refined: Tensor, watched: Sequence[Labels], *, estimate: Estimate | None, seed: int
) -> list[Metric]:
    """All figures of label preservation.

    Args:
        renders, refined: (N, 1, H, W), in [-1, 1], pair by pair.
        watched: what must stay in each pair, see :meth:`refiner.data.labels.regions.LabelRegion.watched`.
        estimate: a frozen gaze network that was trained on renders; None where images are no eyes.
        seed: of the noise.
    """
    noisy = _noisy(synthetic, refined, seed)
    kinds = {next(iter(row), None) for row in watched}
    kind = kinds.pop() if len(kinds) == 1 else None
    what = {PUPIL: "pupil", MASK: "masked region", None: "image"}.get(kind, "worst point")
    drifts, noise = (measure_label_drift(synthetic, images, watched) for images in (refined, noisy))
    metrics = [
        _mean("moved", f"{what} moved by", "px", [drift.pixels for drift in drifts], [drift.pixels for drift in noise]),
        _mean("score", "drift score", "px", [drift.score for drift in drifts], [drift.score for drift in noise]),
        _common_shift(drifts, noise),
        _mean(
            "edges", "correlation of edges", "", _edge_agreement(synthetic, refined), _edge_agreement(synthetic, noisy)
        ),
    ]
    if kind is not None:
        changes = [_region_change(synthetic, images, [row[kind] for row in watched]) for images in (refined, noisy)]
        where = "in" if kind == MASK else "around"
        metrics.append(_mean("region", f"largest change {where} the {what}", "levels", *changes))
    if estimate is not None:
        answers = estimate(synthetic)
        shifts = [angular_error_degrees(estimate(images), answers) for images in (refined, noisy)]
        metrics.append(_mean("gaze_shift", "gaze of a frozen network moved by", "°", *shifts))
    return metrics


def _mean(key: str, name: str, unit: str, values: Any, reference: Any) -> Metric:
    value, beside = (bootstrap_interval(np.asarray(numbers, np.float64)) for numbers in (values, reference))
    return Metric(key, name, "labels", unit, value, reference=beside)


def _noisy(synthetic: Tensor, refined: Tensor, seed: int) -> Tensor:
    """Renders with Gaussian noise whose mean absolute size, image by image, is that of the refiner's change."""
    size = (refined - synthetic).abs().mean(dim=(1, 2, 3), keepdim=True)
    noise = torch.randn(synthetic.shape, generator=torch_generator(seed, "noise"))
    noisy: Tensor = (synthetic + noise * size * (torch.pi / 2) ** 0.5).clamp(-1, 1)
    return noisy


def _common_shift(drifts: Sequence[LabelDrift], beside: Sequence[LabelDrift]) -> Metric:
    """Length of the mean shift: what all images have in common biases whatever is trained on them."""
    value, reference = (_along_the_mean(np.array([[drift.x, drift.y] for drift in some])) for some in (drifts, beside))
    return Metric("common_shift", "shift in common", "labels", "px", value, reference=reference)


def _along_the_mean(shifts: Any) -> Interval:
    mean = shifts.mean(axis=0)
    length = float(np.hypot(*mean))
    return bootstrap_interval(shifts @ (mean / max(length, 1e-9)))


def _edge_agreement(synthetic: Tensor, images: Tensor) -> Any:
    """(N,), correlation of the strengths of edges, 1 where all stay where they were."""
    strengths = []
    for side in (synthetic, images):
        smooth = functional.avg_pool2d(side.mean(dim=1, keepdim=True), 3, stride=1, padding=1, count_include_pad=False)
        across, down = torch.gradient(smooth, dim=(-1, -2))
        strength = torch.hypot(across, down).flatten(1)
        strengths.append(functional.normalize(strength - strength.mean(dim=1, keepdim=True), dim=1))
    return (strengths[0] * strengths[1]).sum(dim=1).numpy()


def _region_change(synthetic: Tensor, images: Tensor, regions: Sequence[Any]) -> Any:
    """(N,), largest change of a pixel around the labelled points, or where a mask is, in grey levels of 0 to 255."""
    changes = []
    for render, image, region in zip(synthetic, images, regions, strict=True):
        change = (image - render).abs().amax(dim=0)[_inside(region, render.shape[1], render.shape[2])]
        changes.append(127.5 * float(change.max()) if len(change) else 0.0)
    return changes


def _inside(region: Any, height: int, width: int) -> Tensor:
    """(H, W), bool, of points (K, 2) or a mask (H, W)."""
    if region.shape == (height, width):
        return torch.from_numpy(region > 0)
    rows, columns = torch.arange(height).view(-1, 1), torch.arange(width)
    inside = torch.zeros(height, width, dtype=torch.bool)
    for x, y in np.asarray(region, np.float64).reshape(-1, 2):
        inside |= ((rows - y).abs() <= REGION * width) & ((columns - x).abs() <= REGION * width)
    return inside
