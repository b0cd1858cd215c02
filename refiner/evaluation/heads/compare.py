"""Comparison of heads that are trained on raw and on refined renders, on the labels of real images."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from refiner.evaluation.heads.head import Head, Measure, Shared, Sums
from refiner.evaluation.measurement import Metric
from refiner.evaluation.utility import SEEDS
from refiner.metrics.intervals import statistic_interval
from refiner.models.regressor import fit_network

_BATCH = 64


def compare(
    shared: Shared,
    synthetic: Tensor,
    refined: Tensor,
    real: Tensor,
    clusters: Sequence[str] | None,
    *,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Metric], list[str]]:
    """Train heads on raw and on refined renders, and test both on real images.

    Both see the same images in the same order, from the same initial weights. They differ in the pixels, and in the
    labels only if refining dropped objects.

    Args:
        shared: the labels, and their head.
        synthetic, refined: (N, C, H, W), in [-1, 1]; the pairs whose labels are ``shared.raw`` and ``shared.refined``.
        real: (M, C, H, W), in [-1, 1]; the images whose labels are ``shared.real``.
        clusters: person or day of each real image; None treats the images as independent.
        report: called with the number of trained heads and their total number.

    Returns:
        The metrics, with intervals over seeds and clusters together, and sentences on what they do not say.
    """
    head, outcomes = shared.head, (list[Sums](), list[Sums]())
    arms = ((synthetic, shared.raw), (refined, shared.refined))
    # Train the heads, one after the other, and keep only what they add to the sums of the measures.
    for index, seed in enumerate(SEEDS):
        for arm, (images, targets) in enumerate(arms):
            report(2 * index + arm, 2 * len(SEEDS))
            network = fit_network(
                partial(head.build, channels=images.shape[1]),
                images,
                targets,
                loss=head.loss,
                steps=head.steps,
                batch_size=head.batch_size,
                seed=seed,
            )
            outcomes[arm].append(outcomes_of(head, network, real, shared.real))
    report(2 * len(SEEDS), 2 * len(SEEDS))

    # Compare them on the same images.
    measures = head.measures(shared.raw, shared.real)
    metrics = [_metric(measure, np.stack(outcomes[0]), np.stack(outcomes[1]), clusters) for measure in measures]
    return metrics, _constant_note(measures[0], metrics[0])


@torch.inference_mode()
def outcomes_of(head: Head, network: nn.Module, real: Tensor, targets: Tensor) -> Sums:
    """Return what each real image adds to the sums of the measures, (M, F)."""
    batches = zip(real.split(_BATCH), targets.split(_BATCH), strict=True)
    return np.concatenate([head.outcomes(network(images), wanted) for images, wanted in batches])


def _metric(measure: Measure, raw: Sums, refined: Sums, clusters: Sequence[str] | None) -> Metric:
    """Return a metric of outcomes (seeds, M, F)."""
    sign, count = 1 if measure.rises else -1, raw.shape[2]

    def gain(sums: Sums) -> Sums:
        return np.asarray(sign * (measure.statistic(sums[..., count:]) - measure.statistic(sums[..., :count])))

    both = np.concatenate([raw, refined], axis=2)
    return Metric(
        measure.key,
        f"{measure.name} (best constant: {measure.constant:.1f} {measure.unit})",
        "utility",
        measure.unit,
        statistic_interval(refined, measure.statistic, clusters),
        baseline=statistic_interval(raw, measure.statistic, clusters),
        gain=statistic_interval(both, gain, clusters),
        rises=measure.rises,
    )


def _constant_note(measure: Measure, metric: Metric) -> list[str]:
    """Return a sentence if no head beats a constant prediction, which makes the comparison meaningless."""
    assert metric.baseline is not None
    sides = (metric.value.mean, metric.baseline.mean)
    best = max(sides) > measure.constant if measure.rises else min(sides) < measure.constant
    if best:
        return []
    return [
        "Neither the heads trained on raw nor those trained on refined renders beat the best constant prediction "
        f"({measure.constant:.1f} {measure.unit}), so their comparison says nothing about use."
    ]
