"""Files that are whole or absent: atomic writes, locks, append-only JSON lines.

A file is written under a temporary name in its own folder and moved into place, so that a kill or a full disk
leaves no half-written file under a final name.
"""

import contextlib
import errno
import fcntl
import itertools
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from refiner.core.errors import OutputError

TEMPORARY_PREFIX = ".partial-"
"""How unfinished files are named; what a kill leaves behind under such a name can be deleted."""

_numbers = itertools.count()


def check_regular(path: Path) -> int:
    """Refuse what is there but no regular file: a pipe or a device would be read for ever. Gives its size in bytes.

    Raises:
        OSError: it is missing, or none.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return status.st_size


def read_regular(path: Path, *, limit: int = 2**28) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: it cannot be read, is no regular file, or has more than ``limit`` bytes.
    """
    if (size := check_regular(path)) > limit:
        raise OSError(errno.EFBIG, f"has {size:,} bytes, at most {limit:,} are read", str(path))
    return path.read_bytes()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that becomes ``path`` when the block ends without an error.

    Raises:
        OutputError: the folder cannot be made, or the disk is full or read-only.
    """
    handle, temporary = _open_temporary(path)
    os.close(handle)
    with _moved_into_place(temporary, path):
        yield temporary


def write_bytes(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a whole file atomically; ``durable`` also waits until the disk has it.

    Raises:
        OutputError: it cannot be written.
    """
    handle, temporary = _open_temporary(path)
    with _moved_into_place(temporary, path), os.fdopen(handle, "wb", 0) as stream:
        _write_all(stream, data)
        if durable:
            os.fsync(handle)


def _write_all(stream: IO[bytes], data: bytes) -> None:
    """Write to an unbuffered stream, which may take less than it is given."""
    rest = memoryview(data)
    while rest:
        rest = rest[stream.write(rest) :]


def _open_temporary(path: Path) -> tuple[int, Path]:
    """A new file beside ``path``, open for writing, and its name; the folder is made.

    Raises:
        OutputError: the folder cannot be made, or the disk is full or read-only.
    """
    try:
        try:
            return _create_beside(path)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            return _create_beside(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error


def _create_beside(path: Path) -> tuple[int, Path]:
    """Takes half the system calls of ``tempfile.mkstemp`` and ``chmod``, which a million small images feel."""
    while True:
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid():x}-{next(_numbers):x}{path.suffix}")
        with contextlib.suppress(FileExistsError):  # of a process that was killed, or on another machine
            return os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666), temporary


@contextlib.contextmanager
def _moved_into_place(temporary: Path, path: Path) -> Iterator[None]:
    """Give a file its final name when the block ends without an error, and remove it otherwise."""
    try:
        yield
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written ({reason}); free some space or choose another place") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file atomically; the parts of file names that are no UTF-8 come out as they are."""
    write_bytes(path, text.encode(errors="surrogateescape"))


def remove_file(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        OutputError: it cannot be removed, or is a folder.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be removed ({error.strerror or error}); choose another place") from error


@contextlib.contextmanager
def locked(path: Path, *, refusal: str, shared: bool = False) -> Iterator[None]:
    """Hold a lock file for the length of the block; the kernel frees it when the process dies, however it dies.

    Args:
        path: the lock file; it stays behind, empty of meaning once unlocked.
        refusal: the message when another process holds it.
        shared: let others hold it that share it, too, and nobody alone.

    Raises:
        OutputError: another process holds the lock, or the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
    with stream:
        try:
            fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(refusal) from error
        yield


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file; a last line that a kill cut short is left out."""
    if not path.is_file():
        return
    with path.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):  # a torn line in the middle: the next run appended after it
                continue
            if isinstance(row, dict):
                yield row


class JsonLines:
    """Appends objects to a JSON-lines file, each line flushed to the system as it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream: IO[bytes] = path.open("ab", buffering=0)
        if self._stream.tell() and not _ends_with_newline(path):
            self._stream.write(b"\n")  # close a line that a kill cut short

    def append(self, *rows: dict[str, Any]) -> None:
        """Write each object as a line, all of them at once.

        Raises:
            OutputError: the disk refuses.
        """
        try:
            _write_all(self._stream, b"".join(json.dumps(row).encode() + b"\n" for row in rows))
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(f"{self._path}: cannot be written ({reason}); free some space") from error

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


Stamp = tuple[int, int]
"""Size in bytes and time of last change in nanoseconds: what tells a changed input."""


def stamp(path: Path) -> Stamp:
    """Size and time of an input file; (0, 0) when it is no file that can be looked at, which reading will report."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    # The time of a folder, which a link may lead to, changes with every file that is written into it.
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else (0, 0)


def check_apart(source: Path, output: Path) -> None:
    """Refuse an output that would be read as input, or be written over it, or lies below a file.

    Raises:
        OutputError: it is one of these.
    """
    try:
        output.exists()
        inner, outer = output.resolve(), source.resolve()
    except (OSError, RuntimeError) as error:  # a name too long, links in a circle
        raise OutputError(f"{output}: cannot be written ({error}); choose another output") from error
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise OutputError(f"{output}: and {source} lie inside one another; choose an output beside the input")
    for parent in output.parents:
        if parent.exists() and not parent.is_dir():
            raise OutputError(f"{output}: {parent} is a file; choose another output")
