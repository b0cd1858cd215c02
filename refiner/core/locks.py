"""Lock files, which keep a second process out of an output or a run."""

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from refiner.core.errors import OutputError

log = logging.getLogger(__name__)

NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})
"""Error numbers by which a file system says that it has no locks, such as NFS mounted with ``nolock``."""

_unlocked: set[Path] = set()  # lock files that could not be locked


@contextlib.contextmanager
def locked(path: Path, *, refusal: str, shared: bool = False) -> Iterator[None]:
    """Hold a lock on a file for the duration of the block. The kernel releases it even if the process is killed.

    On a file system without locks the block runs unprotected, and the first such file is named in a warning.

    Args:
        path: the lock file; it stays on disk after the lock is released.
        refusal: error message if another process holds the lock.
        shared: take a shared lock, which several processes may hold while none holds an exclusive one.

    Raises:
        OutputError: another process holds the lock, or the file cannot be created or locked.
    """
    # A process that ends may remove its lock file. The lock on a removed file keeps nobody out, so it is taken again.
    while True:
        # Open for appending: the file is created if it is missing, and its content does not matter. NFS needs a file
        # that is open for reading for a shared lock, and one that is open for writing for an exclusive lock.
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = path.open("a+b")
        except OSError as error:
            raise OutputError(f"{path} cannot be written ({error.strerror or error}); choose another place") from error
        # Take the lock without waiting; closing the stream releases it.
        with stream:
            _take_lock(stream, path, refusal, shared=shared)
            if _is_at(stream, path):
                yield
                return


def _take_lock(stream: IO[bytes], path: Path, refusal: str, *, shared: bool) -> None:
    """Lock an open file, or warn that its file system has no locks."""
    try:
        fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise OutputError(refusal) from error
        if error.errno not in NO_LOCKS:
            raise OutputError(f"{path} cannot be locked ({error.strerror}); choose another place") from error
        _warn_of_missing_locks(path)


def _is_at(stream: IO[Any], path: Path) -> bool:
    """Return whether a path still leads to the file that a stream has open."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except OSError:
        return False


def _warn_of_missing_locks(path: Path) -> None:
    """Warn that nothing keeps other processes out, once in each process."""
    if not _unlocked:
        log.warning(
            "%s is not locked, as its file system has no locks; make sure that no other process writes there",
            path.parent,
        )
    _unlocked.add(path)
