"""Large JSON files of which one record is needed at a time: found once, read from the disk when asked for."""

import functools
import json
import re
from collections.abc import Mapping
from json.decoder import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any

from refiner.core.errors import DataError
from refiner.core.files import read_regular

LARGEST_FILE = 2**30
"""Largest number of bytes of an annotation file."""

_SPACE = re.compile(r"[ \t\n\r]*")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: the file cannot be read, or is no JSON.
    """
    try:
        return json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON ({error})") from error


def record_places(path: Path) -> Mapping[str, tuple[int, int]]:
    """Return where each value of a JSON object begins and ends in its file, in bytes, by its key.

    The places of recently used files are remembered; a file that has changed is read again.

    Raises:
        DataError: the file cannot be read, or is no JSON object.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    return _places(path, status.st_mtime_ns, status.st_size)


def read_record(path: Path, key: str) -> Any:
    """Return one value of a JSON object; None if it has no such key.

    Raises:
        DataError: the file cannot be read, or is no JSON object.
    """
    place = record_places(path).get(key)
    if place is None:
        return None
    try:
        with path.open("rb") as stream:
            stream.seek(place[0])
            return json.loads(stream.read(place[1] - place[0]))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{path} is no JSON any more; it has changed while it was read") from error


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, limit=LARGEST_FILE).removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error


@functools.lru_cache(maxsize=256)
def _places(path: Path, changed: int, size: int) -> Mapping[str, tuple[int, int]]:
    data = _read(path)
    offset = size - len(data)  # of a byte order mark
    # In Latin-1, each byte is a character, so that characters count bytes; only keys and strings read differently.
    text = data.decode("latin-1")
    try:
        return {_from_latin(key): (start + offset, end + offset) for key, start, end in _scan(text)}
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON object ({error})") from error


def _from_latin(key: str) -> str:
    try:
        return key.encode("latin-1").decode("utf-8")
    except UnicodeError:  # the key was written with escapes
        return key


def _scan(text: str) -> list[tuple[str, int, int]]:
    """Return the key, start and end of each value of a JSON object."""
    decode = JSONDecoder(strict=False).raw_decode
    found = []
    position = _expect(text, 0, "{")
    while not text.startswith("}", position):
        key, position = decode(text, position)
        if not isinstance(key, str):
            raise JSONDecodeError("Expecting a key", text, position)
        start = _expect(text, _skip(text, position), ":")
        _, end = decode(text, start)
        found.append((key, start, end))
        position = _skip(text, end)
        if not text.startswith("}", position):
            position = _expect(text, position, ",")
    if _skip(text, position + 1) != len(text):
        raise JSONDecodeError("Extra data", text, position + 1)
    return found


def _expect(text: str, position: int, character: str) -> int:
    """Return the place after a character, and after the space that follows it."""
    position = _skip(text, position)
    if not text.startswith(character, position):
        raise JSONDecodeError(f"Expecting {character!r}", text, position)
    return _skip(text, position + 1)


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
