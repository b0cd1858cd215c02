"""What the benchmark measures: networks by every backend, whole jobs, the start of a command, and steps of training."""

import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from refiner.benchmark.baseline import PlainNetwork
from refiner.benchmark.peak_memory import PeakMemory
from refiner.config.training import TrainingConfiguration
from refiner.core.devices import choose_precision, keep_freed_memory
from refiner.core.errors import DeviceError, OutputError
from refiner.core.rng import torch_generator
from refiner.data.convert import Conversion, convert
from refiner.data.output.records_writer import write_folder
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters
from refiner.images.io import write_image
from refiner.inference.backends.base import Array
from refiner.inference.backends.batching import batch_size
from refiner.inference.backends.registry import BACKENDS, open_backend
from refiner.models.lookup import pretrained_refiners
from refiner.models.refiner import RefinerNetwork
from refiner.models.refiner_file import RefinerFile, load_refiner, save_refiner
from refiner.training.methods.build import training_trial
from refiner.training.methods.simgan import SimGAN

PAPER, PRETRAINED = "paper's network, ", "pretrained refiner, "

NETWORKS = (PAPER, PRETRAINED)
"""How the names of measurements begin, by network."""

PLAIN = f"{PAPER}plain fp32"
"""What all ratios are to: PyTorch as it comes, which is what public implementations do."""

TRAINING_BATCH = 64

Work = Mapping[str, Callable[[], int]]
"""By name, what does a little of it and says of how many images (or steps)."""


def own_networks() -> dict[str, RefinerFile]:
    """The paper's network and the ready refiner, by how the names of their measurements begin."""
    return {title: _refiner(title) for title in NETWORKS}


def network_work(
    device: str,
    size: tuple[int, int],
    networks: Mapping[str, RefinerFile],
    plain: Callable[[tuple[int, ...], str], Callable[[], int]] = PlainNetwork,
) -> tuple[dict[str, Callable[[], int]], dict[str, str]]:
    """Each network by each backend, from and to the memory of the processor, in the batches that refining takes.

    Args:
        device: ``cpu`` or ``cuda``.
        size: (height, width) of the images.
        networks: grey, by how the names of their measurements begin.
        plain: makes the work of :data:`PLAIN` for a shape of batches and a device.

    Returns:
        The work, :data:`PLAIN` first, and why a backend is absent.
    """
    keep_freed_memory()  # as refining does
    batches = {title: _batch(network, device, size) for title, network in networks.items()}
    work: dict[str, Callable[[], int]] = {PLAIN: plain(_batch(_refiner(PAPER), device, size).shape, device)}
    absent = {}
    for name in BACKENDS:
        for title, network in networks.items():
            try:
                backend = open_backend(name, network, device=device)
                backend(batches[title])
            except DeviceError as error:
                absent[name] = str(error)
            except Exception as error:  # each library has its own
                absent[name] = f"it fails here ({' '.join(str(error).split())[:200]})"
            else:
                work[title + name] = partial(_run, backend, np.concatenate([batches[title]] * backend.side_by_side))
    return work, absent


def _batch(network: RefinerFile, device: str, size: tuple[int, int]) -> Array:
    shape = (batch_size(network.architecture, *size, device), 1, *size)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def _refiner(title: str) -> RefinerFile:
    return load_refiner(pretrained_refiners()["demo"]) if title == PRETRAINED else RefinerFile.of(RefinerNetwork())


def _run(compute: Callable[[Array], Array], images: Array) -> int:
    return len(compute(images))


class Job(NamedTuple):
    """A whole job.

    Attributes:
        run: does it once, and says of how many images.
        title: of the network that it runs.
        mib: the largest memory of each time, in MiB.
    """

    run: Callable[[], int]
    title: str
    mib: list[float]


def job_work(
    folder: Path, device: str, size: tuple[int, int], images: int, backends: Mapping[str, str]
) -> dict[str, Job]:
    """Whole jobs, by name: the command from its start to its end, which reads, refines, measures drift and writes.

    Each writes a place of its own: a file system takes longer to write over files, or where files were just removed.
    """
    numbers = itertools.count()

    def refine(source: Path, options: Sequence[str], mib: list[float]) -> int:
        mib.append(run_refine(source, folder / f"{next(numbers)}{source.suffix}", *options))
        return images

    jobs: dict[str, Job] = {}
    synthetic, store = folder / "synthetic", folder / "renders.h5"
    _render(synthetic, images, size)
    convert(synthetic, store, Conversion())
    for title in NETWORKS:
        refiner = folder / f"{title.split()[0]}.safetensors"
        save_refiner(refiner, _refiner(title).network(), training={})
        options = ["--refiner", str(refiner), "--device", device, "--backend", backends[title]]
        for name, source in (("folder to folder", synthetic), ("store to store", store)):
            mib: list[float] = []
            jobs[title + name] = Job(partial(refine, source, options, mib), title, mib)
    return jobs


def run_refine(source: Path, out: Path, *options: str) -> float:
    """Run ``refiner refine`` in a process of its own; gives the largest memory of it and its workers, in MiB.

    Raises:
        OutputError: it failed.
    """
    command = [sys.executable, "-m", "refiner", "--quiet", "refine", str(source), str(out), *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as job, PeakMemory(job.pid) as memory:
        status = job.wait()
    if status:
        raise OutputError(f"{source}: refiner refine ended with status {status}")
    return memory.mib


def _render(folder: Path, count: int, size: tuple[int, int]) -> None:
    parameters = EyeParameters()
    records = rendered_records(parameters, count, seed=0, size=size)
    write_folder(folder, records, count, labelled=True, report=_unheard)


def _unheard(done: int, total: int) -> None:
    """Preparations are not reported."""


def start_work() -> dict[str, Callable[[], int]]:
    """A command from a cold shell, beside what it cannot do without."""

    def run(*arguments: str) -> int:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return 1

    def refine_one() -> int:
        with tempfile.TemporaryDirectory() as folder:
            render = Path(folder) / "eye.png"
            write_image(render, np.zeros((36, 60), np.uint8))
            return run("-m", "refiner", "refine", str(render), str(render.with_name("r.png")), "--refiner", "demo")

    return {"importing torch": partial(run, "-c", "import torch"), "refining one image, from a cold shell": refine_one}


def training_work(device: str, size: tuple[int, int]) -> dict[str, Callable[[], int]]:
    """An update of both of the paper's networks, in fp32 and in the precision that training chooses here."""
    configuration = TrainingConfiguration(size=size, batch_size=TRAINING_BATCH, history_size=10 * TRAINING_BATCH)
    chosen = choose_precision(device, training_trial(configuration, device))
    return {
        f"training step of batch {TRAINING_BATCH}, {precision}": _step(configuration, device, precision)
        for precision in dict.fromkeys(("fp32", chosen))
    }


def _step(configuration: TrainingConfiguration, device: str, precision: str) -> Callable[[], int]:
    method = SimGAN(configuration, device=device, precision=precision)
    generator = torch_generator(0, "benchmark")
    shape = (configuration.batch_size, configuration.channels, *configuration.size)
    synthetic, real = (torch.rand(shape, generator=generator) * 2 - 1 for _ in range(2))

    def step() -> int:
        method.update_refiner(synthetic, generator)
        method.update_discriminator(synthetic, real, generator)
        if device == "cuda":
            torch.cuda.synchronize()
        return 1

    return step
