"""Changes of annotation files that leave every other byte as it was: cut out objects of some images.

A source of labels that supports it has the two methods of :class:`ObjectEditor`. The changes of a file are applied in
one pass, so that files of any size can be changed.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, runtime_checkable

from refiner.core.errors import DataError
from refiner.core.files import atomic_path

PIECE = 2**20

_SPACE = b" \t\n\r"


class Edit(NamedTuple):
    """A part of a file, from byte ``start`` to byte ``end``, that ``text`` replaces."""

    start: int
    end: int
    text: bytes = b""


@runtime_checkable
class ObjectEditor(Protocol):
    """A source of labels whose files can lose single objects."""

    def why_fixed(self) -> str:
        """Return the reason why its files cannot be changed, as the end of a sentence; empty if they can."""

    def without(self, broken: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, Edit]]:
        """Yield the changes that cut out some objects, each with the name of its file.

        Args:
            broken: positions of objects in :attr:`refiner.data.labels.objects.ImageAnnotations.objects`, ascending, by
                sample id. The source knows each image.

        Raises:
            DataError: a file is not what it was when it was read first.
        """


def write_edited(source: Path, target: Path, edits: Iterable[Edit]) -> None:
    """Write a copy of a file with some parts replaced.

    Raises:
        DataError: two edits overlap.
        OutputError: the copy cannot be written.
    """
    with source.open("rb") as stream, atomic_path(target) as temporary, temporary.open("wb") as output:
        for edit in sorted(edits):
            if edit.start < stream.tell():
                raise DataError(f"{source} cannot be written without some of its objects, as they overlap")
            _copy(stream, output, edit.start - stream.tell())
            output.write(edit.text)
            stream.seek(edit.end)
        shutil.copyfileobj(stream, output, PIECE)


def _copy(stream: IO[bytes], output: IO[bytes], count: int) -> None:
    while count:
        piece = stream.read(min(count, PIECE))
        if not piece:
            return
        output.write(piece)
        count -= len(piece)


def cut_elements(path: Path, spans: Iterable[tuple[int, int]]) -> Iterator[Edit]:
    """Yield edits that cut elements out of JSON lists, each with the comma that parts it from the others.

    Args:
        path: the file.
        spans: first and last offset of each element.
    """
    with path.open("rb") as stream:
        run: tuple[int, int] | None = None
        for start, end in sorted(spans):
            # Neighbours are cut out together: then one comma is left over, or none.
            if run is not None and _next(stream, run[1], b",") != start:
                yield _cut_run(stream, *run)
                run = None
            run = (start if run is None else run[0], end)
        if run is not None:
            yield _cut_run(stream, *run)


def _cut_run(stream: IO[bytes], start: int, end: int) -> Edit:
    following = _next(stream, end, b",")
    if following is not None:
        return Edit(start, following)
    before = _before(stream, start)
    return Edit(start if before is None else before, end)


def _next(stream: IO[bytes], end: int, sign: bytes) -> int | None:
    """Return where the next element begins after a sign; None if another sign comes first."""
    stream.seek(end)
    found = False
    while byte := stream.read(1):
        if byte == sign and not found:
            found = True
        elif byte not in _SPACE:
            return stream.tell() - 1 if found else None
    return None


def _before(stream: IO[bytes], start: int) -> int | None:
    """Return the place of the comma before an element; None if it is the first of its list."""
    while start > 0:
        start -= 1
        stream.seek(start)
        byte = stream.read(1)
        if byte == b",":
            return start
        if byte not in _SPACE:
            return None
    return None


def value_span(text: str, key: str) -> tuple[int, int] | None:
    """Return the first and last place of a key's value in the text of a JSON object; None if it has no such key."""
    decoder, at = json.JSONDecoder(), text.index("{") + 1
    while True:
        at = _skip(text, at, ",")
        if text[at] == "}":
            return None
        name, at = decoder.raw_decode(text, at)
        at = _skip(text, at, ":")
        start, (_, at) = at, decoder.raw_decode(text, at)
        if name == key:
            return start, at


def _skip(text: str, at: int, sign: str) -> int:
    while text[at] in " \t\n\r" or text[at] == sign:
        at += 1
    return at


def dumped_like(value: Any, text: str) -> str:
    """Return JSON in the style of other JSON: with or without blanks, and with the same escapes."""
    separators = (", ", ": ") if '": ' in text else (",", ":")
    return json.dumps(value, ensure_ascii=text.isascii(), separators=separators)
