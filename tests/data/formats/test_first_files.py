"""The first files of a tree: few, in a fixed order, and nothing hidden."""

from pathlib import Path

import pytest

from refiner.data.formats import file_access as module
from refiner.data.formats.file_access import first_files


def test_upper_folders_come_first_and_hidden_files_never(tmp_path: Path) -> None:
    for name in ("b/1.png", "a/2.png", "c.png", ".d.png", ".e/3.png", "a/4.txt", "b/a/5.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = first_files(tmp_path, lambda name: name.endswith(".png"))
    assert found == ["c.png", "a/2.png", "b/1.png", "b/a/5.png"]
    assert first_files(tmp_path, lambda name: name.endswith(".png"), 2) == found[:2]


def test_a_search_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "a.png").touch()
    monkeypatch.setattr(module, "MAX_FOLDERS", 4)
    assert len(first_files(tmp_path, lambda name: True)) == 4


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert first_files(tmp_path / "absent", lambda name: True) == []
    (tmp_path / "file").touch()
    assert first_files(tmp_path / "file", lambda name: True) == []
