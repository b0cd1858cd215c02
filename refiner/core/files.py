"""Atomic writes, content digests and append-only JSON lines.

A file is written under a temporary name in its own folder and then renamed. A killed process or a full disk
therefore never leaves a half-written file under the final name.
"""

import contextlib
import errno
import hashlib
import itertools
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from refiner.core.errors import OutputError, WrongOutputError

TEMPORARY_PREFIX = ".partial-"
"""Prefix of the names of unfinished files; files that a killed process leaves behind can be deleted."""

_numbers = itertools.count()


def check_regular(path: Path) -> int:
    """Check that a path is a regular file, and return its size in bytes.

    Pipes and devices are refused, because reading them might never end.

    Raises:
        OSError: the file is missing or is not a regular file.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return status.st_size


def read_regular(path: Path, *, limit: int = 2**28) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        OSError: the file cannot be read, is not a regular file, or has more than ``limit`` bytes.
    """
    if (size := check_regular(path)) > limit:
        raise OSError(errno.EFBIG, f"has {size:,} bytes; at most {limit:,} are read", str(path))
    return path.read_bytes()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; it is renamed to ``path`` when the block ends without an error.

    Raises:
        OutputError: the folder cannot be created, or the disk is full or read-only.
    """
    handle, temporary = _open_temporary(path)
    os.close(handle)
    with _moved_into_place(temporary, path):
        yield temporary


def write_bytes(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a whole file atomically.

    Args:
        path: the file; its folder is created.
        data: content of the file.
        durable: whether to wait until the disk has stored the data.

    Raises:
        OutputError: the file cannot be written.
    """
    handle, temporary = _open_temporary(path)
    with _moved_into_place(temporary, path), os.fdopen(handle, "wb", 0) as stream:
        _write_all(stream, data)
        if durable:
            os.fsync(handle)


def _write_all(stream: IO[bytes], data: bytes) -> None:
    """Write all data to an unbuffered stream, which may accept only a part at a time."""
    # Slicing a memoryview does not copy the data.
    rest = memoryview(data)
    while rest:
        rest = rest[stream.write(rest) :]


def _open_temporary(path: Path) -> tuple[int, Path]:
    """Open a new temporary file in the folder of ``path``, which is created, and return handle and name."""
    # Create the folder only if it is missing, since it usually exists.
    try:
        try:
            return _create_temporary(path)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            return _create_temporary(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror or error}); choose another place") from error


def _create_temporary(path: Path) -> tuple[int, Path]:
    """Create a temporary file with half the system calls of ``tempfile.mkstemp`` and ``chmod``."""
    while True:
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid():x}-{next(_numbers):x}{path.suffix}")
        with contextlib.suppress(FileExistsError):  # left by a killed process, or in use on another machine
            return os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666), temporary


@contextlib.contextmanager
def _moved_into_place(temporary: Path, path: Path) -> Iterator[None]:
    """Give a file its final name when the block ends without an error, and remove it otherwise."""
    # The new name replaces an older file in one step.
    try:
        yield
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise OutputError(f"{path} cannot be written ({reason}); free some space or choose another place") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file atomically; bytes of file names that are not valid UTF-8 are kept unchanged."""
    write_bytes(path, text.encode(errors="surrogateescape"))


def write_once(path: Path, text: str) -> str:
    """Write a UTF-8 file unless it exists, even if several processes try at once; return the content of the file.

    Raises:
        OutputError: the file cannot be written or read.
    """
    try:
        if not path.exists():
            handle, temporary = _open_temporary(path)
            try:
                with os.fdopen(handle, "wb", 0) as stream:
                    _write_all(stream, text.encode())
                _link(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        return read_regular(path).decode()
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror or error}); choose another place") from error


def _link(temporary: Path, path: Path) -> None:
    """Give a file a second name if no file has it yet."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            temporary.replace(path)


def remove_file(path: Path) -> None:
    """Remove a file if it exists.

    Raises:
        OutputError: the file cannot be removed, or the path is a folder.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be removed ({error.strerror or error}); choose another place") from error


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file; an incomplete last line, left by a killed process, is skipped."""
    if not path.is_file():
        return
    with path.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):  # an incomplete line after which a later run appended
                continue
            if isinstance(row, dict):
                yield row


class JsonLines:
    """Append-only writer of a JSON-lines file. Each line reaches the operating system as soon as it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream: IO[bytes] = path.open("ab", buffering=0)
        if self._stream.tell() and not _ends_with_newline(path):
            self._stream.write(b"\n")  # end a line that a killed process left incomplete

    def append(self, *rows: dict[str, Any]) -> None:
        """Append each object as a line, in a single write.

        Raises:
            OutputError: the lines cannot be written, for example because the disk is full.
        """
        try:
            _write_all(self._stream, b"".join(json.dumps(row).encode() + b"\n" for row in rows))
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(f"{self._path} cannot be written ({reason}); free some space") from error

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


def content_digest(path: Path) -> str:
    """Return a digest of a file's content, 16 hexadecimal digits; empty if it is not a readable regular file.

    The size and the time of a file would not do: copies and unpacked archives keep times, and images of one type often
    have one size.
    """
    try:
        check_regular(path)  # a pipe might never end
        with path.open("rb", buffering=0) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    except OSError:
        return ""


def check_apart(source: Path, output: Path) -> None:
    """Check that an output neither contains the input nor is inside it, and that no parent of it is a file.

    Raises:
        OutputError: input and output overlap, or the output cannot be created.
    """
    try:
        # Follow links, so that two names of one folder are recognised.
        output.exists()
        inner, outer = output.resolve(), source.resolve()
    except (OSError, RuntimeError) as error:  # the name is too long, or links form a circle
        raise OutputError(f"{output} cannot be written ({error}); choose another output") from error
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise WrongOutputError(f"input {source} and output {output} must not contain each other; choose another output")
    # A file among the parent folders would only fail at the first write.
    for parent in output.parents:
        if parent.exists() and not parent.is_dir():
            raise WrongOutputError(f"{output} cannot be created: {parent} is a file; choose another output")
