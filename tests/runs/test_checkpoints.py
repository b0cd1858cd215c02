import resource
from pathlib import Path

import pytest
import torch

from refiner.core.errors import OutputError, RunError
from refiner.runs.checkpoints import list_checkpoints, load_checkpoint, save_checkpoint


def names(folder: Path) -> list[str]:
    return [path.name for path in list_checkpoints(folder)]


def test_newest_two_stay_and_the_newest_is_loaded(tmp_path: Path) -> None:
    for step in (3, 6, 9):
        save_checkpoint(tmp_path, step, {"step": step, "x": torch.arange(step)})
    assert names(tmp_path) == ["step-00000006.pt", "step-00000009.pt"]
    state = load_checkpoint(tmp_path)
    assert state["step"] == 9
    assert torch.equal(state["x"], torch.arange(9))


def test_nothing_to_load(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "absent") is None


def test_a_damaged_newest_one_is_announced_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for step in (3, 6):
        path = save_checkpoint(tmp_path, step, {"step": step})
    path.write_bytes(path.read_bytes()[:100])
    assert load_checkpoint(tmp_path)["step"] == 3
    assert "step-00000006.pt" in caplog.text


def test_all_damaged_is_an_error_not_a_fresh_start(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 3, {"step": 3}).write_bytes(b"")
    with pytest.raises(RunError, match=r"none of the 1 checkpoints in .* can be read"):
        load_checkpoint(tmp_path)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "hacked",))

    torch.save({"step": Hostile()}, tmp_path / "step-00000001.pt")
    with pytest.raises(RunError):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "hacked").exists()


def test_a_disk_that_takes_no_more_leaves_the_older_ones_alone(tmp_path: Path) -> None:
    """A real limit on the size of files, not a pretended one."""
    save_checkpoint(tmp_path, 3, {"step": 3})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"step-00000006\.pt cannot be written .*; free some space"):
            save_checkpoint(tmp_path, 6, {"x": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003.pt"]


def test_leftovers_of_a_kill_are_removed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 3, {"step": 3})
    (tmp_path / ".partial-abc.pt").write_bytes(b"half")
    assert load_checkpoint(tmp_path)["step"] == 3
    assert names(tmp_path) == ["step-00000003.pt"]
    assert not (tmp_path / ".partial-abc.pt").exists()
