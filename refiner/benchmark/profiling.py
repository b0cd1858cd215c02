"""Where the time goes: the operations of a piece of work, by what each takes itself."""

from typing import NamedTuple

from torch.profiler import ProfilerActivity, profile

from refiner.benchmark.workloads import Work

REPEATS = 3


class Operation(NamedTuple):
    """One operation of PyTorch.

    Attributes:
        name: as PyTorch has it.
        share: of the time of all operations, without those that it calls.
        milliseconds: for a repeat.
    """

    name: str
    share: float
    milliseconds: float


def profile_work(work: Work, *, device: str) -> dict[str, list[Operation]]:
    """The operations of each, those that take most first.

    Args:
        work: by name, see :mod:`refiner.benchmark.workloads`; only what PyTorch computes is seen.
        device: ``cpu`` or ``cuda``, whose time is told.
    """
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    found = {}
    for name, some in work.items():
        some()  # the first time compiles and allocates
        with profile(activities=activities) as profiler:
            for _ in range(REPEATS):
                some()
        events = profiler.key_averages()
        attribute = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
        times = {event.key: float(getattr(event, attribute)) for event in events}
        total = sum(times.values())
        found[name] = [
            Operation(key, time / total, time / 1000 / REPEATS)
            for key, time in sorted(times.items(), key=lambda item: -item[1])
            if time
        ]
    return found
