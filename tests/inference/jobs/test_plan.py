"""The number of worker processes for a job."""

import pytest

from refiner.inference.backends.batching import Extent
from refiner.inference.jobs import plan
from refiner.inference.jobs.plan import workers_for
from refiner.models.architecture import RefinerArchitecture


def test_processes_are_as_many_as_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plan.processor(), "cores", 8)
    paper, half = RefinerArchitecture(), RefinerArchitecture(features=32, unshuffle=2)
    eyes = (36, 60)
    assert [workers_for(Extent(count, eyes), paper, "cpu") for count in (0, 1, 300, 1000, 100_000)] == [1, 1, 1, 4, 8]
    assert [workers_for(Extent(count, eyes), half, "cpu") for count in (1000, 5000, 100_000)] == [1, 2, 8]
    assert workers_for(Extent(1000, (72, 120)), paper, "cpu") == 8
    assert [workers_for(Extent(count, eyes), half, "cuda") for count in (1000, 5000, 100_000)] == [1, 2, 4]
