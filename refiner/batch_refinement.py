"""Folder to folder, store to store, image to image: batches through a refiner.

What comes in goes out: the same name, size, depth, channels and file type. Reading, computing and writing overlap.
"""

import contextlib
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refiner.backend_choice import AUTO, backend_for
from refiner.errors import DataError, ImageError, OutputError
from refiner.formats.folder import list_files
from refiner.image_files import (
    IMAGE_SUFFIXES,
    LOSSLESS,
    Image,
    is_image_file,
    is_lossless_webp,
    read_image,
    write_image,
)
from refiner.images import from_planes, to_planes
from refiner.label_drift import (
    DRIFT_FILE,
    NO_LIMIT,
    DriftLimit,
    LabelDrift,
    measure_label_drift,
    write_drift,
)
from refiner.label_regions import ANYTHING, LabelRegion, labels_of, source_labels
from refiner.outputs import OutputFolder, check_apart, open_output, stamp
from refiner.records import REJECTED_FILE, Labels, LabelTable
from refiner.refinement import Refiner
from refiner.refiner_files import find_refiner, load_refiner
from refiner.store import is_store_name
from refiner.store_refinement import refine_store

SIDECAR_SUFFIXES = (".json", ".csv", ".txt", ".md", ".yaml", ".yml")
"""Files that are copied along with the images."""

OWN_TABLES = (REJECTED_FILE, DRIFT_FILE)
"""What refining itself writes beside the images; those of a step before are not copied."""

_AHEAD = 64  # images read ahead of the network, and written behind it
_WAITING = 256  # images that wait for others of their size to fill a batch


class Summary(NamedTuple):
    """What a batch did: counts of images."""

    refined: int
    skipped: int
    rejected: int


class _Job(NamedTuple):
    """One image on its way through the network."""

    name: str
    stamp: tuple[int, int]
    image: Image
    watched: Labels
    drift: LabelDrift | None = None


def refine_path(
    source: Path,
    destination: Path,
    refiner: Path,
    *,
    device: str = "auto",
    backend: str = AUTO,
    overwrite: bool = False,
    stop_on_error: bool = False,
    quality: int = 95,
    limit: DriftLimit = NO_LIMIT,
    region: LabelRegion = ANYTHING,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Refine a folder into a folder, a store into a store, or an image into an image.

    Args:
        source: a folder, searched recursively, a store, or one image.
        destination: the folder, the store, or the image, to write.
        refiner: a refiner file or a run folder.
        device: ``auto``, ``cpu`` or ``cuda``.
        backend: what computes, see :mod:`refiner.backends`; ``auto`` tries which is fastest where the job is large.
        overwrite: refine everything again, and replace files that are there.
        stop_on_error: raise at the first image that cannot be used, instead of rejecting it.
        quality: of JPEG and WebP files.
        limit: on the drift of labels.
        region: where drift is read.
        report: told how many of how many images are dealt with.

    Returns:
        How many images were refined, skipped (finished before) and rejected.

    Raises:
        RefinerError: the source, the refiner or the destination cannot be used.
    """
    network, metadata = load_refiner(refiner)
    if backend == AUTO:
        backend = backend_for(source, network, device=device)
    loaded = Refiner(network, metadata, device=device, backend=backend)
    # Results differ by rounding, so those of another backend or device are others.
    digest = refiner_digest(refiner) + ("" if backend == "torch" else f" by {backend}")
    digest += "" if loaded.device == "cpu" else f" on {loaded.device}"
    if is_store_name(source) or (is_store_name(destination) and not source.is_file()):
        return _refine_store(loaded, source, destination, digest, overwrite, limit, region, report)
    if source.is_dir():
        job = json.dumps({"refiner": digest, "quality": quality, **region.job}, sort_keys=True)
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(open_output(source, destination, job=job, overwrite=overwrite))
            kept = None
            if limit.keep is not None:
                check_apart(destination, limit.keep)
                kept = stack.enter_context(open_output(source, limit.keep, job=job, overwrite=overwrite))
            return _FolderRefinement(loaded, source, output, kept, quality, stop_on_error, limit, region, report).run()
    if not source.exists():
        raise DataError(f"{source}: does not exist; name a folder or an image")
    region.check(source, ())
    if destination.is_dir():
        destination = destination / source.name
    if destination.exists() and not overwrite:
        raise OutputError(f"{destination}: is there already; choose another name, or replace it with --overwrite")
    image = read_image(source)
    refined = loaded(image)
    before, after = (to_planes(picture, loaded.channels)[None] for picture in (image, refined))
    (drift,) = measure_label_drift(before, after, [region.watched(source.name, {}, image.shape[:2])])
    if limit.rejects(drift):
        raise ImageError(source, f"{limit.reason(drift)}; nothing is written")
    write_image(destination, refined, quality=LOSSLESS if is_lossless_webp(source) else quality)
    return Summary(1, 0, 0)


def _refine_store(
    refiner: Refiner,
    source: Path,
    destination: Path,
    digest: str,
    overwrite: bool,
    limit: DriftLimit,
    region: LabelRegion,
    report: Callable[[int, int], None],
) -> Summary:
    if source.is_dir() or not is_store_name(destination):
        raise OutputError(
            f"{destination}: a folder is refined into a folder and a store into a store; convert one of them first: "
            "refiner convert IN OUT.h5"
        )
    options: dict[str, Any] = {"overwrite": overwrite, "limit": limit, "region": region, "report": report}
    return Summary(*refine_store(refiner, source, destination, digest=digest, **options))


def refiner_digest(path: Path) -> str:
    """SHA-256 of a refiner file, by which a manifest knows it."""
    return hashlib.sha256(find_refiner(path).read_bytes()).hexdigest()


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


class _FolderRefinement:
    """One pass over a folder: read ahead, refine by size, write behind."""

    def __init__(
        self,
        refiner: Refiner,
        source: Path,
        output: OutputFolder,
        kept: OutputFolder | None,
        quality: int,
        stop_on_error: bool,
        limit: DriftLimit,
        region: LabelRegion,
        report: Callable[[int, int], None],
    ) -> None:
        self.limit, self.region, self.labels = limit, region, source_labels(source)
        region.check(source, self.labels.names if isinstance(self.labels, LabelTable) else ())
        self.kept = kept  # where rejected images go
        self.refiner, self.source, self.output, self.quality = refiner, source, output, quality
        self.stop_on_error, self.report = stop_on_error, report
        self.refined = self.done = self.total = 0
        self.waiting: dict[tuple[int, ...], list[_Job]] = {}
        self.writing: deque[tuple[_Job, Future[None]]] = deque()

    def run(self) -> Summary:
        images, others = self._sort_out()
        summary = self._refine_all(images, others)
        self._write_drift(images)
        return summary

    def _refine_all(self, images: Sequence[str], others: Mapping[str, str]) -> Summary:
        todo = [name for name in images if not self._is_finished(name)]
        self.total, self.done = len(images) + len(others), len(images) - len(todo)
        for name, reason in others.items():
            self._reject(name, "read", reason)
        with ThreadPoolExecutor(2) as readers, ThreadPoolExecutor(2) as self.writers:
            for job in self._read(todo, readers):
                bucket = self.waiting.setdefault(job.image.shape[:2], [])
                bucket.append(job)
                if len(bucket) == self.refiner.batch_size(*job.image.shape[:2]):
                    self._refine(self.waiting.pop(job.image.shape[:2]))
                if sum(map(len, self.waiting.values())) > _WAITING:  # a folder of many sizes must not fill memory
                    self._refine(self.waiting.pop(max(self.waiting, key=lambda size: len(self.waiting[size]))))
            for bucket in self.waiting.values():
                self._refine(bucket)
            self._collect(0)
        return Summary(self.refined, len(images) - len(todo), len(self.output.rejected))

    def _sort_out(self) -> tuple[list[str], dict[str, str]]:
        """Images, and what is of no use with the reason; the tables that go along with images are copied."""
        names = [name for name in list_files(self.source) if name not in OWN_TABLES]
        images = [name for name in names if is_image_file(Path(name)) and name.split("/")[0] not in OWN_TABLES]
        sidecars = [name for name in names if Path(name).suffix.lower() in SIDECAR_SUFFIXES]
        if not images:
            raise DataError(f"{self.source}: holds no images; expected {' '.join(IMAGE_SUFFIXES)}, at any depth")
        others = {name: _uselessness(self.source / name) for name in set(names) - set(images) - set(sidecars)}
        for name in sidecars:
            try:
                self.output.copy(self.source / name, name)
            except ImageError as error:
                others[name] = error.reason
        return images, dict(sorted(others.items()))

    def _read(self, names: Sequence[str], readers: ThreadPoolExecutor) -> Iterator[_Job]:
        """Images in order, read a bounded number ahead; what cannot be read is rejected."""
        pending: deque[tuple[str, tuple[int, int], Future[tuple[Image, Labels]]]] = deque()
        for name in [*names, None]:
            if name is not None:
                self.output.claim(name)
                pending.append((name, stamp(self.source / name), readers.submit(self._load, name)))
            while pending and (name is None or len(pending) > _AHEAD):
                oldest, when, future = pending.popleft()
                try:
                    yield _Job(oldest, when, *future.result())
                except ImageError as error:
                    self._reject(oldest, "read", error.reason)

    def _load(self, name: str) -> tuple[Image, Labels]:
        """An image, and what must stay in it."""
        image = read_image(self.source / name)
        return image, self.region.watched(name, labels_of(self.labels, name), image.shape[:2])

    def _refine(self, jobs: Sequence[_Job]) -> None:
        planes = [to_planes(job.image, self.refiner.channels) for job in jobs]
        try:
            batch = self.refiner.refine_planes(planes)
        except (RuntimeError, MemoryError) as error:  # memory: one large image must not stop the others
            for job in jobs:
                self._reject(job.name, "refine", f"the network failed on it ({str(error)[:100]})")
            return
        drifts = measure_label_drift(planes, batch, [job.watched for job in jobs])
        for job, drift, refined in zip(jobs, drifts, batch, strict=True):
            drifted = job._replace(drift=drift)
            if self.kept is not None and self.limit.rejects(drift):
                self.kept.claim(job.name)
            self.writing.append((drifted, self.writers.submit(self._write, drifted, refined)))
        self._collect(_AHEAD)

    def _write(self, job: _Job, refined: np.ndarray[Any, Any]) -> None:
        output = self.kept if self._is_doubtful(job.drift) else self.output
        if output is not None:
            quality = LOSSLESS if is_lossless_webp(self.source / job.name) else self.quality
            write_image(output.root / job.name, from_planes(refined, job.image), quality=quality)

    def _is_doubtful(self, drift: LabelDrift | None) -> bool:
        return drift is not None and self.limit.rejects(drift)

    def _is_finished(self, name: str) -> bool:
        """Whether an earlier run made the output, its drift is known, and passes."""
        if not self.output.is_finished(name, stamp(self.source / name)):
            return False
        drift = _noted(self.output.notes.get(name))
        return drift is not None and not self._is_doubtful(drift)

    def _write_drift(self, images: Sequence[str]) -> None:
        """``drift.csv``: of all images that are there, in this run's order."""
        notes = {name: _noted(self.output.notes.get(name)) for name in images if (self.output.root / name).is_file()}
        self.output.claim(DRIFT_FILE)
        write_drift(self.output.root / DRIFT_FILE, {name: drift for name, drift in notes.items() if drift})

    def _collect(self, left: int) -> None:
        """Take note of finished writes until at most ``left`` are under way."""
        while len(self.writing) > left:
            job, future = self.writing.popleft()
            try:
                future.result()
            except ImageError as error:
                self._reject(job.name, "write", error.reason)
                continue
            if job.drift is not None and self.limit.rejects(job.drift):
                if self.kept is not None:
                    self.kept.finish(job.name, job.stamp)
                self._reject(job.name, "drift", self.limit.reason(job.drift))
                continue
            self.output.finish(job.name, job.stamp, None if job.drift is None else list(job.drift))
            self.refined += 1
            self._advance()

    def _reject(self, name: str, stage: str, reason: str) -> None:
        self.output.reject(name, stage, reason)
        if self.stop_on_error:
            raise ImageError(self.source / name, f"{reason} (stopped by --on-error stop)")
        self._advance()

    def _advance(self) -> None:
        self.done += 1
        self.report(self.done, self.total)
