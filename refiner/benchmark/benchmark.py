"""How fast this machine refines and trains: each figure a ratio to the plain fp32 paper network of the same run.

Machines are noisy, so what is compared takes turns, and medians are told with their spread.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from refiner.benchmark.workloads import (
    NETWORKS,
    PLAIN,
    Work,
    job_work,
    network_work,
    own_networks,
    start_work,
    training_work,
)
from refiner.core.devices import resolve_device

JOB_REPEATS = 3
"""Of whole jobs at most: they are long, and steadier."""

Report = Callable[[int, int, str], None]
"""Told how many of how many measurements are done, and which comes next."""


@dataclass(frozen=True)
class Rate:
    """How fast something goes.

    Attributes:
        name: what.
        median, low, high: images (or steps) a second, over the repeats.
        ratio: of the median to that of the plain fp32 paper network, or of what ``against`` names.
        against: what the ratio is to.
    """

    name: str
    median: float
    low: float
    high: float
    ratio: float
    against: str


@dataclass(frozen=True)
class Benchmark:
    """What a machine does.

    Attributes:
        device: ``cpu`` or ``cuda``.
        size: (height, width) of the images.
        rates: of networks, of whole jobs and of training.
        absent: backends that were not measured, and why.
        job_mib: largest memory of all processes of a whole job, in MiB; see :mod:`refiner.benchmark.peak_memory`.
        card_mib: largest memory on the card, where that is the device.
    """

    device: str
    size: tuple[int, int]
    rates: list[Rate]
    absent: dict[str, str]
    job_mib: float
    card_mib: float | None


def benchmark(
    *,
    device: str = "auto",
    size: tuple[int, int] = (36, 60),
    images: int = 20_000,
    repeats: int = 5,
    seconds: float = 1.0,
    report: Report = lambda done, total, note: None,
) -> Benchmark:
    """Measure the networks by every backend, whole jobs, the start of a command, and a step of training.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        size: (height, width) of the images.
        images: in the folder and in the store.
        repeats: of each measurement, taking turns; of whole jobs at most :data:`JOB_REPEATS`.
        seconds: that each measurement of a network or of training takes at least.
        report: told of each measurement.
    """
    device = resolve_device(device)
    networks, absent = network_work(device, size, own_networks())
    training, start = training_work(device, size), start_work()
    jobs_repeats = min(repeats, JOB_REPEATS)
    total = repeats * (len(networks) + len(training) + len(start)) + jobs_repeats * 2 * len(NETWORKS)
    done = 0

    def turn(name: str) -> None:
        nonlocal done
        report(done, total, name)
        done += 1

    def settled(name: str) -> None:
        os.sync()  # or the system would still be writing the files of the job before
        turn(name)

    found = compare(networks, repeats, seconds, turn)
    own = {title: _fastest(found, title) for title in NETWORKS}
    found |= compare(start, repeats, 0.0, turn) | compare(training, repeats, seconds, turn)
    with tempfile.TemporaryDirectory() as folder:
        jobs = job_work(Path(folder), device, size, images, {title: own[title].removeprefix(title) for title in own})
        found |= compare({name: job.run for name, job in jobs.items()}, jobs_repeats, 0.0, settled)
    report(total, total, "")
    against = {
        **dict.fromkeys(networks, PLAIN),
        **dict.fromkeys(start, next(iter(start))),
        **dict.fromkeys(training, next(iter(training))),
        **{name: own[job.title] for name, job in jobs.items()},
    }
    rates = [_rate(name, found[name], against[name], found[against[name]]) for name in found]
    card = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None
    return Benchmark(device, size, rates, absent, max(max(job.mib) for job in jobs.values()), card)


def _fastest(found: Mapping[str, list[float]], title: str) -> str:
    """The measurement of a network by the backend that does best."""
    names = [name for name in found if name.startswith(title) and name != PLAIN]
    return max(names, key=lambda name: statistics.median(found[name]))


def compare(work: Work, repeats: int, seconds: float, turn: Callable[[str], None]) -> dict[str, list[float]]:
    """Rates of each, taking turns.

    Args:
        work: by name.
        repeats: of each.
        seconds: that each repeat takes at least; 0 does it once, and without warming up.
        turn: told the name before each.
    """
    found: dict[str, list[float]] = {name: [] for name in work}
    for repeat in range(repeats):
        for name, some in work.items():
            turn(name)
            if not repeat and seconds:
                some()  # the first time compiles and allocates
            start, count = time.perf_counter(), 0
            while not count or time.perf_counter() - start < seconds:
                count += some()
            found[name].append(count / (time.perf_counter() - start))
    return found


def _rate(name: str, rates: list[float], against: str, others: list[float]) -> Rate:
    median = statistics.median(rates)
    return Rate(name, median, min(rates), max(rates), median / statistics.median(others), against)
