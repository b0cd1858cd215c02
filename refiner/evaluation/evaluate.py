"""``refiner evaluate``: compare renders, refined images and real images; return metrics and a verdict."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from refiner.core.errors import DataError, ImageError, WrongInputError
from refiner.data.formats.registry import open_dataset
from refiner.data.labels.angles import Angles
from refiner.data.labels.drift_table import LabelDrift, measure_label_drift
from refiner.data.labels.records import column_values
from refiner.data.labels.regions import ANYTHING, LabelRegion
from refiner.evaluation.features import load_features
from refiner.evaluation.label_preservation import measure_preservation
from refiner.evaluation.measurement import Metric
from refiner.evaluation.realism import measure_realism
from refiner.evaluation.samples import Sample, read_sample
from refiner.evaluation.utility import measure_disagreement, measure_error, train_estimators
from refiner.evaluation.verdict import Verdict, reach_verdict
from refiner.images.arrays import eye_patch, resize, to_float
from refiner.inference.refiner import Refiner
from refiner.models.lookup import is_refiner

COLOUR_BATCH = 256
"""Number of images that are held in memory in colour."""

Report = Callable[[str, int, int], None]
"""Progress callback: name of the stage, number of finished steps, number of all steps."""


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation.

    Attributes:
        metrics: metrics of all families.
        verdict: decision and reasons.
        drifts: label drift of each refined image, by its name.
        rejected: reason for each image that could not be used, by its path.
        synthetic, refined: (N, 1, H, W), in [-1, 1], the evaluated pairs in the order of ``drifts``.
        real: (M, 1, H, W), in [-1, 1], the evaluated real images.
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
    """Settings of an evaluation.

    Attributes:
        labelled: real images with gaze, on which estimators trained on raw and on refined renders are tested.
        estimators: train such estimators without ``labelled`` too, and compare them with one another.
        group: label of the real images whose values are kept together; None takes subject, else day.
        most: largest number of images drawn from each data set.
        region: region where label drift is measured.
        seed: seed of all random choices.
        device: device that the refiner runs on.
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
    """Measure realism, label preservation and downstream utility, and reach a verdict.

    Args:
        synthetic: data set of renders.
        refined: data set of the refined images under the same names, or a refiner (a file, a run, or the name of a
            pretrained one).
        real: data set of real images; of its labels, only the group is used.
        settings: all other settings.
        report: called with the progress.

    Returns:
        The metrics, the verdict, and the images that they were measured on.

    Raises:
        DataError: a data set cannot be used, or is too small.
    """
    # Read the renders, refine them or read their refined images, and read the real images.
    most, seed, region = settings.most, settings.seed, settings.region
    raw = read_sample(synthetic, size=None, most=most, seed=seed, points=region.names)
    size = (raw.images.shape[2], raw.images.shape[3])
    raw, images = _load_refined(synthetic, raw, refined, size, settings.device)
    labels = sorted({name for row in raw.labels for name in row})
    region = region.check(synthetic, labels, lambda name: (row[name] for row in raw.labels if name in row))
    try:
        watched = [region.watched(name, row, size) for name, row in zip(raw.ids, raw.labels, strict=True)]
    except ImageError as error:
        raise DataError(f"{error}; give every render a mask") from error
    real_sample = read_sample(real, size=size, most=most, seed=seed)
    people = real_sample.clusters(settings.group)

    # Measure realism and label preservation.
    report("measuring", 0, 3)
    features, estimate = load_features(raw, region=region, seed=seed)
    metrics = measure_realism(raw.images, images, real_sample.images, features=features, groups=people.names, seed=seed)
    report("measuring", 1, 3)
    metrics += measure_preservation(
        raw.images, images, watched, estimate=estimate, seed=seed, clusters=raw.clusters().names
    )
    report("measuring", 2, 3)

    # Train estimators, if they are asked for.
    if settings.labelled is not None or settings.estimators:
        metrics += _utility(raw, images, real_sample.images, settings, report)

    # Weigh everything.
    rejected = {str(synthetic / name): reason for name, reason in raw.rejected.items()}
    rejected |= {str(real / name): reason for name, reason in real_sample.rejected.items()}
    drifts = measure_label_drift(raw.images.numpy(), images.numpy(), watched)
    change = 127.5 * float((images - raw.images).abs().mean())
    report("measuring", 3, 3)
    verdict = reach_verdict(metrics, drifts, change=change)
    by_name = dict(zip(raw.ids, drifts, strict=True))
    return Evaluation(metrics, verdict, by_name, rejected, raw.images, images, real_sample.images)


def _load_refined(
    synthetic: Path, raw: Sample, refined: Path, size: tuple[int, int], device: str
) -> tuple[Sample, Tensor]:
    """Return the renders and their refined images as pairs; pairs with an unreadable image are left out."""
    if is_refiner(refined):
        refiner = Refiner.load(refined, device=device)
        return raw, refiner(raw.images) if refiner.channels == 1 else _refine_in_colour(synthetic, raw, size, refiner)
    # Read the refined images of the same names, and keep the pairs of which both can be read.
    other = read_sample(refined, size=size, most=0, seed=0, ids=raw.ids)
    readable = set(other.ids)
    kept = [number for number, name in enumerate(raw.ids) if name in readable]
    ids, labels = [raw.ids[number] for number in kept], [raw.labels[number] for number in kept]
    return Sample(raw.images[torch.tensor(kept)], ids, labels, raw.rejected | other.rejected), other.images


def _refine_in_colour(synthetic: Path, raw: Sample, size: tuple[int, int], refiner: Refiner) -> Tensor:
    """Refine renders in RGB, a batch at a time to save memory, and return their luma, (N, 1, H, W)."""
    dataset, patches = open_dataset(synthetic, size=size), []
    for start in range(0, len(raw.ids), COLOUR_BATCH):
        names = raw.ids[start : start + COLOUR_BATCH]
        refined = refiner([resize(dataset.read_image(name), size) for name in names])
        patches += [eye_patch(image, size, equalize=False, name=name) for image, name in zip(refined, names)]
    return to_float(torch.from_numpy(np.stack(patches)))


def _utility(raw: Sample, images: Tensor, real: Tensor, settings: Settings, report: Report) -> list[Metric]:
    """Train estimators on raw and on refined renders, and measure their error and their disagreement."""
    gaze = column_values(raw.labels, "gaze")
    if gaze is None:
        raise WrongInputError(
            "the renders have no gaze labels to train estimators on; leave out --labelled and --estimators"
        )
    # Read the labelled real images first: training takes minutes.
    tested = None if settings.labelled is None else _labelled(settings.labelled, raw, settings)
    trained = train_estimators(
        raw.images, images, gaze, report=lambda done, total: report("training estimators", done, total)
    )
    metrics = [] if tested is None else [measure_error(trained, gaze, *tested)]
    return [*metrics, measure_disagreement(trained, real)]


def _labelled(path: Path, raw: Sample, settings: Settings) -> tuple[Tensor, Angles]:
    """Return the real images of a data set that have a gaze label, (M, 1, H, W), and their gaze, (M, 2)."""
    real = read_sample(path, size=(raw.images.shape[2], raw.images.shape[3]), most=settings.most, seed=settings.seed)
    known = [number for number, row in enumerate(real.labels) if "gaze" in row]
    if not known:
        raise WrongInputError(
            f"{path}: none of the {len(real.ids)} images has a gaze label; --labelled needs real images with gaze"
        )
    true = np.array([real.labels[number]["gaze"] for number in known], np.float64)
    return real.images[torch.tensor(known)], true
