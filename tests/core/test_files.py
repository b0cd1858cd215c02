"""Files that are whole or absent, and JSON lines that survive a kill."""

import errno
import hashlib
import io
import itertools
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refiner.core import files
from refiner.core.errors import OutputError
from refiner.core.files import (
    TEMPORARY_PREFIX,
    JsonLines,
    atomic_path,
    content_digest,
    read_json_lines,
    write_bytes,
    write_once,
    write_text,
)


def test_a_file_appears_whole_in_a_folder_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.bin"
    write_bytes(path, b"12345", durable=True)
    assert path.read_bytes() == b"12345"
    assert [entry.name for entry in path.parent.iterdir()] == ["c.bin"]


def test_an_error_in_the_block_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyError("bug")

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_has_the_final_name_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"new")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.name.startswith(TEMPORARY_PREFIX)
        assert temporary.suffix == ".png"
    assert path.read_bytes() == b"new"


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "image.png"

    def fill() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match=r"image\.png cannot be written \(No space left on device\)"):
        fill()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which is always full")
def test_a_full_disk_under_a_log_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").symlink_to("/dev/full")
    log = JsonLines(tmp_path / "manifest.jsonl")
    with pytest.raises(OutputError, match=r"manifest\.jsonl cannot be written \(No space left on device\)"):
        log.append({"file": "a.png"})


def test_a_path_below_a_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_text(tmp_path / "file" / "inside.txt", "x")


def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_text("")
    write_text(tmp_path / "atomic", "x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_writers_in_threads_leave_the_umask_alone(tmp_path: Path) -> None:
    """The mask belongs to the whole process: a writer that sets it, however briefly, opens the files of others."""
    asked: list[int] = []
    original = os.umask
    before = original(0)
    original(before)

    def spy(mask: int) -> int:
        asked.append(mask)
        return original(mask)

    os.umask = spy  # type: ignore[assignment]
    try:
        threads = [threading.Thread(target=write_text, args=(tmp_path / str(i), "x")) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        os.umask = original  # type: ignore[assignment]
    assert len(list(tmp_path.iterdir())) == 8
    assert asked == []
    assert before == original(before)


def test_file_names_that_are_no_utf8_can_stand_in_a_table(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xe9ye.png")
    write_text(tmp_path / "rejected.csv", f"{name},read,is empty\n")
    assert (tmp_path / "rejected.csv").read_bytes() == b"\xe9ye.png,read,is empty\n"
    log = JsonLines(tmp_path / "manifest.jsonl")
    log.append({"file": name})
    log.close()
    assert list(read_json_lines(tmp_path / "manifest.jsonl")) == [{"file": name}]


def test_json_lines_come_back_in_order_and_appending_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a" / "log.jsonl"
    for start in (0, 3):
        log = JsonLines(path)
        for step in range(start, start + 3):
            log.append({"step": step, "text": "zwölf\n"})
        log.close()
    assert list(read_json_lines(path)) == [{"step": step, "text": "zwölf\n"} for step in range(6)]


def test_a_missing_file_holds_no_lines(tmp_path: Path) -> None:
    assert list(read_json_lines(tmp_path / "none.jsonl")) == []


def test_a_kill_at_any_byte_costs_one_line(tmp_path: Path) -> None:
    rows = [{"file": f"{i}.png", "size": i} for i in range(4)]
    whole = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    path = tmp_path / "log.jsonl"
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = whole[:cut].count(b"\n")
        assert list(read_json_lines(path)) == rows[:kept]
        log = JsonLines(path)
        log.append({"file": "next"})
        log.close()
        after = list(read_json_lines(path))
        assert after[:kept] == rows[:kept]
        assert after[-1] == {"file": "next"}
        assert len(after) <= kept + 2  # a line that lacked its newline alone is whole again


@given(garbage=st.lists(st.binary(max_size=30), max_size=6))
def test_garbage_lines_are_passed_over(tmp_path_factory: pytest.TempPathFactory, garbage: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("lines") / "log.jsonl"
    path.write_bytes(b'{"a": 1}\n' + b"\n".join(garbage) + b'\n{"a": 2}\n')
    rows = list(read_json_lines(path))
    assert rows[0] == {"a": 1}
    assert rows[-1] == {"a": 2}
    assert all(isinstance(row, dict) for row in rows)


class _Hesitant(io.RawIOBase):
    """Takes at most three bytes at a time, as a disk that is nearly full may."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = b""

    def write(self, data: Any) -> int:
        self.taken += bytes(data[:3])
        return min(3, len(data))


def test_what_a_stream_does_not_take_at_once_is_written_again() -> None:
    stream = _Hesitant()
    files._write_all(stream, b"0123456789")  # type: ignore[arg-type]
    assert stream.taken == b"0123456789"


def test_a_name_that_a_dead_process_left_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_numbers", itertools.count(7))
    left = tmp_path / f"{TEMPORARY_PREFIX}{os.getpid():x}-7.txt"
    left.write_text("another's")
    write_text(tmp_path / "a.txt", "mine")
    assert (tmp_path / "a.txt").read_text() == "mine"
    assert left.read_text() == "another's"


def test_several_lines_are_appended_at_once(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "log.jsonl")
    log.append({"a": 1}, {"a": 2})
    log.append()
    log.close()
    assert list(read_json_lines(tmp_path / "log.jsonl")) == [{"a": 1}, {"a": 2}]


def test_the_digest_of_a_file_is_of_its_content_alone(tmp_path: Path) -> None:
    for name, data in {"a": b"123", "same": b"123", "other": b"124"}.items():
        (tmp_path / name).write_bytes(data)
        os.utime(tmp_path / name, ns=(5, 7))
    os.utime(tmp_path / "same", ns=(8, 9))
    assert content_digest(tmp_path / "a") == hashlib.sha256(b"123").hexdigest()[:16]
    assert content_digest(tmp_path / "same") == content_digest(tmp_path / "a") != content_digest(tmp_path / "other")


def test_what_is_no_file_has_no_digest(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert [content_digest(tmp_path / name) for name in ("missing", "link", "pipe")] == ["", "", ""]


@pytest.mark.parametrize("links", [True, False])
def test_the_first_writer_of_a_file_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def no_link(*paths: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", no_link)
    assert [write_once(tmp_path / "new" / "a", text) for text in ("first", "second")] == ["first", "first"]
    # Another process writes between the look and the write.
    monkeypatch.setattr(Path, "exists", lambda path: path.is_file() if path.parent.name != "new" else False)
    if links:
        assert write_once(tmp_path / "new" / "a", "third") == "first"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]
