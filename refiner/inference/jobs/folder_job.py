"""State of the refinement of a folder: give out tasks to workers, record the outcomes, and write the tables."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from refiner.core.errors import ImageError
from refiner.data.drift.objects import ObjectDrift
from refiner.data.drift.regions import LabelRegion
from refiner.data.drift.table import (
    DRIFT_FILE,
    DROPPED_FILE,
    DriftLimit,
    LabelDrift,
    UnknownObjects,
    tell_unknown,
    write_drift,
)
from refiner.data.folders.contents import FolderContents, without_suffix
from refiner.data.folders.labels import FolderLabels
from refiner.data.folders.left_out import LeftOut, left_out
from refiner.data.output.folder import OutputFolder
from refiner.inference.jobs.dropped_objects import ObjectDropper
from refiner.inference.jobs.folder_worker import FileTask, Outcome, image_stamp

log = logging.getLogger(__name__)

TASK_IMAGES = 128
"""Largest number of images in a task. A killed worker loses at most one task."""

TASK_BYTES = 2**20
"""Bytes of the image files at which a task ends, even with fewer images."""

_BLOCK = 256  # finished images whose labels are read at a time

_KEPT = "rejected_kept_in"  # the recorded fact that holds the folder for rejected images


class FolderJob:
    """The state of a job: progress, outcomes, and the output folders."""

    def __init__(
        self,
        source: Path,
        contents: FolderContents,
        labels: FolderLabels | None,
        region: LabelRegion,
        output: OutputFolder,
        kept: OutputFolder | None,
        limit: DriftLimit,
        dropper: ObjectDropper | None,
        stop_on_error: bool,
        report: Callable[[int, int], None],
    ) -> None:
        self.source, self.contents, self.labels, self.region = source, contents, labels, region
        self.output, self.kept, self.limit, self.dropper = output, kept, limit, dropper
        self.stop_on_error, self.report = stop_on_error, report
        self.refined: set[str] = set()
        self.drifted: set[str] = set()
        self.copied: dict[str, str | None] = {}  # files beside the images, each with its image
        self.annotations: dict[str, str | None] = {}  # files that may lose objects, each with its image
        self.orphaned: list[str] = []  # files beside rejected images
        self.done = self.total = 0

    def run(self, refine_tasks: Callable[[Iterable[FileTask]], Iterator[list[Outcome]]]) -> tuple[int, int, int]:
        """Refine the images that are not finished, and write the tables."""
        # Copy the files beside the images, and reject those that are of no use.
        images, unusable = self._sort_files()
        finished = self._finished(images)
        todo = [name for name in images if name not in finished]
        self.total, self.done = len(images) + len(unusable), len(images) - len(todo)
        for name, reason in unusable.items():
            self._reject(name, "read", reason)
        self.report(self.done, self.total)
        # Give out tasks, and record each outcome in the manifest as it comes back.
        for outcomes in refine_tasks(self._tasks(todo)):
            for outcome in outcomes:
                self._record(outcome)
            self.report(self.done, self.total)
        # A shard leaves the rest to the run that merges all shards.
        if self.output.shard is None:
            self._write_drift(images)
            self._write_annotations()
            self._move_orphaned()
            self._prune({*images, *self.copied}, [name for name in unusable if (self.source / name).is_dir()])
        return len(self.refined), len(images) - len(todo), len(self.output.rejected)

    def _sort_files(self) -> tuple[list[str], dict[str, str]]:
        """Copy the files beside the images; return the images, and a reason for each file of no use.

        A shard takes its share of the images and leaves everything else to the run that merges all shards.
        """
        images, contents = self.contents.images, self.contents
        if self.output.shard is not None:
            return list(filter(self.output.shard.takes_name, images)), {}
        unusable = {**contents.unsupported, **contents.others}
        for name, image in {**contents.label_images, **contents.companions}.items():
            if self.dropper is not None and name in self.dropper.files:
                self.annotations[name] = image  # written when all drift is known
                continue
            try:
                self.output.copy(self.source / name, name)
                self.copied[name] = image
            except ImageError as error:
                unusable[name] = error.reason
        return images, dict(sorted(unusable.items()))

    def _move_orphaned(self) -> None:
        """Take the files that belong to rejected images out of the output; those of kept images go where these are."""
        rejected = {name for name, _, _ in self.output.rejected}
        # An image of the same name with another suffix, such as 1.png for 1.jpg, keeps them.
        kept = {without_suffix(name) for name in self.contents.images if name not in rejected}
        gone = {name for name in rejected if without_suffix(name) not in kept}
        self.orphaned = [name for name, image in self.copied.items() if image in gone]
        for name in self.orphaned:
            image = self.copied.pop(name)
            if self.kept is not None and image in self.drifted:
                self.kept.copy(self.source / name, name)
                self.drifted.add(name)
        self.output.remove(*self.orphaned)

    def reports(self) -> Iterator[LeftOut]:
        """Yield reports about the files of rejected images, and about dropped objects."""
        if self.dropper is not None:
            yield from self.dropper.reports()
        yield from left_out(
            "files of rejected images",
            self.orphaned,
            "{count} file is left out with its rejected image",
            "{count} files are left out with their rejected images",
        )

    def _finished(self, images: Iterable[str]) -> set[str]:
        """Return the images whose output is up to date, with a known drift within the limit."""
        notes = self.output.manifest.notes
        made = [name for name in images if self.output.stamp_of(name) and self._passes(notes.get(name))]
        finished = set()
        # Read the labels of a block at a time: points that moved since make a drift out of date.
        for start in range(0, len(made), _BLOCK):
            block = made[start : start + _BLOCK]
            part = self._labels_of(block)
            labels = {} if part is None else part.sound_rows()
            for name in block:
                if self.output.stamp_of(name) == image_stamp(self.source, self.region, name, labels.get(name, {})):
                    finished.add(name)
        return finished

    def _passes(self, notes: list[float | None] | None) -> bool:
        drift = LabelDrift.from_notes(notes)
        return drift is not None and not self.limit.rejects(drift)

    def _tasks(self, todo: Sequence[str]) -> Iterator[FileTask]:
        """Divide the images into tasks, in order; each is claimed in the manifest when it is given out."""
        names: list[str] = []
        size = 0
        for name in todo:
            names.append(name)
            with contextlib.suppress(OSError):  # a missing file is rejected by the worker
                size += (self.source / name).stat().st_size
            if len(names) == TASK_IMAGES or size > TASK_BYTES:
                yield self._task(names)
                names, size = [], 0
        if names:
            yield self._task(names)

    def _task(self, names: Sequence[str]) -> FileTask:
        self.output.claim(*names)
        if self.kept is not None:
            self.kept.claim(*names)
        return FileTask(names, self._labels_of(names))

    def _labels_of(self, names: Iterable[str]) -> FolderLabels | None:
        """Return the labels of some images by which drift is measured."""
        return None if self.labels is None else self.labels.only(names, self.region.names)

    def _record(self, outcome: Outcome) -> None:
        """Record an outcome in the manifest or the table of rejected images."""
        if outcome.reason:
            if outcome.stage == "drift" and self.kept is not None:
                self.kept.finish(outcome.name, outcome.stamp)
                self.drifted.add(outcome.name)
            self._reject(outcome.name, outcome.stage, outcome.reason)
            return
        drift = outcome.drift
        objects = None if drift is None or not drift.objects else [each.to_row() for each in drift.objects]
        self.output.finish(outcome.name, outcome.stamp, None if drift is None else drift.notes(), objects)
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
        found = [(name, drift) for name in written if (drift := self._drift(name))]
        self.output.claim(DRIFT_FILE)
        # Read the objects of one image at a time: there may be many.
        objects = UnknownObjects()
        rows = objects.count(self._with_objects(found))
        if self.dropper is not None:
            rows = self.dropper.take(rows)
        has_objects = any(drift.background is not None for _, drift in found)
        write_drift(self.output.root / DRIFT_FILE, rows, objects=has_objects)
        tell_unknown([name for name, drift in found if not drift.known], len(written))
        objects.tell()

    def _with_objects(self, found: Sequence[tuple[str, LabelDrift]]) -> Iterator[tuple[str, LabelDrift]]:
        """Yield images with their drift and that of their objects, which the manifest holds."""
        details = self.output.manifest.details().read(name for name, _ in found)
        for (name, drift), (_, rows) in zip(found, details, strict=True):
            yield name, drift._replace(objects=tuple(map(ObjectDrift.from_row, rows)))

    def _write_annotations(self) -> None:
        """Write the annotation files without the objects that moved too far, and list these."""
        if self.dropper is None:
            return
        self.dropper.write(self.output, self.annotations)
        self.copied |= self.annotations
        if self.dropper.count:
            self.output.claim(DROPPED_FILE)
            self.copied[DROPPED_FILE] = None
            broken = [(name, drift) for name in self.dropper.images if (drift := self._drift(name))]
            self.dropper.write_list(self.output.root / DROPPED_FILE, self._with_objects(broken))

    def _drift(self, name: str) -> LabelDrift | None:
        return LabelDrift.from_notes(self.output.manifest.notes.get(name))

    def _prune(self, names: set[str], unread: Sequence[str]) -> None:
        """Delete outputs whose inputs are gone, and rejected images that an earlier run kept and this one did not.

        Args:
            names: names of the images and the copied files.
            unread: folders that cannot be read; the outputs of their images stay.
        """
        below = tuple(f"{folder}/" for folder in unread)
        stay = {name for name in self.output.manifest.written if name.startswith(below)} if below else set()
        _tell_removed(self.output, self.output.prune({*names, *stay, DRIFT_FILE}), "the inputs are gone")
        if self.kept is not None:
            _tell_removed(self.kept, self.kept.prune(self.drifted), "this run does not reject them")
        # Images may also stay where an earlier run kept those that it rejected.
        before = self.output.manifest.facts.get(_KEPT, "")
        now = "" if self.kept is None else str(self.kept.root.resolve())
        if before and before != now and Path(before).is_dir():
            log.warning("%s still holds images that an earlier run rejected; delete it if you do not need them", before)
        self.output.manifest.record(**{_KEPT: now})


def _tell_removed(folder: OutputFolder, names: Sequence[str], reason: str) -> None:
    if names:
        examples = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        log.warning("removed from %s, as %s: %d (%s)", folder.root, reason, len(names), examples)
