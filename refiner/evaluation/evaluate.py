"""``refiner evaluate``: compare renders, refined images and real images; return metrics and a verdict."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from torch import Tensor

from refiner.core.errors import DataError, ImageError
from refiner.data.drift.regions import ANYTHING, LabelRegion
from refiner.data.drift.table import LabelDrift
from refiner.data.folders.selection import EVERYTHING, Selection
from refiner.data.labels.objects import OBJECTS
from refiner.data.labels.records import Labels
from refiner.evaluation.drift import drift_labels, measure_kept_drift, without_dropped
from refiner.evaluation.features import load_features
from refiner.evaluation.heads.choice import Task
from refiner.evaluation.label_preservation import measure_preservation
from refiner.evaluation.measurement import Metric
from refiner.evaluation.pairs.arguments import check_apart_from_real, suspicion
from refiner.evaluation.pairs.missing import Missing
from refiner.evaluation.pairs.refined import Pairs, refined_pairs
from refiner.evaluation.realism import measure_realism, reference_note
from refiner.evaluation.samples import Masks, Sample, common_channels, read_sample
from refiner.evaluation.tasks import TaskInputs, read_task
from refiner.evaluation.verdict import MAX_DRIFT, Verdict, reach_verdict
from refiner.metrics.clusters import Clusters

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
        synthetic, refined: (N, C, H, W), in [-1, 1], the evaluated pairs in the order of ``drifts``; C is 3 if renders
            and real images have colours, else 1.
        real: (M, C, H, W), in [-1, 1], the evaluated real images.
        missing: renders without a refined image.
        notes: full sentences on what the metrics do not cover.
        real_ids: ids of the M real images.
    """

    metrics: list[Metric]
    verdict: Verdict
    drifts: dict[str, LabelDrift]
    rejected: dict[str, str]
    synthetic: Tensor
    refined: Tensor
    real: Tensor
    missing: Missing = field(default_factory=Missing)
    notes: list[str] = field(default_factory=list)
    real_ids: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Settings:
    """Settings of an evaluation.

    Attributes:
        labelled: real images with labels, on which models trained on raw and on refined renders are tested.
        task: kind of labels that these models learn; ``auto`` takes the first that renders and real images share.
        estimators: train gaze estimators without ``labelled`` too, and compare them with one another.
        group: label of the real images whose values are kept together; None takes subject, else day.
        most: largest number of images drawn from each data set.
        region: region where label drift is measured.
        seed: seed of all random choices.
        device: device that the refiner runs on.
        selection: the files to use of each data set that is a folder.
    """

    labelled: Path | None = None
    task: Task = "auto"
    estimators: bool = False
    group: str | None = None
    most: int = 4000
    region: LabelRegion = ANYTHING
    seed: int = 0
    device: str = "auto"
    selection: Selection = EVERYTHING

    @property
    def is_tested(self) -> bool:
        """True if models are trained on raw and on refined renders."""
        return self.labelled is not None or self.estimators

    @property
    def masks(self) -> Masks:
        """Use of the masks beside the renders: labels to learn, or those on which drift is measured."""
        if self.labelled is not None:
            return "objects"
        return "drift" if self.region.mask is None and OBJECTS in self.region.names else "left"


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
            pretrained one). Renders without a refined image are left out and counted.
        real: data set of real images; of its labels, only the group is used.
        settings: all other settings.
        report: called with the progress.

    Returns:
        The metrics, the verdict, and the images that they were measured on.

    Raises:
        UsageError: two of the data sets are swapped, or are the same.
        DataError: a data set cannot be used, or is too small; or the labels of a pair differ.
    """
    read = _read(synthetic, refined, real, settings)
    pairs, raw, real_sample = read.pairs, read.pairs.raw, read.real
    task = read_task(_task_inputs(synthetic, refined, real, settings), pairs) if settings.is_tested else None

    # Measure realism and label preservation.
    report("measuring", 0, 3)
    metrics, drifts = _measure(read, settings, lambda done: report("measuring", done, 3))
    notes = [*pairs.sentences(), *reference_note(metrics, read.groups.names), *_scope(read)]
    notes += _size_notes(raw, settings.most)

    # Train a model on raw and on refined renders, if that is asked for.
    if task is not None:
        found, scope = task.measure(real_sample.images, read.groups.names, report)
        metrics, notes = [*metrics, *found], [*notes, *scope]

    # Weigh everything.
    change = 127.5 * float((pairs.images - raw.images).abs().mean())
    doubtful = pairs.missing.doubtful / max(1, pairs.missing.renders)
    verdict = reach_verdict(metrics, drifts, change=change, rejected=doubtful, dropped=pairs.dropped_share)
    report("measuring", 3, 3)
    if (swapped := suspicion(raw, real_sample)) is not None:
        notes.insert(0, swapped)
    rejected = {str(synthetic / name): reason for name, reason in raw.rejected.items()}
    rejected |= {str(real / name): reason for name, reason in real_sample.rejected.items()}
    return Evaluation(
        metrics,
        verdict,
        dict(zip(raw.ids, drifts, strict=True)),
        rejected,
        raw.images,
        pairs.images,
        real_sample.images,
        missing=pairs.missing,
        notes=notes,
        real_ids=real_sample.ids,
    )


@dataclass(frozen=True)
class _Read:
    """Everything that is measured.

    Attributes:
        pairs: renders and refined images.
        watched: the labels that must not move in each pair.
        region: region where label drift is measured.
        real: the real images.
        groups: people or days of the real images, or what ``--group`` names.
    """

    pairs: Pairs
    watched: list[Labels]
    region: LabelRegion
    real: Sample
    groups: Clusters


def _read(synthetic: Path, refined: Path, real: Path, settings: Settings) -> _Read:
    """Read the renders, refine them or read their refined images, and read the real images; see :func:`evaluate`."""
    region, selection = settings.region, settings.selection
    channels = common_channels((synthetic, real), selection)
    draw = partial(
        read_sample, most=settings.most, seed=settings.seed, channels=channels, points=region.names, selection=selection
    )
    pairs = refined_pairs(
        synthetic,
        draw(synthetic, size=None, masks=settings.masks),
        refined,
        real,
        points=region.names,
        max_score=MAX_DRIFT,
        device=settings.device,
        masks=settings.masks,
        selection=selection,
    )
    raw, rows = pairs.raw, drift_labels(pairs.raw)
    labels = sorted({name for row in rows for name in row})
    region = region.check(synthetic, labels, lambda name: (row[name] for row in rows if name in row))
    region.check_masks(synthetic, raw.ids)
    try:
        watched = [region.watched(name, row, raw.size) for name, row in zip(raw.ids, rows, strict=True)]
    except ImageError as error:
        raise DataError(f"{error}; give every render a mask") from error
    real_sample = draw(real, size=raw.size, points=())
    check_apart_from_real(synthetic, raw, real, real_sample)
    groups = real_sample.clusters(settings.group, of_people=raw.shows_people or real_sample.shows_people)
    return _Read(pairs, watched, region, real_sample, groups)


def _measure(read: _Read, settings: Settings, report: Callable[[int], None]) -> tuple[list[Metric], list[LabelDrift]]:
    """Return the metrics of realism and label preservation, and the label drift of each pair.

    Args:
        read: what is measured.
        settings: all settings.
        report: called with the number of finished stages.
    """
    pairs, raw, real, seed = read.pairs, read.pairs.raw, read.real, settings.seed
    features, estimate = load_features(raw, real, region=read.region, seed=seed)
    metrics = measure_realism(
        raw.images, pairs.images, real.images, features=features, groups=read.groups.names, seed=seed
    )
    report(1)
    drifts = measure_kept_drift(raw.images.numpy(), pairs.images.numpy(), read.watched, pairs.dropped)
    metrics += measure_preservation(
        raw.images,
        pairs.images,
        without_dropped(read.watched, pairs.dropped),
        estimate=estimate,
        seed=seed,
        clusters=raw.clusters().names,
        drifts=drifts,
    )
    report(2)
    return metrics, drifts


def _scope(read: _Read) -> list[str]:
    """Return what the intervals of the realism metrics hold for, as a list of sentences."""
    groups = read.groups
    if groups.scope is None:
        return []
    kinds = "people or days" if read.pairs.raw.shows_people or read.real.shows_people else "groups, such as places"
    missing = "" if groups.names is not None else f" The real images name no {kinds}; see --group."
    return [f"The intervals of the comparison with real images are over {groups}.{missing}"]


def _size_notes(raw: Sample, most: int) -> list[str]:
    """Return sentences on what was left out of large images, so that they fit into memory."""
    notes = []
    if (size := raw.originals[0].size) != raw.size and size[0] * size[1] > raw.size[0] * raw.size[1]:
        height, width = raw.size
        notes.append(f"The images are compared at {height}x{width} instead of {size[0]}x{size[1]}, to save memory.")
    if raw.drawn[0] < min(most, raw.drawn[1]):
        notes.append(
            f"{raw.drawn[0]:,} of {raw.drawn[1]:,} renders were drawn, and as many real images at most: more need "
            f"too much memory at {raw.size[0]}x{raw.size[1]}."
        )
    return notes


def _task_inputs(synthetic: Path, refined: Path, real: Path, settings: Settings) -> TaskInputs:
    return TaskInputs(
        synthetic,
        refined,
        real,
        settings.labelled,
        settings.task,
        settings.region.points,
        settings.most,
        settings.seed,
        settings.selection,
        settings.device,
        MAX_DRIFT,
    )
