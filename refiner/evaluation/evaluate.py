"""``refiner evaluate``: renders, the same refined, and photographs, to figures and a verdict."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from refiner.core.errors import DataError, ImageError
from refiner.data.formats.registry import open_dataset
from refiner.data.labels.angles import Angles
from refiner.data.labels.drift import LabelDrift, measure_label_drift
from refiner.data.labels.records import column_values
from refiner.data.labels.regions import ANYTHING, LabelRegion
from refiner.evaluation.features import load_features
from refiner.evaluation.label_preservation import measure_preservation
from refiner.evaluation.measurement import Metric
from refiner.evaluation.realism import measure_realism
from refiner.evaluation.samples import Sample, read_sample
from refiner.evaluation.utility import measure_disagreement, measure_error, train_estimators
from refiner.evaluation.verdict import Verdict, judge
from refiner.images.arrays import eye_patch, resize, to_float
from refiner.inference.refiner import Refiner
from refiner.models.lookup import is_refiner

COLOURED = 256
"""Images that are held in colour at once."""

Report = Callable[[str, int, int], None]
"""Told the stage, and how many of how many are done."""


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

    metrics: list[Metric]
    verdict: Verdict
    drifts: dict[str, LabelDrift]
    rejected: dict[str, str]
    synthetic: Tensor
    refined: Tensor
    real: Tensor


@dataclass(frozen=True)
class Settings:
    """How to evaluate.

    Attributes:
        labelled: photographs with gaze, on which estimators are tested that learn from raw and from refined renders.
        estimators: train such without ``labelled`` too, and compare them with one another.
        group: label of the photographs whose values are kept together; None takes subject or day.
        most: images drawn of each data set.
        region: where drift is read.
        seed: everything follows from it.
        device: where a refiner runs.
    """

    labelled: Path | None = None
    estimators: bool = False
    group: str | None = None
    most: int = 4000
    region: LabelRegion = ANYTHING
    seed: int = 0
    device: str = "auto"


def evaluate(
    synthetic: Path,
    refined: Path,
    real: Path,
    settings: Settings,
    *,
    report: Report = lambda stage, done, total: None,
) -> Evaluation:
    """Measure realism, label preservation and usefulness, and judge.

    Args:
        renders: a data set.
        refined: the same images refined, by name, or a refiner (file, run, or name of a ready one).
        photographs: a data set; labels of it are not looked at but for the group.
        settings: everything else.
        report: told about the progress.

    Raises:
        DataError: a data set cannot be used, or is too small.
    """
    most, seed, region = settings.most, settings.seed, settings.region
    raw = read_sample(synthetic, size=None, most=most, seed=seed)
    size = (raw.images.shape[2], raw.images.shape[3])
    raw, images = _refined(synthetic, raw, refined, size, settings.device)
    region.check(synthetic, sorted({name for row in raw.labels for name in row}))
    try:
        watched = [region.watched(name, row, size) for name, row in zip(raw.ids, raw.labels, strict=True)]
    except ImageError as error:
        raise DataError(f"{error}; give every render a mask") from error
    real_sample = read_sample(real, size=size, most=most, seed=seed)
    report("looking", 0, 3)
    features, estimate = load_features(raw, region=region, seed=seed)
    metrics = measure_realism(
        raw.images, images, real_sample.images, features=features, groups=real_sample.groups(settings.group), seed=seed
    )
    report("looking", 1, 3)
    metrics += measure_preservation(raw.images, images, watched, estimate=estimate, seed=seed)
    report("looking", 2, 3)
    rejected = {str(synthetic / name): reason for name, reason in raw.rejected.items()}
    rejected |= {str(real / name): reason for name, reason in real_sample.rejected.items()}
    if settings.labelled is not None or settings.estimators:
        metrics += _utility(raw, images, real_sample.images, settings, report)
    drifts = measure_label_drift(raw.images.numpy(), images.numpy(), watched)
    change = 127.5 * float((images - raw.images).abs().mean())
    report("looking", 3, 3)
    verdict = judge(metrics, drifts, change=change)
    by_name = dict(zip(raw.ids, drifts, strict=True))
    return Evaluation(metrics, verdict, by_name, rejected, raw.images, images, real_sample.images)


def _refined(synthetic: Path, raw: Sample, refined: Path, size: tuple[int, int], device: str) -> tuple[Sample, Tensor]:
    """Renders and their refined images, pair by pair; a pair of which one cannot be read is left out."""
    if is_refiner(refined):
        refiner = Refiner.load(refined, device=device)
        return raw, refiner(raw.images) if refiner.channels == 1 else _refined_in_colour(synthetic, raw, size, refiner)
    other = read_sample(refined, size=size, most=0, seed=0, ids=raw.ids)
    there = set(other.ids)
    kept = [number for number, name in enumerate(raw.ids) if name in there]
    ids, labels = [raw.ids[number] for number in kept], [raw.labels[number] for number in kept]
    return Sample(raw.images[torch.tensor(kept)], ids, labels, raw.rejected | other.rejected), other.images


def _refined_in_colour(synthetic: Path, raw: Sample, size: tuple[int, int], refiner: Refiner) -> Tensor:
    """The luma of renders that were refined in RGB, (N, 1, H, W); as many at a time as memory does not feel."""
    dataset, patches = open_dataset(synthetic, size=size), []
    for start in range(0, len(raw.ids), COLOURED):
        names = raw.ids[start : start + COLOURED]
        refined = refiner([resize(dataset.read_image(name), size) for name in names])
        patches += [eye_patch(image, size, equalize=False, name=name) for image, name in zip(refined, names)]
    return to_float(torch.from_numpy(np.stack(patches)))


def _utility(raw: Sample, images: Tensor, real: Tensor, settings: Settings, report: Report) -> list[Metric]:
    gaze = column_values(raw.labels, "gaze")
    if gaze is None:
        raise DataError(
            "the renders have no gaze for estimators to be trained on; leave out --labelled and --estimators"
        )
    tested = None if settings.labelled is None else _labelled(settings.labelled, raw, settings)
    trained = train_estimators(raw.images, images, gaze, report=lambda done, total: report("estimating", done, total))
    metrics = [] if tested is None else [measure_error(trained, gaze, *tested)]
    return [*metrics, measure_disagreement(trained, real)]


def _labelled(path: Path, raw: Sample, settings: Settings) -> tuple[Tensor, Angles]:
    """Photographs (M, 1, H, W) of a data set that have a gaze, and that, (M, 2)."""
    real = read_sample(path, size=(raw.images.shape[2], raw.images.shape[3]), most=settings.most, seed=settings.seed)
    known = [number for number, row in enumerate(real.labels) if "gaze" in row]
    if not known:
        raise DataError(f"{path}: none of {len(real.ids)} images has a gaze; name labelled photographs")
    true = np.array([real.labels[number]["gaze"] for number in known], np.float64)
    return real.images[torch.tensor(known)], true
