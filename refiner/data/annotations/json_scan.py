"""Large JSON files, read piece by piece: the place of each element of their long lists, without holding the file.

The text is decoded as Latin-1, so that every character is one byte and positions are offsets in the file. Values with
other characters have to be read again by their offsets.
"""

import json
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO, Any

PIECE = 2**22
"""Number of bytes that are read at once."""

_SPACE = re.compile(r"[ \t\n\r]*")
_BOM = b"\xef\xbb\xbf"

OnElement = Callable[[str, Any, int, int], None]
"""Called with the key of a list, an element, and its first and last offset in the file."""


def scan_object(path: Path, lists: Collection[str], on_element: OnElement) -> dict[str, Any]:
    """Read the object in a JSON file, and call a function for each element of some of its lists.

    Text in the elements is Latin-1, and not fit for use if it is not ASCII; see :func:`read_span`.

    Args:
        path: the file.
        lists: keys of the lists whose elements are not kept.
        on_element: the function.

    Returns:
        The values of the other keys. A value of ``lists`` that is no list is among them.

    Raises:
        ValueError: the file is not JSON in UTF-8, or holds something else than an object.
        OSError: the file cannot be read.
    """
    rest: dict[str, Any] = {}
    with path.open("rb") as stream:
        text = _Text(stream)
        text.expect("{")
        while text.peek() != "}":
            # Read a key, and its list or its value.
            key, _, _ = text.value()
            if not isinstance(key, str):
                raise ValueError(f"expected a key at byte {text.offset:,}")
            text.expect(":")
            if key in lists and text.peek() == "[":
                text.expect("[")
                while text.peek() != "]":
                    on_element(key, *text.value())
                    text.comma("]")
                text.expect("]")
            else:
                _, start, end = text.value()
                rest[_utf8(key)] = read_span(path, start, end)
            text.comma("}")
        text.expect("}")
        if text.peek():
            raise ValueError(f"there is other text after byte {text.offset:,}")
    return rest


def read_span(path: Path, start: int, end: int) -> Any:
    """Return the JSON value between two offsets of a file.

    Raises:
        ValueError: there is no JSON value.
        OSError: the file cannot be read.
    """
    return read_spans(path, [(start, end)])[0]


def read_spans(path: Path, spans: Sequence[Sequence[int]]) -> list[Any]:
    """Return the JSON values between pairs of offsets of a file; see :func:`read_span`."""
    values = []
    with path.open("rb", buffering=0) as stream:
        for start, end in spans:
            stream.seek(start)
            values.append(json.loads(stream.read(end - start)))
    return values


def _utf8(text: str) -> str:
    return text.encode("latin-1", "surrogatepass").decode("utf-8") if not text.isascii() else text


class _Text:
    """A part of a file as text, which is followed by the next one when it is used up."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._decoder = stream, json.JSONDecoder()
        first = stream.read(len(_BOM))
        self._start = len(_BOM) if first == _BOM else 0  # offset of the text in the file
        self._text, self._at, self._is_last = "" if first == _BOM else first.decode("latin-1"), 0, False

    @property
    def offset(self) -> int:
        """Offset of the next character in the file."""
        return self._start + self._at

    def _more(self) -> bool:
        """Read the next piece, or at least as much again as is still in use; return False at the end of the file."""
        self._start += self._at
        piece = self._stream.read(max(PIECE, len(self._text) - self._at))
        self._text, self._at = self._text[self._at :] + piece.decode("latin-1"), 0
        self._is_last = not piece
        return not self._is_last

    def peek(self) -> str:
        """Return the next character that is no space; empty at the end of the file."""
        while True:
            found = _SPACE.match(self._text, self._at)
            assert found is not None
            self._at = found.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def expect(self, character: str) -> None:
        """Step over a character.

        Raises:
            ValueError: there is another one.
        """
        if (found := self.peek()) != character:
            what = f"{found!r} at byte {self.offset:,}" if found else "the end of the file"
            raise ValueError(f"expected {character!r}, but found {what}")
        self._at += 1

    def comma(self, closing: str) -> None:
        """Step over a comma; before the closing bracket, there is none."""
        if self.peek() != closing:
            self.expect(",")
            if self.peek() == closing:
                raise ValueError(f"there is a comma without a value at byte {self.offset:,}")

    def value(self) -> tuple[Any, int, int]:
        """Return the next value, and its first and last offset.

        Raises:
            ValueError: there is none.
        """
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except RecursionError:
                raise ValueError(f"the values at byte {self.offset:,} are nested too deeply") from None
            except json.JSONDecodeError as error:
                # The value may continue in the next piece.
                if self._is_last or not self._more():
                    raise ValueError(f"{error.msg} near byte {self._start + error.pos:,}") from None
                continue
            # A number at the end of the text may continue in the next piece.
            if end < len(self._text) or self._is_last:
                break
            self._more()
        start, self._at = self.offset, end
        return value, start, self.offset
