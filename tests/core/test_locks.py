"""Locks between processes."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from refiner.core import locks
from refiner.core.errors import OutputError
from refiner.core.locks import locked


def test_a_lock_is_refused_to_another_process_and_freed_when_that_dies(tmp_path: Path) -> None:
    lock = tmp_path / "deep" / "lock"
    program = f"""
import sys, time
from pathlib import Path
from refiner.core.locks import locked
with locked(Path({str(lock)!r}), refusal="no"):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match="someone else writes"), locked(lock, refusal="someone else writes"):
            pass
    finally:
        holder.kill()
        holder.wait()
    with locked(lock, refusal="still locked"):
        pass


def test_a_lock_on_a_file_that_was_removed_meanwhile_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder removes the file between another's opening and locking of it: a third process is still kept out."""
    lock, flock, removed = tmp_path / "lock", fcntl.flock, []

    def removing(stream: Any, operation: int) -> None:
        if not removed:
            removed.append(lock.unlink())
        flock(stream, operation)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", removing)
        holder = locked(lock, refusal="no")
        holder.__enter__()
    with pytest.raises(OutputError, match="no"), locked(lock, refusal="no"):
        pass
    holder.__exit__(None, None, None)
    with locked(lock, refusal="no"):
        pass


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path / "lock", refusal="locked"):
        raise KeyError("bug")
    with locked(tmp_path / "lock", refusal="locked"):
        pass


def test_a_lock_below_a_regular_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), locked(tmp_path / "file" / "lock", refusal="locked"):
        pass


def test_a_shared_lock_is_shared_and_keeps_out_who_wants_it_alone(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with locked(lock, refusal="no", shared=True), locked(lock, refusal="no", shared=True):
        assert refuses(lock)
    with locked(lock, refusal="no"):
        assert refuses(lock, shared=True)
    assert not refuses(lock)


def refuses(lock: Path, *, shared: bool = False) -> bool:
    try:
        with locked(lock, refusal="no", shared=shared):
            return False
    except OutputError:
        return True


def failing_flock(number: int) -> Any:
    def flock(stream: Any, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    return flock


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize("shared", [False, True])
def test_without_locks_the_work_goes_on_and_one_warning_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int, shared: bool
) -> None:
    monkeypatch.setattr(fcntl, "flock", failing_flock(number))
    monkeypatch.setattr(locks, "_unlocked", set())
    entered = 0
    with locked(tmp_path / "a" / "lock", refusal="no", shared=shared), locked(tmp_path / "b" / "lock", refusal="no"):
        entered += 1
    assert entered == 1
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"{tmp_path / 'a'} is not locked, as its file system has no locks")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_lock_that_fails_for_another_reason_names_that_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(fcntl, "flock", failing_flock(number))
    with pytest.raises(OutputError, match=rf"lock cannot be locked \({os.strerror(number)}\)"):
        locked(tmp_path / "lock", refusal="another process writes").__enter__()


@pytest.mark.parametrize("shared", [False, True])
def test_the_lock_file_is_open_as_nfs_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    """NFS makes ranges of bytes of flock: a shared one needs a file open for reading, else one open for writing."""

    def flock(stream: Any, operation: int) -> None:
        allowed = stream.readable() if operation & fcntl.LOCK_SH else stream.writable()
        if not allowed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / "lock").write_bytes(b"kept")
    with locked(tmp_path / "lock", refusal="no", shared=shared):
        pass
    assert (tmp_path / "lock").read_bytes() == b"kept"
