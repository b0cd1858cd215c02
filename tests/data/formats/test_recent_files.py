"""What is kept of files: bounded, loaded once, and never shared between processes."""

import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from refiner.data.formats.file_access import RecentFiles

LOADED: list[str] = []


def load(path: Path) -> str:
    LOADED.append(path.name)
    time.sleep(0.001)
    if path.name == "bad":
        raise ValueError("bad")
    return path.name.upper()


@pytest.fixture(autouse=True)
def _nothing_loaded() -> None:
    LOADED.clear()


def test_the_one_not_asked_for_longest_is_dropped() -> None:
    recent = RecentFiles(load, 2)
    for name in ("a", "b", "a", "c", "a", "b"):
        assert recent(Path(name)) == name.upper()
    assert LOADED == ["a", "b", "c", "b"]


def test_many_threads_load_each_once() -> None:
    recent = RecentFiles(load, 3)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(recent, [Path(name) for name in "abc" * 20])) == list("ABC") * 20
    assert sorted(LOADED) == ["a", "b", "c"]


def test_an_error_is_not_kept() -> None:
    recent = RecentFiles(load, 3)
    for _ in range(2):
        with pytest.raises(ValueError, match="bad"):
            recent(Path("bad"))
    assert LOADED == ["bad", "bad"]


def test_a_copy_and_another_process_start_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    recent = RecentFiles(load, 3)
    recent(Path("a"))
    pickle.loads(pickle.dumps(recent))(Path("a"))
    assert LOADED == ["a", "a"]
    monkeypatch.setattr(os, "getpid", lambda: -1)
    recent(Path("a"))
    recent(Path("a"))
    assert LOADED == ["a", "a", "a"]
