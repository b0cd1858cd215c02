"""A batch job in chunks: each chunk is complete or absent, so a killed run loses only the chunks in progress.

Chunk 7 of a conversion is ``000007.jsonl``, with one line for each sample: the name and cells of a written sample, or
the reason of a rejected one. A chunk of a store also has ``000007.h5`` with the images. The lines are written last, so
their file marks the chunk as finished. ``job.json`` identifies the input and the options; chunks of another job are
deleted.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from refiner.core.errors import ImageError, WrongOutputError
from refiner.core.files import atomic_path, read_json_lines, read_regular, write_text
from refiner.data.labels.records import Record, to_cells
from refiner.data.labels.table_text import MAX_CELL
from refiner.data.output.output_names import is_too_long, leads_out
from refiner.data.store.hdf5 import ImageKind
from refiner.data.store.writer import ImageWriter
from refiner.images.io import LOSSLESS, write_image

Cells = Mapping[str, str]
"""Cells of a table row by column."""


NO_LOSSES: Mapping[str, Mapping[str, int]] = MappingProxyType({})


class Line(NamedTuple):
    """Outcome of one sample: written or rejected.

    Attributes:
        source: id of the sample in the data set that was read.
        name: name of the output; empty for a rejected sample.
        kind: size, channels and depth of the image, the text of an :class:`refiner.data.store.hdf5.ImageKind`.
        cells: labels as cells of a table.
        reason: reason of the rejection; empty for a written sample.
        losses: numbers of what the sample lost, by the kind of loss; see :mod:`refiner.data.lost_labels`.
    """

    source: str
    name: str = ""
    kind: str = ""
    cells: Cells = {}  # noqa: RUF012 - never changed
    reason: str = ""
    losses: Mapping[str, int] = {}


class ChunkFiles(NamedTuple):
    """Paths that one chunk is written to.

    Attributes:
        lines: the file of outcomes.
        images: the HDF5 file for the images of a store.
        folder: the folder for image files; None writes the images to ``images``.
    """

    lines: Path
    images: Path
    folder: Path | None


class Chunks:
    """The chunks of one batch job, in a folder of their own.

    Args:
        folder: the work folder; created if missing.
        job: input and options that the chunks depend on, as one text.
        count: number of chunks.
        shared: True if other processes work on the same job at the same time.

    Raises:
        OutputError: ``shared`` is set and the folder holds chunks of another job.
    """

    def __init__(self, folder: Path, *, job: str, count: int, shared: bool = False) -> None:
        self.folder, self.count = folder, count
        # Keep the chunks of the same job; delete those of another.
        state = {"job": job, "parts": count}
        path = folder / "job.json"
        if shared and not path.exists():  # every process that finds none writes the same text
            write_text(path, json.dumps(state))
        try:
            kept = json.loads(read_regular(path)) == state
        except (OSError, ValueError, RecursionError):
            kept = False
        if not kept and shared:
            raise WrongOutputError(f"{folder} holds chunks of another job; finish that job first, or delete the folder")
        if not kept:
            self.remove()
            write_text(path, json.dumps(state))

    def unfinished(self) -> list[int]:
        """Return the numbers of the chunks that are not finished."""
        return [number for number in range(self.count) if not self.lines_path(number).exists()]

    def lines_path(self, number: int) -> Path:
        """Return the path of a chunk's outcomes; the file exists once the chunk is finished."""
        return self.folder / f"{number:06d}.jsonl"

    def images_path(self, number: int) -> Path:
        """Return the path of a chunk's images, for a store."""
        return self.folder / f"{number:06d}.h5"

    def files(self, number: int, folder: Path | None) -> ChunkFiles:
        """Return the paths of chunk ``number``; see :class:`ChunkFiles` for ``folder``."""
        return ChunkFiles(self.lines_path(number), self.images_path(number), folder)

    def lines(self) -> Iterator[Line]:
        """Iterate over the outcomes of all samples in order, reading one chunk at a time."""
        for number in range(self.count):
            for row in read_json_lines(self.lines_path(number)):
                yield Line(**row)

    def images(self) -> Iterator[Path]:
        """Iterate over the existing files of images, in order."""
        return (path for path in map(self.images_path, range(self.count)) if path.exists())

    def remove(self) -> None:
        """Delete the work folder; it is renamed first, so that a killed run leaves no half-deleted chunks."""
        # An earlier run may have been killed while it deleted its chunks.
        old = self.folder.with_name(f"{self.folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if self.folder.exists():
            try:
                self.folder.rename(old)
            except OSError:  # a folder of a container's image cannot be renamed
                old = self.folder
            shutil.rmtree(old)


def write_lines(path: Path, lines: Iterable[Line]) -> None:
    """Write the outcomes of a chunk, which marks it as finished.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        for line in lines:
            row: dict[str, Any] = {key: value for key, value in line._asdict().items() if value or key == "source"}
            stream.write(json.dumps(row).encode() + b"\n")


def write_chunk(
    files: ChunkFiles,
    samples: Iterable[tuple[str, str, Callable[[], Record]]],
    *,
    losses: Mapping[str, Mapping[str, int]] = NO_LOSSES,
    stop_on_error: bool = False,
) -> list[Line]:
    """Read the samples of one chunk and write them.

    Args:
        files: paths of the chunk.
        samples: id, output name and a function that reads the record. An :class:`ImageError` rejects the sample.
        losses: what a sample lost, by its id; the function that reads the sample may add it.
        stop_on_error: raise the first :class:`ImageError` instead.

    Returns:
        The outcomes, one for each sample.

    Raises:
        ImageError: a sample cannot be used and ``stop_on_error`` is set.
        OutputError: an output cannot be written.
    """
    lines: list[Line] = []
    with ImageWriter(files.images) as writer:
        for source, name, read in samples:
            try:
                # Refuse names that cannot be used for an output.
                if leads_out(name):
                    raise ImageError(source, "has a name that leads out of its folder")
                if files.folder is not None and is_too_long(name):
                    raise ImageError(source, "has a name that is too long for a file")
                record = read()
                kind = ImageKind.of(record.image)
                cells = _checked(to_cells(record.labels), source)
                # Write the image as a file, or append it to the images of a store. An image of another kind is only
                # counted; the conversion then stops, since a store holds a single kind.
                if files.folder is not None:
                    write_image(files.folder / name, record.image, quality=LOSSLESS, profile=record.profile)
                elif writer.kind in (None, kind):
                    writer.append(record.image)
                lost = {what: number for what, number in losses.get(source, {}).items() if number}
                lines.append(Line(source, name, str(kind), cells, losses=lost))
            except ImageError as error:
                if stop_on_error:
                    raise
                lines.append(Line(source, reason=error.reason))
    write_lines(files.lines, lines)
    return lines


def _checked(cells: Cells, source: str) -> Cells:
    """Return the cells, unless a table or a store cannot hold one of them.

    Raises:
        ImageError: a cell is not UTF-8 text, contains NUL or is too long.
    """
    for name, text in cells.items():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ImageError(source, f"its label {name} is not UTF-8 text") from None
        if "\0" in text:
            raise ImageError(source, f"its label {name} contains a NUL character")
        if len(text) > MAX_CELL:
            raise ImageError(source, f"its label {name} has {len(text):,} characters, at most {MAX_CELL:,} are written")
    return cells


def fingerprint(*parts: str | Iterable[str]) -> str:
    """Return the SHA-256 of texts, one after another, as hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        for text in [part] if isinstance(part, str) else part:
            digest.update(text.encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()
