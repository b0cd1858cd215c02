"""Folder to folder: what is to do, given out in tasks, and what became of it, kept in the manifest."""

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
from refiner.data.labels.drift import DRIFT_FILE, DriftLimit, LabelDrift, write_drift
from refiner.data.labels.regions import LabelRegion, source_labels
from refiner.data.labels.tables import REJECTED_FILE, LabelTable
from refiner.data.output.folder import OutputFolder, open_output
from refiner.images.io import IMAGE_SUFFIXES, is_image_file
from refiner.inference.folder_worker import FileRefinement, FileTask, Outcome
from refiner.inference.refiner import RefinerSource

SIDECAR_SUFFIXES = (".json", ".csv", ".txt", ".md", ".yaml", ".yml")
"""Files that are copied along with the images."""

OWN_TABLES = (REJECTED_FILE, DRIFT_FILE)
"""What refining itself writes beside the images; those of a step before are not copied."""

TASK_IMAGES, TASK_BYTES = 128, 2**20
"""Images in a task, and bytes of their files from which on there are fewer: what a kill costs on each worker."""


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
    """Refine the images of a folder into another; see :func:`refiner.inference.refine.refine_path`.

    Returns:
        How many images were refined, finished before, and rejected.
    """
    table = source_labels(source)
    region.check(source, () if table is None else table.names)
    job = json.dumps({"refiner": refiner.digest, "quality": quality, **region.job}, sort_keys=True)
    with contextlib.ExitStack() as stack:
        into = partial(open_output, source, job=job, overwrite=overwrite, shard=shard)
        output = stack.enter_context(into(destination))
        kept = None
        if limit.keep is not None:
            check_apart(destination, limit.keep)
            kept = stack.enter_context(into(limit.keep))
        work = FileRefinement(refiner, source, destination, limit.keep, quality, limit, region)
        folder = _Folder(source, output, kept, limit, stop_on_error, report)

        def labels(names: Iterable[str]) -> LabelTable | None:
            return None if table is None else table.only(names, region.names)

        return folder.refine(lambda tasks: engine.map(work, tasks), labels)


_LabelsOf = Callable[[Iterable[str]], LabelTable | None]
"""Gives the labels of some images that drift is read from."""


class _Folder:
    """A folder that is being refined."""

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

    def refine(
        self, work: Callable[[Iterable[FileTask]], Iterator[list[Outcome]]], labels: _LabelsOf
    ) -> tuple[int, int, int]:
        """Do what is not finished, and write the tables."""
        images, others = self._sort_out()
        todo = [(name, at) for name in images if not self._is_finished(name, at := stamp(self.source / name))]
        self.total, self.done = len(images) + len(others), len(images) - len(todo)
        for name, reason in others.items():
            self._reject(name, "read", reason)
        self.report(self.done, self.total)
        for outcomes in work(self._tasks(todo, labels)):
            for outcome in outcomes:
                self._record(outcome)
            self.report(self.done, self.total)
        if self.output.shard is None:
            self._write_drift(images)
        return len(self.refined), len(images) - len(todo), len(self.output.rejected)

    def _sort_out(self) -> tuple[list[str], dict[str, str]]:
        """Images, and what is of no use with the reason; the tables that go along with images are copied.

        A shard takes its share of the images, and leaves everything else to the run that gathers.
        """
        names = [name for name in list_files(self.source) if name not in OWN_TABLES]
        images = [name for name in names if is_image_file(Path(name)) and name.split("/")[0] not in OWN_TABLES]
        if not images:
            raise DataError(f"{self.source}: holds no images; expected {' '.join(IMAGE_SUFFIXES)}, at any depth")
        if self.output.shard is not None:
            return list(filter(self.output.shard.takes_name, images)), {}
        sidecars = [name for name in names if Path(name).suffix.lower() in SIDECAR_SUFFIXES]
        others = {name: _uselessness(self.source / name) for name in set(names) - set(images) - set(sidecars)}
        for name in sidecars:
            try:
                self.output.copy(self.source / name, name)
            except ImageError as error:
                others[name] = error.reason
        return images, dict(sorted(others.items()))

    def _tasks(self, todo: Sequence[tuple[str, Stamp]], labels: _LabelsOf) -> Iterator[FileTask]:
        """Images in order, claimed as they are given out."""
        stamps: dict[str, Stamp] = {}
        size = 0
        for name, at in todo:
            stamps[name] = at
            size += at[0]
            if len(stamps) == TASK_IMAGES or size > TASK_BYTES:
                yield self._task(stamps, labels)
                stamps, size = {}, 0
        if stamps:
            yield self._task(stamps, labels)

    def _task(self, stamps: Mapping[str, Stamp], labels: _LabelsOf) -> FileTask:
        self.output.claim(*stamps)
        if self.kept is not None:
            self.kept.claim(*stamps)
        return FileTask(stamps, labels(stamps))

    def _is_finished(self, name: str, at: Stamp) -> bool:
        """Whether an earlier run made the output, its drift is known, and passes."""
        if not self.output.is_finished(name, at):
            return False
        drift = _noted(self.output.notes.get(name))
        return drift is not None and not self.limit.rejects(drift)

    def _record(self, outcome: Outcome) -> None:
        """Take note of what became of an image."""
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
        """``drift.csv``: of all images that are there, in this run's order."""
        there = [name for name in images if name in self.refined or (self.output.root / name).is_file()]
        notes = {name: _noted(self.output.notes.get(name)) for name in there}
        self.output.claim(DRIFT_FILE)
        write_drift(self.output.root / DRIFT_FILE, {name: drift for name, drift in notes.items() if drift})


def _uselessness(path: Path) -> str:
    """Why a name in the folder is neither refined nor copied."""
    if path.is_dir():
        return (
            "is a link to a folder, which is not followed" if path.is_symlink() else "is a folder that cannot be read"
        )
    for table in OWN_TABLES:
        if table in path.parts:
            return f"lies in a folder {table}, which is the name of a table that refining writes"
    return "is neither an image nor a table that goes along with images"


def _noted(notes: list[float | None] | None) -> LabelDrift | None:
    """The drift in the manifest; None of an older one."""
    if not isinstance(notes, list) or len(notes) != 4:
        return None
    x, y, degrees, score = notes
    return None if x is None or y is None or score is None else LabelDrift(x, y, degrees, score)
