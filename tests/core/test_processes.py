"""Which of several processes writes for all."""

import pytest

from refiner.core.processes import is_main_process


@pytest.mark.parametrize(("rank", "is_main"), [(None, True), ("0", True), ("1", False)])
def test_the_first_process_writes_for_all(rank: str | None, is_main: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert is_main_process() == is_main
