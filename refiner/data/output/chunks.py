"""A batch in parts: each part is whole or absent, so a kill costs the parts in flight and nothing else.

Part 7 of a conversion is ``000007.jsonl``, a line for each sample (the name and cells of one that was written,
the reason of one that was rejected), and, for a store, ``000007.h5`` with the images. The lines come last: where
they are, the part is finished. ``job.json`` says what the parts were made from and how; parts of another job are
thrown away.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from refiner.core.errors import ImageError, OutputError
from refiner.core.files import atomic_path, read_json_lines, read_regular, write_text
from refiner.data.labels.records import Record, to_cells
from refiner.data.output.folder import is_too_long, leads_out
from refiner.data.store.hdf5 import ImageKind
from refiner.data.store.writer import ImageWriter
from refiner.images.io import LOSSLESS, write_image

Cells = Mapping[str, str]


class Line(NamedTuple):
    """What became of one sample.

    Attributes:
        source: its id in the data set that was read.
        name: of the output; empty when it was rejected.
        kind: of the image, as text.
        cells: of its labels.
        reason: why it was rejected; empty when it was not.
    """

    source: str
    name: str = ""
    kind: str = ""
    cells: Cells = {}  # noqa: RUF012 - never changed
    reason: str = ""


class ChunkFiles(NamedTuple):
    """Where one part goes.

    Attributes:
        lines, images: of :class:`Chunks`.
        folder: where image files go; None gathers the images in ``images``.
    """

    lines: Path
    images: Path
    folder: Path | None


class Chunks:
    """The parts of one batch, in a folder of their own.

    Args:
        folder: made when it is missing.
        job: everything the parts follow from, as one text.
        count: number of parts.
        shared: other processes make parts of the same job at this moment.

    Raises:
        OutputError: parts of another job are there, which others may be making.
    """

    def __init__(self, folder: Path, *, job: str, count: int, shared: bool = False) -> None:
        self.folder, self.count = folder, count
        state = {"job": job, "parts": count}
        path = folder / "job.json"
        if shared and not path.exists():  # whoever else finds none writes the same
            write_text(path, json.dumps(state))
        try:
            kept = json.loads(read_regular(path)) == state
        except (OSError, ValueError, RecursionError):
            kept = False
        if not kept and shared:
            raise OutputError(f"{folder}: holds parts of another job; finish that first, or delete the folder")
        if not kept:
            self.remove()
            write_text(path, json.dumps(state))

    def unfinished(self) -> list[int]:
        """Numbers of the parts that are still to be made."""
        return [number for number in range(self.count) if not self.lines_path(number).exists()]

    def lines_path(self, number: int) -> Path:
        """The file whose presence says that part ``number`` is finished."""
        return self.folder / f"{number:06d}.jsonl"

    def images_path(self, number: int) -> Path:
        """The images of a part of a store."""
        return self.folder / f"{number:06d}.h5"

    def files(self, number: int, folder: Path | None) -> ChunkFiles:
        """Where part ``number`` goes; ``folder`` as in :class:`ChunkFiles`."""
        return ChunkFiles(self.lines_path(number), self.images_path(number), folder)

    def lines(self) -> Iterator[Line]:
        """What became of all samples, in order, read as they are asked for."""
        for number in range(self.count):
            for row in read_json_lines(self.lines_path(number)):
                yield Line(**row)

    def images(self) -> Iterator[Path]:
        """Files with the images, in order."""
        return (path for path in map(self.images_path, range(self.count)) if path.exists())

    def remove(self) -> None:
        """Delete the folder and everything in it, at once as far as a kill can tell."""
        old = self.folder.with_name(f"{self.folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(old)
            shutil.rmtree(old)


def write_lines(path: Path, lines: Iterable[Line]) -> None:
    """Write the lines of a part, which finishes it.

    Raises:
        OutputError: the disk refuses.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        for line in lines:
            row: dict[str, Any] = {key: value for key, value in line._asdict().items() if value or key == "source"}
            stream.write(json.dumps(row).encode() + b"\n")


def write_chunk(
    files: ChunkFiles, samples: Iterable[tuple[str, str, Callable[[], Record]]], *, stop_on_error: bool = False
) -> list[Line]:
    """Make one part.

    Args:
        files: where it goes.
        samples: id, output name, and what gives the record; an :class:`ImageError` there rejects the sample.
        stop_on_error: let it pass through instead.

    Returns:
        The lines of the part.

    Raises:
        OutputError: the disk refuses.
    """
    lines: list[Line] = []
    with ImageWriter(files.images) as writer:
        for source, name, read in samples:
            try:
                if leads_out(name):
                    raise ImageError(source, "has a name that leads out of its folder")
                if files.folder is not None and is_too_long(name):
                    raise ImageError(source, "has a name that is too long for a file")
                record = read()
                kind = ImageKind.of(record.image)
                cells = _checked(to_cells(record.labels), source)
                if files.folder is not None:
                    write_image(files.folder / name, record.image, quality=LOSSLESS)
                elif writer.kind in (None, kind):
                    writer.append(record.image)  # any other kind is counted, and the store refused
                lines.append(Line(source, name, str(kind), cells))
            except ImageError as error:
                if stop_on_error:
                    raise
                lines.append(Line(source, reason=error.reason))
    write_lines(files.lines, lines)
    return lines


def _checked(cells: Cells, source: str) -> Cells:
    """The cells, if tables and stores can hold them.

    Raises:
        ImageError: they cannot.
    """
    for name, text in cells.items():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ImageError(source, f"its label {name} holds what is no UTF-8 text") from None
        if "\0" in text:
            raise ImageError(source, f"its label {name} holds a NUL character")
    return cells


def fingerprint(*parts: str | Iterable[str]) -> str:
    """SHA-256 of texts, one after another."""
    digest = hashlib.sha256()
    for part in parts:
        for text in [part] if isinstance(part, str) else part:
            digest.update(text.encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()
