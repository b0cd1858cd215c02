"""Refinement of a folder into a folder: list the images, give out tasks to workers, and record the outcomes."""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from refiner.core.errors import DataError, ImageError
from refiner.core.files import Stamp, check_apart, stamp
from refiner.core.parallel.executors import Engine
from refiner.core.parallel.shards import Shard
from refiner.data.formats.folder import list_files
from refiner.data.labels.drift_table import DRIFT_FILE, DriftLimit, LabelDrift, write_drift
from refiner.data.labels.regions import LabelRegion, source_labels
from refiner.data.labels.tables import REJECTED_FILE, LabelTable
from refiner.data.output.folder import OutputFolder, open_output
from refiner.images.io import IMAGE_SUFFIXES, is_image_file
from refiner.inference.folder_worker import FileRefinement, FileTask, Outcome
from refiner.inference.refiner import RefinerSource

SIDECAR_SUFFIXES = (".json", ".csv", ".txt", ".md", ".yaml", ".yml")
"""Suffixes of files that are copied with the images."""

OWN_TABLES = (REJECTED_FILE, DRIFT_FILE)
"""Tables that refining writes into the output folder; those of an earlier step are not copied."""

TASK_IMAGES = 128
"""Largest number of images in a task. A killed worker loses at most one task."""

TASK_BYTES = 2**20
"""Bytes of the image files at which a task ends, even with fewer images."""


def refine_folder(
    source: Path,
    destination: Path,
    refiner: RefinerSource,
    *,
    engine: Engine,
    overwrite: bool,
    stop_on_error: bool,
    quality: int,
    limit: DriftLimit,
    region: LabelRegion,
    shard: Shard | None,
    report: Callable[[int, int], None],
) -> tuple[int, int, int]:
    """Refine the images of a folder into another folder; see :func:`refiner.inference.refine.refine_path`.

    Returns:
        Numbers of refined, skipped and rejected images.

    Raises:
        DataError: the folder holds no images.
        ImageError: ``stop_on_error`` is True, and an image cannot be used.
        OutputError: a file cannot be written, or would be lost.
    """
    table = source_labels(source)
    region.check(source, () if table is None else table.names)
    job = json.dumps({"refiner": refiner.digest, "quality": quality, **region.job}, sort_keys=True)
    with contextlib.ExitStack() as stack:
        # Open the output folders.
        open_folder = partial(open_output, source, job=job, overwrite=overwrite, shard=shard)
        output = stack.enter_context(open_folder(destination))
        kept = None
        if limit.keep is not None:
            check_apart(destination, limit.keep)
            kept = stack.enter_context(open_folder(limit.keep))
        # Refine the images that are not finished.
        refinement = FileRefinement(refiner, source, destination, limit.keep, quality, limit, region)
        folder_job = _FolderJob(source, output, kept, limit, stop_on_error, report)

        def labels_of(names: Iterable[str]) -> LabelTable | None:
            return None if table is None else table.only(names, region.names)

        return folder_job.run(lambda tasks: engine.map(refinement, tasks), labels_of)


_LabelsOf = Callable[[Iterable[str]], LabelTable | None]  # the labels of some images, for measuring drift


class _FolderJob:
    """The state of a job: progress, outcomes, and the output folders."""

    def __init__(
        self,
        source: Path,
        output: OutputFolder,
        kept: OutputFolder | None,
        limit: DriftLimit,
        stop_on_error: bool,
        report: Callable[[int, int], None],
    ) -> None:
        self.source, self.output, self.kept, self.limit = source, output, kept, limit
        self.stop_on_error, self.report = stop_on_error, report
        self.refined: set[str] = set()
        self.done = self.total = 0

    def run(
        self, refine_tasks: Callable[[Iterable[FileTask]], Iterator[list[Outcome]]], labels_of: _LabelsOf
    ) -> tuple[int, int, int]:
        """Refine the images that are not finished, and write the tables."""
        # Copy the tables, and reject the files that are of no use.
        images, unusable = self._sort_files()
        todo = [(name, at) for name in images if not self._is_finished(name, at := stamp(self.source / name))]
        self.total, self.done = len(images) + len(unusable), len(images) - len(todo)
        for name, reason in unusable.items():
            self._reject(name, "read", reason)
        self.report(self.done, self.total)
        # Give out tasks, and record each outcome in the manifest as it comes back.
        for outcomes in refine_tasks(self._tasks(todo, labels_of)):
            for outcome in outcomes:
                self._record(outcome)
            self.report(self.done, self.total)
        # A shard leaves the table of drift to the run that merges all shards.
        if self.output.shard is None:
            self._write_drift(images)
        return len(self.refined), len(images) - len(todo), len(self.output.rejected)

    def _sort_files(self) -> tuple[list[str], dict[str, str]]:
        """List the images, copy the tables, and give a reason for each other file.

        A shard takes its share of the images and leaves everything else to the run that merges all shards.
        """
        # Find the images; tables of an earlier step are left out.
        names = [name for name in list_files(self.source) if name not in OWN_TABLES]
        images = [name for name in names if is_image_file(Path(name)) and name.split("/")[0] not in OWN_TABLES]
        if not images:
            raise DataError(f"{self.source} holds no images; expected {' '.join(IMAGE_SUFFIXES)} files, at any depth")
        if self.output.shard is not None:
            return list(filter(self.output.shard.takes_name, images)), {}
        # Copy the tables; every other file is of no use.
        sidecars = [name for name in names if Path(name).suffix.lower() in SIDECAR_SUFFIXES]
        unusable = {name: _why_unusable(self.source / name) for name in set(names) - set(images) - set(sidecars)}
        for name in sidecars:
            try:
                self.output.copy(self.source / name, name)
            except ImageError as error:
                unusable[name] = error.reason
        return images, dict(sorted(unusable.items()))

    def _tasks(self, todo: Sequence[tuple[str, Stamp]], labels_of: _LabelsOf) -> Iterator[FileTask]:
        """Divide the images into tasks, in order; each is claimed in the manifest when it is given out."""
        stamps: dict[str, Stamp] = {}
        size = 0
        for name, at in todo:
            stamps[name] = at
            size += at[0]
            if len(stamps) == TASK_IMAGES or size > TASK_BYTES:
                yield self._task(stamps, labels_of)
                stamps, size = {}, 0
        if stamps:
            yield self._task(stamps, labels_of)

    def _task(self, stamps: Mapping[str, Stamp], labels_of: _LabelsOf) -> FileTask:
        self.output.claim(*stamps)
        if self.kept is not None:
            self.kept.claim(*stamps)
        return FileTask(stamps, labels_of(stamps))

    def _is_finished(self, name: str, at: Stamp) -> bool:
        """Return whether an earlier run made the output, with a known drift within the limit."""
        if not self.output.is_finished(name, at):
            return False
        drift = _drift_of(self.output.notes.get(name))
        return drift is not None and not self.limit.rejects(drift)

    def _record(self, outcome: Outcome) -> None:
        """Record an outcome in the manifest or the table of rejected images."""
        if outcome.reason:
            if outcome.stage == "drift" and self.kept is not None:
                self.kept.finish(outcome.name, outcome.stamp)
            self._reject(outcome.name, outcome.stage, outcome.reason)
            return
        self.output.finish(outcome.name, outcome.stamp, None if outcome.drift is None else list(outcome.drift))
        self.refined.add(outcome.name)
        self.done += 1

    def _reject(self, name: str, stage: str, reason: str) -> None:
        self.output.reject(name, stage, reason)
        if self.stop_on_error:
            raise ImageError(self.source / name, f"{reason} (stopped by --on-error stop)")
        self.done += 1

    def _write_drift(self, images: Sequence[str]) -> None:
        """Write ``drift.csv`` for all images in the output, in the order of the input."""
        written = [name for name in images if name in self.refined or (self.output.root / name).is_file()]
        notes = {name: _drift_of(self.output.notes.get(name)) for name in written}
        self.output.claim(DRIFT_FILE)
        write_drift(self.output.root / DRIFT_FILE, {name: drift for name, drift in notes.items() if drift})


def _why_unusable(path: Path) -> str:
    """Return the reason why a file is neither refined nor copied."""
    if path.is_dir():
        return (
            "is a link to a folder, which is not followed" if path.is_symlink() else "is a folder that cannot be read"
        )
    for table in OWN_TABLES:
        if table in path.parts:
            return f"is in a folder named {table}, which is the name of a table that refining writes"
    return "is neither an image nor a table that is copied with images"


def _drift_of(notes: list[float | None] | None) -> LabelDrift | None:
    """Return the drift that the manifest holds for an image; None if it holds none."""
    if not isinstance(notes, list) or len(notes) != 4:
        return None
    x, y, degrees, score = notes
    return None if x is None or y is None or score is None else LabelDrift(x, y, degrees, score)
