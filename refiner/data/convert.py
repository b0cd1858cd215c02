"""From any data set to a folder of patches or a store: in parts, on several processes, resumable."""

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from refiner.core.errors import DataError, ImageError
from refiner.core.files import stamp
from refiner.core.parallel.process_pool import map_in_order
from refiner.data.convert_summary import Summary, Tally
from refiner.data.formats.folder import list_files
from refiner.data.formats.registry import Dataset, open_dataset
from refiner.data.labels.records import Labels, Record
from refiner.data.output.chunks import ChunkFiles, Chunks, fingerprint, write_chunk
from refiner.data.output.destinations import Destination, open_folder, open_store
from refiner.data.splits import names_subjects, split_samples
from refiner.data.store.reader import Store
from refiner.data.store.store_names import is_store_name
from refiner.images.arrays import MAX_SQUEEZE, crop_centre, equalize, resize, to_grey
from refiner.images.io import Image

log = logging.getLogger(__name__)

CHUNK = 1024
"""Most samples in a part: what a kill costs on each worker."""

Report = Callable[[int, int], None]


class Conversion(NamedTuple):
    """What is done to each image.

    Attributes:
        size: (height, width) of the result; None keeps each image's own.
        crop: (height, width) that is cut out of the centre before resizing; None cuts nothing.
        grey: take the luma of colour.
        equalized: equalise the histogram of the luma, after resizing.
        whole: take the whole frame of layouts that are cut to the eye or the hand otherwise.
    """

    size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    grey: bool = False
    equalized: bool = False
    whole: bool = False

    def open(self, source: Path, format: str | None) -> Dataset:
        """The data set, cut as this conversion wants it."""
        return open_dataset(source, format=format, size=None if self.crop else self.size, crop=not self.whole)

    def squeezes(self, image: Image) -> bool:
        """Whether resizing changes the shape of what is shown by more than training would put up with."""
        if self.size is None:
            return False
        height, width = self.crop or image.shape[:2]
        return abs(math.log(height * self.size[1] / (width * self.size[0]))) > MAX_SQUEEZE

    def apply(self, record: Record) -> Record:
        """The record with its image converted and its pixel labels moved along.

        Raises:
            ImageError: the image is smaller than the crop, or has 16 bits and cannot be equalised.
        """
        image = to_grey(record.image) if self.grey else record.image
        labels = record.labels
        if self.crop:
            image, (top, left) = crop_centre(image, self.crop, record.id)
            labels = move_points(labels, shift=np.array([-left, -top], float))
        if self.size and image.shape[:2] != self.size:
            labels = move_points(labels, scale=np.array(self.size[::-1]) / np.array(image.shape[1::-1]))
            image = resize(image, self.size)
        if self.equalized:
            if image.dtype != np.uint8:
                raise ImageError(record.id, "has 16 bits; only 8-bit images are equalised")
            image = equalize(image)
        return Record(record.id, image, labels)


def move_points(labels: Labels, *, scale: Any = 1.0, shift: Any = 0.0) -> Labels:
    """Labels with every point of the image moved along: the pupil, and all arrays (K, 2) not in mm, rad or deg.

    Args:
        labels: of one image.
        scale, shift: numbers or (x, y); pixel centres stand at whole numbers, so half a pixel goes along.
    """

    def moved(name: str, value: Any) -> Any:
        points = name == "pupil" or (
            isinstance(value, np.ndarray)
            and value.ndim == 2
            and value.shape[1] == 2
            and not name.endswith(("_mm", "_rad", "_deg"))
        )
        return (value + shift + 0.5) * scale - 0.5 if points else value

    return {name: moved(name, value) for name, value in labels.items()}


def convert(
    source: Path,
    destination: Path,
    conversion: Conversion,
    *,
    format: str | None = None,
    limit: int | None = None,
    only: Collection[str] | None = None,
    split: Mapping[str, float] | None = None,
    by: str | None = None,
    workers: int = 1,
    overwrite: bool = False,
    stop_on_error: bool = False,
    attributes: Mapping[str, str] | None = None,
    report: Report = lambda done, total: None,
) -> dict[str, Summary]:
    """Convert a data set into a folder of lossless images with ``labels.csv``, or into a store.

    Args:
        source: the data set.
        destination: the folder, or the store (.h5), to write.
        conversion: what is done to each image.
        format: name of the layout; None looks at what is there.
        limit: convert only so many images, spread over the data set.
        only: convert the samples of these ids alone.
        split: shares by name: ``DESTINATION/train`` and so on, or ``name.train.h5``.
        by: split by ``subject`` or ``id``; None takes the subject where every sample names one.
        workers: processes. With more than one, a program of your own needs the usual ``__name__`` guard.
        overwrite: make everything again, and replace files that are there.
        stop_on_error: raise at the first image that cannot be used.
        attributes: of a store, besides those it has anyway.
        report: told how many of how many are done.

    Returns:
        A summary by name of the part; the only name is empty without ``split``.

    Raises:
        RefinerError: the source or the destination cannot be used.
    """
    dataset = conversion.open(source, format)
    ids: Sequence[str] = dataset.ids if only is None else [sample for sample in dataset.ids if sample in only]
    if limit is not None and limit < len(ids):
        ids = [ids[i * len(ids) // limit] for i in range(limit)]
    selections = {"": ids}
    if split:
        by = by or ("subject" if names_subjects(dataset, ids) else "id")
        selections = dict(split_samples(dataset, ids, split, by=by))
    job = fingerprint(repr(conversion), format or "", _stamps(source))
    summaries = {}
    done = 0
    for name, selected in selections.items():
        place = place_of(destination, name)
        facts = {"source": str(source), "licence": dataset.licence, **(attributes or {})}
        opened = (
            open_store(source, place, attributes=facts, overwrite=overwrite)
            if is_store_name(place)
            else open_folder(source, place, grey=conversion.grey or _is_grey(dataset), overwrite=overwrite)
        )
        with opened as target:
            maker = _ChunkMaker(source, format, conversion, stop_on_error)
            summaries[name] = _convert_into(
                target,
                selected,
                maker,
                job=job,
                workers=workers,
                overwrite=overwrite,
                report=lambda part: report(done + part, len(ids)),  # noqa: B023 - called within the loop only
            )
        done += len(selected)
    return summaries


def _is_grey(dataset: Dataset) -> bool:
    """Whether every image is known to be grey, whatever file type its id names."""
    return isinstance(dataset, Store) and dataset.kind.channels == 1


def _stamps(source: Path) -> Iterator[str]:
    """Name, size and time of every file of a data set: by these a changed input is known."""
    for name in list_files(source) if source.is_dir() else [""]:
        yield f"{name} {stamp(source / name)}"


def place_of(destination: Path, part: str) -> Path:
    """Where a part of a split goes; the destination itself when there is but one, without a name."""
    if not part:
        return destination
    return destination.with_suffix(f".{part}{destination.suffix}") if is_store_name(destination) else destination / part


def _convert_into(
    target: Destination,
    ids: Sequence[str],
    maker: "_ChunkMaker",
    *,
    job: str,
    workers: int,
    overwrite: bool,
    report: Callable[[int], None],
) -> Summary:
    """Make the parts that are missing, and bring all together."""
    job = fingerprint(job, ids)
    if not overwrite and (before := target.finished(job)):
        report(len(ids))
        return Summary(**{**json.loads(before), "finished_before": True})
    size = max(32, min(CHUNK, len(ids) // 32))
    starts = range(0, len(ids), size)
    parts = Chunks(target.chunks_folder, job=job, count=len(starts))
    names = target.names(ids)
    target.claim(names)
    todo = parts.unfinished()
    blocks = (
        _Block(
            list(zip(ids[starts[n] : starts[n] + size], names[starts[n] : starts[n] + size], strict=True)),
            parts.files(n, target.images_folder),
        )
        for n in todo
    )
    tally = Tally(one_kind=target.images_folder is None, root=maker.source)
    done = len(ids) - sum(min(size, len(ids) - starts[n]) for n in todo)
    report(done)
    squeezed = 0
    for made in map_in_order(maker, blocks, workers=min(workers, len(todo))):
        tally.count_kinds(made.kinds)
        done += made.samples
        squeezed += made.squeezed
        report(done)
    if squeezed:
        log.warning(
            "%d images were stretched or squeezed to %dx%d; cut them to that shape first with --crop HxW",
            squeezed,
            *(maker.conversion.size or ()),
        )
    tally = Tally(one_kind=target.images_folder is None, root=maker.source)
    for line in parts.lines():
        tally.add(line)
    tally.count_kinds(Counter())
    summary = tally.summary()
    if not summary.written:
        target.finish(parts, "", "")
        reason = next(iter(summary.reasons))
        raise DataError(
            f"{maker.source}: none of {len(ids)} images could be converted; the most frequent reason: {reason}"
        )
    target.finish(parts, job, json.dumps(asdict(summary)))
    return summary


class _Block(NamedTuple):
    """A part to be made: (id, output name) of its samples, and where it goes."""

    samples: list[tuple[str, str]]
    files: ChunkFiles


class _Made(NamedTuple):
    """A part that was made: how many samples it has, and how many images of which kind."""

    samples: int
    kinds: Counter[str]
    squeezed: int


class _ChunkMaker:
    """Makes one part after another, in whatever process it finds itself."""

    def __init__(self, source: Path, format: str | None, conversion: Conversion, stop_on_error: bool) -> None:
        self.source, self.format, self.conversion = source, format, conversion
        self.stop_on_error = stop_on_error
        self._dataset: Dataset | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dataset": None}

    def __call__(self, block: _Block) -> _Made:
        if self._dataset is None:
            self._dataset = self.conversion.open(self.source, self.format)
            cv2.setNumThreads(1)  # the processes share the cores
        self._squeezed = 0
        samples = ((sample, name, partial(self._record, sample)) for sample, name in block.samples)
        lines = write_chunk(block.files, samples, stop_on_error=self.stop_on_error)
        return _Made(len(lines), Counter(line.kind for line in lines if line.name), self._squeezed)

    def _record(self, sample: str) -> Record:
        assert self._dataset is not None
        record = self._dataset.read(sample)
        self._squeezed += self.conversion.squeezes(record.image)
        return self.conversion.apply(record)
