"""Store to store: the images refined, everything else carried over, and how far labels may have moved beside it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from refiner.errors import OutputError
from refiner.files import remove_file
from refiner.formats import open_dataset
from refiner.formats.store import Store
from refiner.images import from_planes, to_planes
from refiner.label_drift import NO_LIMIT, DriftLimit, LabelDrift, drift_columns, measure_label_drift
from refiner.label_regions import ANYTHING, LabelRegion
from refiner.outputs import check_apart, stamp
from refiner.parts import Line, Parts, fingerprint, write_lines
from refiner.records import Labels, write_rejected
from refiner.refinement import Refiner
from refiner.store import ImageWriter, copy_store, hdf5_errors, join_images, new_file, write_attributes, write_numbers
from refiner.targets import StoreTarget, open_store

PART = 1024
"""Images in a part: what a kill costs."""


def refine_store(
    refiner: Refiner,
    source: Path,
    destination: Path,
    *,
    digest: str,
    overwrite: bool = False,
    limit: DriftLimit = NO_LIMIT,
    region: LabelRegion = ANYTHING,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[int, int, int]:
    """Refine a store into a store; a killed one goes on from its finished parts.

    Args:
        refiner: the refiner.
        source, destination: the stores.
        digest: of the refiner's file, by which an earlier result is known.
        overwrite: refine everything again, and replace a store that is there.
        limit: on the drift of labels; images that do not pass are left out.
        region: where drift is read.
        report: told how many of how many images are done.

    Returns:
        Images refined now, images refined before, and how many of all were rejected.

    Raises:
        RefinerError: a store cannot be used.
    """
    store = open_dataset(source, format="store")
    assert isinstance(store, Store)
    region.check(source, store.label_names)
    count = len(store.images)
    job = fingerprint(
        digest, str(stamp(source)), str(count), str(limit.score), str(limit.keep), *map(str, region.job.items())
    )
    facts = {"refined_from": str(source), "refiner": digest}
    if limit.keep is not None:  # refused before hours of work, if anything but ours would be lost
        check_apart(destination, limit.keep)
        with open_store(source, limit.keep, attributes=facts, overwrite=overwrite) as kept:
            kept.finished(job)
    with open_store(source, destination, attributes=facts, overwrite=overwrite) as target:
        if (summary := target.finished(job)) is not None:
            report(count, count)
            return 0, count, int(summary or 0)
        starts, size = range(0, count, PART), refiner.batch_size(store.kind.height, store.kind.width)
        parts = Parts(target.parts_folder, job=job, count=len(starts))
        todo = parts.unfinished()
        before = done = count - sum(min(PART, count - starts[number]) for number in todo)
        report(done, count)
        for number in todo:
            with ImageWriter(parts.images_path(number)) as writer:
                lines: list[Line] = []
                for chosen in _batches(starts[number], min(starts[number] + PART, count), size):
                    images, drifts = _refined(refiner, store, chosen, region)
                    for image in images:
                        writer.append(image)
                    lines += [
                        Line(store.ids[at], cells=drift.to_line()) for at, drift in zip(chosen, drifts, strict=True)
                    ]
                    done += len(chosen)
                    report(done, count)
            write_lines(parts.lines_path(number), lines)
        rejected = _finish(store, target, parts, {**facts, "job": job}, limit)
        parts.remove()
    return count - before, before, rejected


def _batches(start: int, end: int, size: int) -> Sequence[range]:
    return [range(first, min(first + size, end)) for first in range(start, end, size)]


def _refined(refiner: Refiner, store: Store, chosen: range, region: LabelRegion) -> tuple[list[Any], list[LabelDrift]]:
    images = [store.image(number) for number in chosen]
    before = [to_planes(image, refiner.channels) for image in images]
    planes = refiner.refine_planes(before)
    labels = [{} for _ in chosen] if region.mask else _points(store, chosen, region.names)
    size = (store.kind.height, store.kind.width)
    watched = [region.watched(store.ids[at], row, size) for at, row in zip(chosen, labels, strict=True)]
    drifts = measure_label_drift(before, planes, watched)
    return [from_planes(plane, image) for plane, image in zip(planes, images, strict=True)], drifts


def _points(store: Store, chosen: range, names: Sequence[str]) -> list[Labels]:
    """The labelled points of some images, where the store has any; read at once, for HDF5 is slow row by row."""
    labels: list[Labels] = [{} for _ in chosen]
    for name in names:
        values = store.file["labels"][name] if name in store.label_names else None
        if isinstance(values, h5py.Dataset) and values.dtype.kind == "f" and len(values.shape) > 1:
            for row, points in zip(labels, values[chosen.start : chosen.stop], strict=False):
                row |= {name: points} if np.isfinite(points).any() else {}
    return labels


def _finish(store: Store, target: StoreTarget, parts: Parts, attributes: dict[str, str], limit: DriftLimit) -> int:
    """Join the parts, and list the rejects beside the store; gives their number."""
    drifts = {line.source: LabelDrift.from_line(line.cells) for line in parts.lines()}
    reasons = {name: limit.reason(drift) for name, drift in drifts.items() if limit.rejects(drift)}
    passing = np.array([name not in reasons for name in drifts])
    if not passing.any():
        raise OutputError(
            f"{target.path}: is not written, for no label of {len(drifts)} images passes; the first "
            f"{next(iter(reasons.values()))}"
        )
    if reasons:
        write_rejected(target.rejected_path, [(name, "drift", reason) for name, reason in reasons.items()])
        if limit.keep is not None:
            _join(store, limit.keep, parts, {**attributes, "summary": ""}, list(drifts.values()), ~passing)
    else:
        remove_file(target.rejected_path)
    summary = {"summary": str(len(reasons))}
    _join(store, target.path, parts, {**attributes, **summary}, list(drifts.values()), passing)
    return len(reasons)


def _join(
    store: Store, path: Path, parts: Parts, attributes: dict[str, str], drifts: Sequence[LabelDrift], chosen: Any
) -> None:
    """Write a store of the chosen images, a boolean array, last of all under its name."""
    temporary = parts.folder / "store.h5"
    numbers = np.flatnonzero(chosen).tolist()
    with hdf5_errors(path):
        with new_file(temporary) as file:
            copy_store(store.file, file, None if chosen.all() else chosen)
            join_images(file, store.kind, len(numbers), parts.images(), None if chosen.all() else chosen)
            for name, values in drift_columns([drifts[number] for number in numbers]).items():
                write_numbers(file, name, values)
            write_attributes(file, attributes)
        temporary.replace(path)
