"""Profiles of workloads: the share of time of each PyTorch operation."""

from typing import NamedTuple

from torch.profiler import ProfilerActivity, profile

from refiner.benchmark.workloads import Workloads

REPEATS = 3
"""Number of runs of each workload in a profile."""


class Operation(NamedTuple):
    """One operation of PyTorch in a profile.

    Attributes:
        name: PyTorch's name of the operation.
        share: fraction of the whole time, without the operations that it calls.
        milliseconds: time in one run of the workload.
    """

    name: str
    share: float
    milliseconds: float


def profile_workloads(workloads: Workloads, *, device: str) -> dict[str, list[Operation]]:
    """Profile workloads.

    Args:
        workloads: workloads by name, see :mod:`refiner.benchmark.workloads`; only PyTorch's operations are profiled.
        device: ``cpu`` or ``cuda``; the time on this device counts.

    Returns:
        The operations of each workload, the slowest first.
    """
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    profiles = {}
    for name, run in workloads.items():
        run()  # the first run compiles and allocates
        with profile(activities=activities) as profiler:
            for _ in range(REPEATS):
                run()
        # Each operation counts without the operations that it calls.
        events = profiler.key_averages()
        attribute = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
        times = {event.key: float(getattr(event, attribute)) for event in events}
        total = sum(times.values())
        profiles[name] = [
            Operation(key, time / total, time / 1000 / REPEATS)
            for key, time in sorted(times.items(), key=lambda item: -item[1])
            if time
        ]
    return profiles
