"""The workloads of the benchmark: networks in every backend, whole jobs, the start of a command, and training steps."""

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
from refiner.config.networks import DiscriminatorSection, RefinerSection
from refiner.config.training import TrainingConfiguration
from refiner.core.devices import choose_precision
from refiner.core.errors import DeviceError, OutputError, UsageError
from refiner.core.rng import torch_generator
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.output.records_writer import write_folder
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters
from refiner.images.io import write_image
from refiner.inference.backends.base import Array
from refiner.inference.backends.batching import batch_size
from refiner.inference.backends.registry import BACKENDS, open_backend
from refiner.models.files.lookup import pretrained_refiners
from refiner.models.files.refiner_file import RefinerFile, load_refiner, save_refiner
from refiner.models.refiner import RefinerNetwork
from refiner.training.methods.build import precision_trial
from refiner.training.methods.simgan import SimGAN

PAPER, PRETRAINED = "paper's network, ", "pretrained refiner, "

NETWORKS = (PAPER, PRETRAINED)
"""Prefixes of the names of measurements, one for each network."""

PLAIN = f"{PAPER}plain fp32"
"""Name of the reference measurement: the network in plain PyTorch, as public implementations run it."""

TRAINING_BATCH = 64
"""Number of images in a batch of the training steps."""

Workloads = Mapping[str, Callable[[], int]]
"""Functions by name; each runs a workload once and returns the number of its images (or training steps)."""


def benchmark_networks() -> dict[str, RefinerFile]:
    """Return the paper's network and the pretrained demo refiner, by the prefixes :data:`NETWORKS`."""
    return {title: _refiner(title) for title in NETWORKS}


def network_workloads(
    device: str,
    size: tuple[int, int],
    networks: Mapping[str, RefinerFile],
    plain: Callable[[tuple[int, ...], str], Callable[[], int]] = PlainNetwork,
) -> tuple[dict[str, Callable[[], int]], dict[str, str]]:
    """Return one workload for each network and backend: a batch from CPU memory to CPU memory, as in refining.

    Args:
        device: ``cpu`` or ``cuda``.
        size: (height, width) of the images in pixels.
        networks: grey networks by the prefixes of the names of their measurements.
        plain: returns the workload of :data:`PLAIN` for a batch shape and a device.

    Returns:
        The workloads, :data:`PLAIN` first, and reasons by backend that cannot be measured.
    """
    batches = {title: _batch(network, device, size) for title, network in networks.items()}
    workloads: dict[str, Callable[[], int]] = {PLAIN: plain(_batch(_refiner(PAPER), device, size).shape, device)}
    absent = {}
    for name in BACKENDS:
        for title, network in networks.items():
            # Run each backend once, so that one that fails is left out of the measurement.
            try:
                backend = open_backend(name, network, device=device)
                backend(batches[title])
            except (DeviceError, UsageError) as error:
                absent[name] = str(error)
            except Exception as error:  # each library raises exceptions of its own
                absent[name] = f"it fails here ({' '.join(str(error).split())[:200]})"
            else:
                images = np.concatenate([batches[title]] * backend.parallel_batches)
                workloads[title + name] = partial(_run, backend, images)
    return workloads, absent


def _batch(network: RefinerFile, device: str, size: tuple[int, int]) -> Array:
    shape = (batch_size(network.architecture, *size, device), 1, *size)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def _refiner(title: str) -> RefinerFile:
    return load_refiner(pretrained_refiners()["demo"]) if title == PRETRAINED else RefinerFile.of(RefinerNetwork())


def _run(compute: Callable[[Array], Array], images: Array) -> int:
    return len(compute(images))


class Job(NamedTuple):
    """The workload of a whole job.

    Attributes:
        run: runs the job once, and returns its number of images.
        title: prefix of the network that it runs, one of :data:`NETWORKS`.
        mib: peak memory of each run, in MiB.
    """

    run: Callable[[], int]
    title: str
    mib: list[float]


def job_workloads(
    folder: Path, device: str, size: tuple[int, int], images: int, backends: Mapping[str, str]
) -> dict[str, Job]:
    """Return whole jobs by name: the command ``refiner refine`` from its start to its end, on a folder and on a store.

    Each run writes to a new place: file systems are slower when files are replaced, or were just removed.

    Args:
        folder: folder for the inputs and the results.
        device: ``cpu`` or ``cuda``.
        size: (height, width) of the images in pixels.
        images: number of images of each job.
        backends: name of the backend for each of :data:`NETWORKS`.
    """
    numbers = itertools.count()

    def refine(source: Path, options: Sequence[str], mib: list[float]) -> int:
        mib.append(run_refine(source, folder / f"{next(numbers)}{source.suffix}", *options))
        return images

    # Render the inputs.
    jobs: dict[str, Job] = {}
    synthetic, store = folder / "synthetic", folder / "renders.h5"
    _render(synthetic, images, size)
    convert(synthetic, store, Conversion())
    # Make two jobs for each network.
    for title in NETWORKS:
        refiner = folder / f"{title.split()[0]}.safetensors"
        save_refiner(refiner, _refiner(title).network(), training={})
        options = ["--refiner", str(refiner), "--device", device, "--backend", backends[title]]
        for name, source in (("folder to folder", synthetic), ("store to store", store)):
            mib: list[float] = []
            jobs[title + name] = Job(partial(refine, source, options, mib), title, mib)
    return jobs


def run_refine(source: Path, out: Path, *options: str) -> float:
    """Run ``refiner refine`` in a process of its own.

    Args:
        source: the folder, store or image to refine.
        out: where the refined images go.
        options: further options of the command.

    Returns:
        Peak memory of the process and its workers together, in MiB.

    Raises:
        OutputError: the command failed.
    """
    command = [sys.executable, "-m", "refiner", "--quiet", "refine", str(source), str(out), *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as job, PeakMemory(job.pid) as memory:
        status = job.wait()
    if status:
        raise OutputError(f"refiner refine failed on {source} with exit status {status}")
    return memory.mib


def _render(folder: Path, count: int, size: tuple[int, int]) -> None:
    parameters = EyeParameters()
    records = rendered_records(parameters, count, seed=0, size=size)
    write_folder(folder, records, count, labelled=True, report=lambda done, total: None)


def startup_workloads() -> dict[str, Callable[[], int]]:
    """Return the start of Python with PyTorch, and the command for one image, each in a new process."""

    def run(*arguments: str) -> int:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return 1

    def refine_one() -> int:
        with tempfile.TemporaryDirectory() as folder:
            render = Path(folder) / "eye.png"
            write_image(render, np.zeros((36, 60), np.uint8))
            return run("-m", "refiner", "refine", str(render), str(render.with_name("r.png")), "--refiner", "demo")

    return {"importing torch": partial(run, "-c", "import torch"), "refining one image, from a cold shell": refine_one}


def training_workloads(device: str, size: tuple[int, int]) -> dict[str, Callable[[], int]]:
    """Return training steps of SimGAN, in fp32 and in the precision that training chooses on this machine.

    A step is one update of the refiner and one of the discriminator.

    Args:
        device: ``cpu`` or ``cuda``.
        size: (height, width) of the images in pixels.
    """
    # The paper's networks, with a history of images as in training.
    configuration = TrainingConfiguration(
        size=size,
        batch_size=TRAINING_BATCH,
        history_size=10 * TRAINING_BATCH,
        refiner=RefinerSection(padding="zeros"),
        discriminator=DiscriminatorSection(padding="zeros"),
    )
    chosen = choose_precision(device, precision_trial(configuration, device))
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
