"""The task on which refined renders are tested: gaze, or a head for the labels that both sides share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from refiner.core.errors import WrongInputError
from refiner.data.folders.selection import EVERYTHING, Selection
from refiner.data.labels.angles import Angles
from refiner.data.labels.records import column_values
from refiner.evaluation.heads.choice import Task, find_shared, head_size
from refiner.evaluation.heads.compare import compare
from refiner.evaluation.heads.head import MIN_TESTED, Labelled, Shared
from refiner.evaluation.measurement import Metric
from refiner.evaluation.pairs.refined import Pairs, refined_pairs
from refiner.evaluation.samples import Sample, common_channels, read_sample
from refiner.evaluation.utility import measure_disagreement, measure_error, train_estimators
from refiner.images.arrays import luma
from refiner.metrics.clusters import Clusters
from refiner.models.files.lookup import is_refiner

Report = Callable[[str, int, int], None]
"""Progress callback: name of the stage, number of finished steps, number of all steps."""


@dataclass(frozen=True)
class TaskInputs:
    """Data sets of an evaluation, and the choices that a task depends on.

    Attributes:
        synthetic, refined, real, labelled: paths of the data sets; ``labelled`` is None without real labels.
        task: kind of labels.
        points: name of a label of points; None takes the first that fits.
        most, seed, selection, device: see :class:`refiner.evaluation.evaluate.Settings`.
        max_score: see :func:`refiner.evaluation.pairs.refined.refined_pairs`.
    """

    synthetic: Path
    refined: Path
    real: Path
    labelled: Path | None
    task: Task = "auto"
    points: str | None = None
    most: int = 4000
    seed: int = 0
    selection: Selection = EVERYTHING
    device: str = "auto"
    max_score: float = 1.0


class UtilityTask(Protocol):
    """A task that was read, with everything that it is trained and tested on."""

    def measure(self, real: Tensor, people: Sequence[str] | None, report: Report) -> tuple[list[Metric], list[str]]:
        """Train on raw and on refined renders, and test.

        Args:
            real: (M, C, H, W), real images without labels.
            people: person or day of each of them.
            report: called with the progress.

        Returns:
            The metrics, the one that the verdict looks up first, and sentences on what they hold for.
        """


@dataclass(frozen=True)
class GazeTask:
    """Gaze, which estimators learn from grey images.

    Attributes:
        synthetic, refined: (N, 1, H, W), the pairs.
        gaze: (N, 2), gaze of the renders, in radians.
        tested: real images (M, 1, H, W) with their gaze (M, 2) and people; None without real labels.
    """

    synthetic: Tensor
    refined: Tensor
    gaze: Angles
    tested: tuple[Tensor, Angles, Clusters] | None

    def measure(self, real: Tensor, people: Sequence[str] | None, report: Report) -> tuple[list[Metric], list[str]]:
        """Measure the error of gaze estimators and their disagreement; see :class:`UtilityTask`."""
        trained = train_estimators(
            self.synthetic,
            self.refined,
            self.gaze,
            report=lambda done, total: report("training estimators", done, total),
        )
        metrics, notes = [], []
        if self.tested is not None:
            labelled, true, clusters = self.tested
            metrics.append(measure_error(trained, self.gaze, labelled, true, clusters.names))
            if clusters.scope is not None:
                notes.append(f"The interval of the gaze error is over seeds and {clusters}.")
        return [*metrics, measure_disagreement(trained, luma(real), people)], notes


@dataclass(frozen=True)
class HeadTask:
    """Labels that a head learns.

    Attributes:
        shared: the labels that both sides share.
        synthetic, refined: (N, C, H, W), the pairs whose labels are known, at the size that the head sees.
        real: (M, C, H, W), real images with labels.
        clusters: people of the real images.
    """

    shared: Shared
    synthetic: Tensor
    refined: Tensor
    real: Tensor
    clusters: Clusters

    def measure(self, real: Tensor, people: Sequence[str] | None, report: Report) -> tuple[list[Metric], list[str]]:
        """Measure the errors of the head; see :class:`UtilityTask`."""
        metrics, notes = compare(
            self.shared,
            self.synthetic,
            self.refined,
            self.real,
            self.clusters.names,
            report=lambda done, total: report(f"training on {self.shared.task}", done, total),
        )
        about = (
            f"Downstream utility is tested on the {self.shared.about}, with {len(self.synthetic):,} renders and "
            f"{len(self.real):,} real images."
        )
        scope = [] if self.clusters.scope is None else [f"Its intervals are over seeds and {self.clusters}."]
        return metrics, [about, *self.shared.notes, *scope, *notes]


def read_task(inputs: TaskInputs, pairs: Pairs) -> UtilityTask:
    """Read what a task is trained and tested on, before measurements that take minutes.

    Args:
        inputs: the data sets and choices.
        pairs: the pairs that are measured.

    Raises:
        WrongInputError: the renders and the real images share no labels that suit, or too few.
    """
    raw, gaze = pairs.raw, column_values(pairs.raw.labels, "gaze")
    if inputs.labelled is None:
        if gaze is None or inputs.task not in ("auto", "gaze"):
            raise WrongInputError(
                "the renders have no gaze labels to train estimators on; leave out --estimators, or give labelled real "
                "images with --labelled"
            )
        return GazeTask(raw.grey, luma(pairs.images), gaze, None)
    # Read the labelled images as a head sees them, and find the labels that both sides share.
    size = raw.originals[0].size
    work, channels = head_size(raw.size), raw.images.shape[1]
    channels = min(channels, common_channels([inputs.labelled], inputs.selection)) if channels > 1 else channels
    real = _read(inputs, inputs.labelled, work, channels)
    reason = _why_no_gaze(gaze, real)
    if reason is None and inputs.task in ("auto", "gaze"):
        return _gaze_task(inputs, pairs, gaze, real)
    pairs = _at_head_size(inputs, pairs, work)
    shared = find_shared(
        Labelled(str(inputs.synthetic), pairs.raw.originals, pairs.raw.info),
        pairs.originals,
        Labelled(str(inputs.labelled), real.originals, real.info),
        task=inputs.task,
        size=size,
        points=inputs.points,
        reasons=[f"gaze: {reason}"] if inputs.task in ("auto", "gaze") else [],
    )
    synthetic, refined = (images if channels > 1 else luma(images) for images in (pairs.raw.images, pairs.images))
    chosen = torch.tensor(list(shared.pairs))
    part = real.only(list(shared.tested))
    return HeadTask(shared, synthetic[chosen], refined[chosen], part.images, part.clusters())


def _why_no_gaze(gaze: Angles | None, real: Sample) -> str | None:
    """Return why gaze cannot be the task; None if it can."""
    if gaze is None:
        return "not every render has a gaze label"
    known = sum("gaze" in row for row in real.labels)
    if known < MIN_TESTED:
        return f"{known or 'none'} of the {len(real.ids)} images has a gaze label, but {MIN_TESTED} are needed"
    return None


def _gaze_task(inputs: TaskInputs, pairs: Pairs, gaze: Angles | None, real: Sample) -> GazeTask:
    assert gaze is not None
    assert inputs.labelled is not None
    if (real.size, real.images.shape[1]) != (pairs.raw.size, 1):
        real = _read(inputs, inputs.labelled, pairs.raw.size, 1)
    real = real.only([number for number, row in enumerate(real.labels) if "gaze" in row])
    true = np.array([row["gaze"] for row in real.labels], np.float64)
    # The people are found in the labels of this data set; --group names a label of the other one.
    return GazeTask(pairs.raw.grey, luma(pairs.images), gaze, (real.images, true, real.clusters()))


def _read(inputs: TaskInputs, path: Path, size: tuple[int, int], channels: int) -> Sample:
    return read_sample(
        path,
        size=size,
        most=inputs.most,
        seed=inputs.seed,
        channels=channels,
        selection=inputs.selection,
        masks="objects",
    )


def _at_head_size(inputs: TaskInputs, pairs: Pairs, work: tuple[int, int]) -> Pairs:
    """Return pairs at the size that a head sees; of large images, more than those that are measured if possible."""
    if work == pairs.raw.size:
        return pairs
    if is_refiner(inputs.refined):  # to refine more images would take long
        smaller = [functional.interpolate(images, work, mode="area") for images in (pairs.raw.images, pairs.images)]
        return pairs._replace(raw=_with_images(pairs.raw, smaller[0]), images=smaller[1])
    raw = _read(inputs, inputs.synthetic, work, pairs.raw.images.shape[1])
    return refined_pairs(
        inputs.synthetic,
        raw,
        inputs.refined,
        inputs.real,
        points=(),
        max_score=inputs.max_score,
        device=inputs.device,
        masks="objects",
        selection=inputs.selection,
    )


def _with_images(sample: Sample, images: Tensor) -> Sample:
    return replace(sample, images=images)
