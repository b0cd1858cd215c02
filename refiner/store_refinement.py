"""Store to store: the images refined, everything else carried over."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from refiner.formats import open_dataset
from refiner.formats.store import Store
from refiner.images import from_planes, to_planes
from refiner.outputs import stamp
from refiner.parts import Line, Parts, fingerprint, write_lines
from refiner.refinement import Refiner, batch_size
from refiner.store import ImageWriter, copy_store, hdf5_errors, join_images, new_file, write_attributes
from refiner.targets import open_store

PART = 1024
"""Images in a part: what a kill costs."""


def refine_store(
    refiner: Refiner,
    source: Path,
    destination: Path,
    *,
    digest: str,
    overwrite: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[int, int]:
    """Refine a store into a store; a killed one goes on from its finished parts.

    Args:
        refiner: the refiner.
        source, destination: the stores.
        digest: of the refiner's file, by which an earlier result is known.
        overwrite: refine everything again, and replace a store that is there.
        report: told how many of how many images are done.

    Returns:
        Images refined now, and images refined before.

    Raises:
        RefinerError: a store cannot be used.
    """
    store = open_dataset(source, format="store")
    assert isinstance(store, Store)
    count = len(store.images)
    job = fingerprint(digest, str(stamp(source)), str(count))
    facts = {"refined_from": str(source), "refiner": digest}
    with open_store(source, destination, attributes=facts, overwrite=overwrite) as target:
        if target.finished(job) is not None:
            report(count, count)
            return 0, count
        starts = range(0, count, PART)
        parts = Parts(target.parts_folder, job=job, count=len(starts))
        todo = parts.unfinished()
        before = done = count - sum(min(PART, count - starts[number]) for number in todo)
        report(done, count)
        for number in todo:
            with ImageWriter(parts.images_path(number)) as writer:
                for chosen in _batches(starts[number], min(starts[number] + PART, count), store):
                    for image in _refined(refiner, store, chosen):
                        writer.append(image)
                    done += len(chosen)
                    report(done, count)
            write_lines(parts.lines_path(number), [Line(str(number))])
        _join(store, target.path, parts, {**facts, "job": job, "summary": ""})
        parts.remove()
    return count - before, before


def _batches(start: int, end: int, store: Store) -> Sequence[range]:
    size = batch_size(store.kind.height, store.kind.width)
    return [range(first, min(first + size, end)) for first in range(start, end, size)]


def _refined(refiner: Refiner, store: Store, chosen: range) -> list[Any]:
    images = [store.image(number) for number in chosen]
    planes = refiner.refine_planes([to_planes(image, refiner.channels) for image in images])
    return [from_planes(plane, image) for plane, image in zip(planes, images, strict=True)]


def _join(store: Store, path: Path, parts: Parts, attributes: dict[str, str]) -> None:
    temporary = parts.folder / "store.h5"
    with hdf5_errors(path):
        with new_file(temporary) as file:
            copy_store(store.file, file)
            join_images(file, store.kind, len(store.images), parts.images())
            write_attributes(file, attributes)
        temporary.replace(path)
