"""Selection of the fastest backend for a job: a short trial for large jobs, PyTorch for small ones.

The result of a trial is cached and used again. Backends differ by up to a grey level: if timing noise changed the
choice, the same command would write other bytes, and an interrupted job would begin anew.
"""

import contextlib
import json
import logging
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from refiner.inference.backends.base import Array, Backend
from refiner.inference.backends.batching import Extent, batch_size
from refiner.inference.backends.cache import cache_folder, machine_key, write_cached
from refiner.inference.backends.registry import BACKENDS, is_available, open_backend
from refiner.inference.backends.torch_backend import is_compiled
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import RefinerFile

log = logging.getLogger(__name__)

SMALL_JOB_PIXELS = 2000 * 36 * 60
"""Pixels of a job below which no backend saves the few seconds that its preparation takes."""

COMPILING_MULTIPLICATIONS = 5 * 10**13
"""Multiplications of a job below which ``torch.compile``, ten seconds in every process, costs more than it saves."""

ROUNDS = 3
"""Timing rounds of a trial; the median counts."""

ROUND_SECONDS = 0.08
"""Least time of a backend in each round."""

MAX_DIFFERENCE = 2 / 255
"""Largest mean difference from PyTorch's result, one grey level; a correct backend is far closer."""

_TRIAL_SIZE = (144, 240)
"""Largest (height, width) of a trial's images: one such image has the pixels of a whole batch of small ones."""


def choose_backend(extent: Extent, refiner: RefinerFile, *, device: str) -> str:
    """Return the name of the backend for a job.

    The trial uses one thread, whatever the number of worker processes. A folder that grows therefore keeps its backend
    and its finished images, until it is so large that a compiled backend wins.

    Args:
        extent: number and size of the images.
        refiner: the refiner of the job.
        device: ``cpu`` or ``cuda``.
    """
    # Small jobs do not pay for a trial, and other backends run neither on a GPU nor without a network.
    architecture = refiner.architecture
    if extent.pixels < SMALL_JOB_PIXELS or device != "cpu" or not isinstance(architecture, RefinerArchitecture):
        return "torch"
    # Try all installed backends on a batch of the job's size, or take the result of an earlier trial.
    height, width = (min(side, largest) for side, largest in zip(extent.size, _TRIAL_SIZE, strict=True))
    batch = (batch_size(architecture, height, width, "cpu"), architecture.channels, height, width)
    compiling_pays = architecture.multiplications(extent.pixels) >= COMPILING_MULTIPLICATIONS
    names = [name for name in BACKENDS if is_available(name) and (compiling_pays or not is_compiled(name))]
    if extent.deep:  # computed in fp32 in any case
        names = [name for name in names if not name.endswith("-bf16")]
    key = machine_key(str(architecture), batch, names)  # everything that the speed depends on
    return _cached_choice(key) or _run_trial(refiner, batch, names, key)


def _run_trial(refiner: RefinerFile, batch: tuple[int, ...], names: Sequence[str], key: str) -> str:
    """Find the fastest backend and write it to the cache."""
    images = np.random.default_rng(0).uniform(-1, 1, batch).astype(np.float32)
    name = fastest_backend(refiner, images, names).name
    write_cached(_choices_file(), f"{json.dumps({**_read_choices(), key: name}, indent=1)}\n".encode())
    return name


def _cached_choice(key: str) -> str | None:
    """Return the result of an earlier trial on this machine, if that backend is still installed."""
    name = _read_choices().get(key)
    if name is None or not is_available(name):
        return None
    log.info("using backend %s, the fastest in an earlier trial on this machine (%s)", name, _choices_file())
    return name


def _read_choices() -> dict[str, str]:
    try:
        choices = json.loads(_choices_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return choices if isinstance(choices, dict) else {}


def _choices_file() -> Path:
    return cache_folder() / "backends.json"


def fastest_backend(refiner: RefinerFile, images: Array, names: Sequence[str]) -> Backend:
    """Measure backends with one thread and return the fastest.

    Backends that fail, or whose result differs from PyTorch's, are left out with a warning.

    Args:
        refiner: the refiner whose network runs.
        images: one batch, (N, C, H, W), float32, in [-1, 1].
        names: names of the backends, ``torch`` first.
    """
    with _restored_threads():
        return _fastest(list(_correct_backends(refiner, images, names)), images)


def _correct_backends(refiner: RefinerFile, images: Array, names: Sequence[str]) -> Iterator[Backend]:
    """Open the backends whose result agrees with the first one's, PyTorch's."""
    expected: Array | None = None
    for name in names:
        # Open the backend and run it once; this also warms it up.
        try:
            backend = open_backend(name, refiner, device="cpu", threads=1)
            refined = backend(images)
        except Exception as error:  # each library raises exceptions of its own
            if expected is None:
                raise
            log.warning("backend %s is left out: it fails here (%s)", name, " ".join(str(error).split())[:200])
            continue
        # Compare with PyTorch: some libraries compute wrong results on some processors.
        expected = refined if expected is None else expected
        difference = float(np.abs(refined - expected).mean())
        if difference <= MAX_DIFFERENCE:  # False for NaN
            yield backend
        else:
            levels = difference / 2 * 255
            log.warning("backend %s is left out: its result differs from torch by %.1f grey levels", name, levels)


@contextlib.contextmanager
def _restored_threads() -> Iterator[None]:
    """Restore the number of PyTorch's threads when the block ends."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fastest(backends: Sequence[Backend], images: Array) -> Backend:
    rates: dict[str, list[float]] = {backend.name: [] for backend in backends}
    # Interleave the backends, so that a busy moment of the machine slows all of them.
    for _ in range(ROUNDS):
        for backend in backends:
            batches = np.concatenate([images] * backend.parallel_batches)
            start, count = time.perf_counter(), 0
            while not count or time.perf_counter() - start < ROUND_SECONDS:
                count += len(backend(batches))
            rates[backend.name].append(count / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    best = max(backends, key=lambda backend: medians[backend.name])
    ranking = ", ".join(f"{name} {rate:,.0f}" for name, rate in sorted(medians.items(), key=lambda item: -item[1]))
    log.info("using backend %s, the fastest in a trial (images a second): %s", best.name, ranking)
    return best
