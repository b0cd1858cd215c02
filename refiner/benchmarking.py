"""How fast this machine refines and trains: each figure a ratio to the plain fp32 paper network of the same run.

Machines are noisy, so what is compared takes turns, and medians are told with their spread.
"""

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from refiner.backends import BACKENDS, open_backend
from refiner.batch_refinement import refine_path
from refiner.configuration import TrainingConfiguration
from refiner.conversion import Conversion, convert
from refiner.errors import DeviceError
from refiner.eyes import EyeParameters
from refiner.eyes.writing import rendered_records, write_folder
from refiner.game import Game, training_trial
from refiner.hardware import choose_precision, resolve_device
from refiner.networks import RefinerNetwork
from refiner.randomness import torch_generator
from refiner.refinement import batch_size
from refiner.refiner_files import load_refiner, ready_refiners

PLAIN = "paper's network, plain fp32"
"""What all ratios are to: PyTorch as it comes, which is what public implementations do."""

READY = "ready refiner, "
"""How the measurements of the refiner that comes along begin; the backend follows."""

TRAINING_BATCH = 64

_JOBS = ("folder to folder", "store to store")

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
        peak_mib: largest memory of this process, in MiB; on the card where that is the device.
    """

    device: str
    size: tuple[int, int]
    rates: list[Rate]
    absent: dict[str, str]
    peak_mib: float


def benchmark(
    *,
    device: str = "auto",
    size: tuple[int, int] = (36, 60),
    images: int = 2000,
    repeats: int = 5,
    seconds: float = 1.0,
    report: Report = lambda done, total, note: None,
) -> Benchmark:
    """Measure the networks by every backend, folder to folder, store to store, and a step of training.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        size: (height, width) of the images.
        images: in the folder and in the store.
        repeats: of each measurement, taking turns.
        seconds: that each measurement of a network or of training takes at least.
        report: told of each measurement.
    """
    device = resolve_device(device)
    networks, absent = _network_work(device, size)
    training = _training_work(device, size)
    total, done = repeats * (len(networks) + len(training) + len(_JOBS)), 0

    def turn(name: str) -> None:
        nonlocal done
        report(done, total, name)
        done += 1

    found = _compare(networks, repeats, seconds, turn)
    own = max((name for name in found if name.startswith(READY)), key=lambda name: statistics.median(found[name]))
    found |= _compare(training, repeats, seconds, turn)
    with tempfile.TemporaryDirectory() as folder:
        jobs = _job_work(Path(folder), device, size, images, backend=own.removeprefix(READY))
        found |= _compare(jobs, repeats, 0.0, turn)
    report(total, total, "")
    against = dict.fromkeys(networks, PLAIN) | dict.fromkeys(training, next(iter(training))) | dict.fromkeys(jobs, own)
    rates = [_rate(name, found[name], against[name], found[against[name]]) for name in found]
    return Benchmark(device, size, rates, absent, _peak_mib(device))


Work = Mapping[str, Callable[[], int]]
"""By name, what does a little of it and says of how many images (or steps)."""


def _compare(work: Work, repeats: int, seconds: float, turn: Callable[[str], None]) -> dict[str, list[float]]:
    """Rates of each, taking turns."""
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


# --- what is measured ----------------------------------------------------------------------------------------------


def _network_work(device: str, size: tuple[int, int]) -> tuple[dict[str, Callable[[], int]], dict[str, str]]:
    """Each network by each backend, from and to the memory of the processor, in the batches that refining takes."""
    shape = (batch_size(*size, device), 1, *size)
    images = torch.rand(shape, generator=torch_generator(0, "benchmark")) * 2 - 1
    work: dict[str, Callable[[], int]] = {PLAIN: partial(_run, _plain(device), images)}
    absent = {}
    for name in BACKENDS:
        for title, network in (("paper's network, ", RefinerNetwork().eval()), (READY, load_refiner(_ready()).network)):
            try:
                backend = open_backend(name, network, device=device)
            except DeviceError as error:
                absent[name] = str(error)
                continue
            work[title + name] = partial(_run, backend, torch.cat([images] * backend.side_by_side))
    return work, absent


def _ready() -> Path:
    return ready_refiners()["stand-in"]


def _plain(device: str) -> Callable[[Tensor], Tensor]:
    network = RefinerNetwork().to(device).eval()
    return lambda images: network(images.to(device)).cpu()


@torch.inference_mode()
def _run(compute: Callable[[Tensor], Tensor], images: Tensor) -> int:
    return len(compute(images))


def _job_work(
    folder: Path, device: str, size: tuple[int, int], count: int, *, backend: str
) -> dict[str, Callable[[], int]]:
    """Whole jobs with the ready refiner: reading, refining, drift and writing."""
    renders, store = folder / "renders", folder / "renders.h5"
    parameters = EyeParameters()
    write_folder(renders, rendered_records(parameters, count, seed=0, size=size), count, labelled=True, report=_unheard)
    convert(renders, store, Conversion())

    def refine(source: Path, out: Path) -> int:
        return refine_path(source, out, _ready(), device=device, backend=backend, overwrite=True).refined

    places = ((renders, folder / "refined"), (store, folder / "refined.h5"))
    return {name: partial(refine, *place) for name, place in zip(_JOBS, places, strict=True)}


def _unheard(done: int, total: int) -> None:
    """Preparations are not reported."""


def _training_work(device: str, size: tuple[int, int]) -> dict[str, Callable[[], int]]:
    """An update of both of the paper's networks, in fp32 and in the precision that training chooses here."""
    configuration = TrainingConfiguration(size=size, batch_size=TRAINING_BATCH, history_size=10 * TRAINING_BATCH)
    chosen = choose_precision(device, training_trial(configuration, device))
    return {
        f"training step of batch {TRAINING_BATCH}, {precision}": _step(configuration, device, precision)
        for precision in dict.fromkeys(("fp32", chosen))
    }


def _step(configuration: TrainingConfiguration, device: str, precision: str) -> Callable[[], int]:
    game = Game(configuration, device=device, precision=precision)
    generator = torch_generator(0, "benchmark")
    shape = (configuration.batch_size, configuration.channels, *configuration.size)
    renders, photographs = (torch.rand(shape, generator=generator) * 2 - 1 for _ in range(2))

    def step() -> int:
        game.update_refiner(renders, generator)
        game.update_discriminator(renders, photographs, generator)
        if device == "cuda":
            torch.cuda.synchronize()
        return 1

    return step


def _peak_mib(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
