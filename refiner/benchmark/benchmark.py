"""The benchmark: rates of refining and training, and their ratios to the paper's network in plain fp32.

Machines are noisy. Measurements that are compared are therefore interleaved, and each is the median of its repeats,
reported with the lowest and highest.
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
    Workloads,
    benchmark_networks,
    job_workloads,
    network_workloads,
    startup_workloads,
    training_workloads,
)
from refiner.core.devices import resolve_device

JOB_REPEATS = 3
"""Largest number of repeats of whole jobs, which take long and vary less."""

Report = Callable[[int, int, str], None]
"""Called with the number of finished measurements, of all measurements, and the name of the next."""


@dataclass(frozen=True)
class Rate:
    """The result of one measurement.

    Attributes:
        name: name of the measurement.
        median, low, high: images (or training steps) a second: median, lowest and highest of the repeats.
        ratio: the median divided by the median of the reference.
        against: name of the reference measurement.
    """

    name: str
    median: float
    low: float
    high: float
    ratio: float
    against: str


@dataclass(frozen=True)
class Benchmark:
    """The results of a benchmark.

    Attributes:
        device: ``cpu`` or ``cuda``.
        size: (height, width) of the images in pixels.
        rates: rates of networks, of whole jobs, of the start of a command, and of training.
        absent: reasons by backend that was not measured.
        job_mib: peak memory of all processes of a whole job, in MiB; see :mod:`refiner.benchmark.peak_memory`.
        card_mib: peak GPU memory in MiB; None on the CPU.
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
    """Measure the networks in every backend, whole jobs, the start of a command, and a training step.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        size: (height, width) of the images in pixels.
        images: number of images in the folder and the store of the whole jobs.
        repeats: number of repeats of each measurement; whole jobs have at most :data:`JOB_REPEATS`.
        seconds: shortest time of a measurement of a network or of training.
        report: called before each measurement.

    Raises:
        DeviceError: the device is not available.
        OutputError: a process of a measurement failed.
    """
    # Prepare the workloads.
    device = resolve_device(device)
    networks, absent = network_workloads(device, size, benchmark_networks())
    training, startup = training_workloads(device, size), startup_workloads()
    jobs_repeats = min(repeats, JOB_REPEATS)
    total = repeats * (len(networks) + len(training) + len(startup)) + jobs_repeats * 2 * len(NETWORKS)
    done = 0

    def report_next(name: str) -> None:
        nonlocal done
        report(done, total, name)
        done += 1

    def sync_and_report_next(name: str) -> None:
        os.sync()  # or the system would still be writing the files of the job before
        report_next(name)

    # Measure the networks in each backend.
    rates = compare(networks, repeats, seconds, report_next)
    fastest = {title: _fastest(rates, title) for title in NETWORKS}
    # Measure the start of a command, and training.
    rates |= compare(startup, repeats, 0.0, report_next) | compare(training, repeats, seconds, report_next)
    # Measure whole jobs, each network in its fastest backend.
    with tempfile.TemporaryDirectory() as folder:
        backends = {title: name.removeprefix(title) for title, name in fastest.items()}
        jobs = job_workloads(Path(folder), device, size, images, backends)
        rates |= compare({name: job.run for name, job in jobs.items()}, jobs_repeats, 0.0, sync_and_report_next)
    report(total, total, "")
    # Divide each median by that of its reference.
    against = {
        **dict.fromkeys(networks, PLAIN),
        **dict.fromkeys(startup, next(iter(startup))),
        **dict.fromkeys(training, next(iter(training))),
        **{name: fastest[job.title] for name, job in jobs.items()},
    }
    results = [_rate(name, rates[name], against[name], rates[against[name]]) for name in rates]
    gpu_mib = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None
    return Benchmark(device, size, results, absent, max(max(job.mib) for job in jobs.values()), gpu_mib)


def _fastest(rates: Mapping[str, list[float]], title: str) -> str:
    """Return the name of a network's fastest measurement."""
    names = [name for name in rates if name.startswith(title) and name != PLAIN]
    return max(names, key=lambda name: statistics.median(rates[name]))


def compare(
    workloads: Workloads, repeats: int, seconds: float, before_each: Callable[[str], None]
) -> dict[str, list[float]]:
    """Measure the rates of workloads, interleaved.

    Args:
        workloads: workloads by name.
        repeats: number of repeats of each.
        seconds: shortest time of a repeat; 0 runs the workload once for each repeat, without warming up.
        before_each: called with the name before each measurement.

    Returns:
        Images (or training steps) a second, a list over the repeats, by name.
    """
    rates: dict[str, list[float]] = {name: [] for name in workloads}
    for repeat in range(repeats):
        for name, run in workloads.items():
            before_each(name)
            # Warm up: the first run compiles and allocates.
            if not repeat and seconds:
                run()
            # Run until the time is up.
            start, count = time.perf_counter(), 0
            while not count or time.perf_counter() - start < seconds:
                count += run()
            rates[name].append(count / (time.perf_counter() - start))
    return rates


def _rate(name: str, rates: list[float], against: str, reference: list[float]) -> Rate:
    median = statistics.median(rates)
    return Rate(name, median, min(rates), max(rates), median / statistics.median(reference), against)
