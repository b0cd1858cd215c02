"""``refiner evaluate``: renders, the same refined, and photographs, to figures and a verdict."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from refiner.errors import DataError
from refiner.evaluation.features import load_features
from refiner.evaluation.figures import Figure
from refiner.evaluation.preservation import measure_preservation
from refiner.evaluation.realism import measure_realism
from refiner.evaluation.samples import Sample, read_sample
from refiner.evaluation.usefulness import measure_usefulness
from refiner.evaluation.verdict import Verdict, judge
from refiner.label_drift import LabelDrift, measure_label_drift
from refiner.records import column_values
from refiner.refinement import Refiner
from refiner.refiner_files import is_refiner

Report = Callable[[str, int, int], None]
"""Told the stage, and how many of how many are done."""

MOST = 4000
"""Images drawn of each data set."""


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        figures: of all families.
        verdict: what to do.
        drifts: of each refined image, by its name.
        rejected: reason of each image that could not be used, by its path.
        renders, refined, photographs: (N, 1, H, W), in [-1, 1], what was looked at; the first two are pairs, in the
            order of ``drifts``.
    """

    figures: list[Figure]
    verdict: Verdict
    drifts: dict[str, LabelDrift]
    rejected: dict[str, str]
    renders: Tensor
    refined: Tensor
    photographs: Tensor


def evaluate(
    renders: Path,
    refined: Path,
    photographs: Path,
    *,
    labelled: Path | None = None,
    group: str | None = None,
    most: int = MOST,
    seed: int = 0,
    device: str = "auto",
    report: Report = lambda stage, done, total: None,
) -> Evaluation:
    """Measure realism, label preservation and usefulness, and judge.

    Args:
        renders: a data set.
        refined: the same images refined, by name, or a refiner (file, run, or name of a ready one).
        photographs: a data set; labels of it are not looked at but for ``group``.
        labelled: photographs with gaze, for usefulness; None does without.
        group: label of the photographs whose values are kept together; None takes subject or day.
        most: images drawn of each data set.
        seed: everything follows from it.
        device: where a refiner runs.
        report: told about the progress.

    Raises:
        DataError: a data set cannot be used, or is too small.
    """
    raw = read_sample(renders, size=None, most=most, seed=seed)
    size = (raw.images.shape[2], raw.images.shape[3])
    raw, images = _refined(raw, refined, size, device)
    real = read_sample(photographs, size=size, most=most, seed=seed)
    report("looking", 0, 3)
    features, estimate = load_features(raw, seed=seed)
    figures = measure_realism(raw.images, images, real.images, features=features, groups=real.groups(group), seed=seed)
    report("looking", 1, 3)
    figures += measure_preservation(raw.images, images, raw.labels, estimate=estimate, seed=seed)
    report("looking", 2, 3)
    rejected = {str(renders / name): reason for name, reason in raw.rejected.items()}
    rejected |= {str(photographs / name): reason for name, reason in real.rejected.items()}
    if labelled is not None:
        figures.append(_usefulness(raw, images, labelled, most=most, seed=seed, report=report))
    drifts = measure_label_drift(raw.images.numpy(), images.numpy(), raw.labels)
    change = 127.5 * float((images - raw.images).abs().mean())
    report("looking", 3, 3)
    verdict = judge(figures, drifts, change=change)
    by_name = dict(zip(raw.ids, drifts, strict=True))
    return Evaluation(figures, verdict, by_name, rejected, raw.images, images, real.images)


def _refined(raw: Sample, refined: Path, size: tuple[int, int], device: str) -> tuple[Sample, Tensor]:
    """Renders and their refined images, pair by pair; a pair of which one cannot be read is left out."""
    if is_refiner(refined):
        refiner = Refiner.load(refined, device=device)
        if refiner.channels != 1:
            raise DataError(f"{refined}: refines RGB; refine the renders first and give their folder instead")
        return raw, refiner(raw.images)
    other = read_sample(refined, size=size, most=0, seed=0, ids=raw.ids)
    there = set(other.ids)
    kept = [number for number, name in enumerate(raw.ids) if name in there]
    ids, labels = [raw.ids[number] for number in kept], [raw.labels[number] for number in kept]
    return Sample(raw.images[torch.tensor(kept)], ids, labels, raw.rejected | other.rejected), other.images


def _usefulness(raw: Sample, images: Tensor, labelled: Path, *, most: int, seed: int, report: Report) -> Figure:
    gaze = column_values(raw.labels, "gaze")
    if gaze is None:
        raise DataError("the renders have no gaze, so that no estimator can be trained on them; leave out --labelled")
    real = read_sample(labelled, size=(raw.images.shape[2], raw.images.shape[3]), most=most, seed=seed)
    known = [number for number, row in enumerate(real.labels) if "gaze" in row]
    if not known:
        raise DataError(f"{labelled}: none of {len(real.ids)} images has a gaze; name labelled photographs")
    true = np.array([real.labels[number]["gaze"] for number in known], np.float64)
    return measure_usefulness(
        raw.images,
        images,
        gaze,
        real.images[torch.tensor(known)],
        true,
        report=lambda done, total: report("estimating", done, total),
    )
