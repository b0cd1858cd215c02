"""Which backend refines a job: the one that a trial finds fastest here, and torch where there is little to do.

What a trial chose is kept in the user's cache and taken again: backends differ by up to a grey level, so that a choice
that swung with the noise of the machine would give other bytes, and a job that goes on would begin anew.
"""

import contextlib
import json
import logging
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from refiner.inference.backends import cache
from refiner.inference.backends.base import Array, Backend
from refiner.inference.backends.batching import Extent, batch_size
from refiner.inference.backends.registry import BACKENDS, is_available, open_backend
from refiner.inference.backends.torch_backend import is_compiled
from refiner.models.refiner_file import RefinerFile

log = logging.getLogger(__name__)

SMALL = 2000 * 36 * 60
"""Pixels of a job below which another backend would not make up for its preparation, of a few seconds."""

COMPILING = 5 * 10**13
"""Multiplications of a job below which compiling by torch, ten seconds of every process, takes more than it gives."""

ROUNDS, ROUND_SECONDS = 3, 0.08

FARTHEST = 2 / 255
"""From what torch computes, of all pixels in the mean: one grey level. Backends that are sound agree far better."""

_TRIAL = (144, 240)
"""Largest (height, width) of a trial's images: one such has the pixels of a whole batch of small ones."""


def backend_for(extent: Extent, refiner: RefinerFile, *, device: str) -> str:
    """The name of the backend to refine a job with, as one thread finds it.

    A folder that grows keeps its backend, and its results, however many processes come to share the cores; unless it
    grows so large that compiling pays, and wins.

    Args:
        extent: of the job.
        refiner: that refines it.
        device: ``cpu`` or ``cuda``.
    """
    if extent.pixels < SMALL or device != "cpu":
        return "torch"
    height, width = (min(side, largest) for side, largest in zip(extent.size, _TRIAL, strict=True))
    architecture = refiner.architecture
    batch = (batch_size(architecture, height, width, "cpu"), architecture.channels, height, width)
    compiling = architecture.multiplications(extent.pixels) >= COMPILING
    names = [name for name in BACKENDS if is_available(name) and (compiling or not is_compiled(name))]
    key = cache.machine_key(str(architecture), batch, names)  # all that speed depends on
    return _remembered(key) or _tried(refiner, batch, names, key)


def _tried(refiner: RefinerFile, batch: tuple[int, ...], names: Sequence[str], key: str) -> str:
    images = np.random.default_rng(0).uniform(-1, 1, batch).astype(np.float32)
    name = fastest_backend(refiner, images, names).name
    cache.keep(_cache(), f"{json.dumps({**_choices(), key: name}, indent=1)}\n".encode())
    return name


def _remembered(key: str) -> str | None:
    """What an earlier trial on this machine chose, as long as it is still there."""
    name = _choices().get(key)
    if name is None or not is_available(name):
        return None
    log.info("backend %s, as a trial on this machine found (%s)", name, _cache())
    return name


def _choices() -> dict[str, str]:
    try:
        found = json.loads(_cache().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _cache() -> Path:
    return cache.cache_folder() / "backends.json"


def fastest_backend(refiner: RefinerFile, images: Array, names: Sequence[str]) -> Backend:
    """The backend that is fastest here with one thread, by a short trial.

    Args:
        refiner: whose network is tried.
        images: a batch, (N, C, H, W), as refining takes them.
        names: of the backends that are tried, ``torch`` first.
    """
    with _own_threads():
        return _fastest(list(_sound_backends(refiner, images, names)), images)


def _sound_backends(refiner: RefinerFile, images: Array, names: Sequence[str]) -> Iterator[Backend]:
    """Those that give what torch gives: not every library computes all that a processor promises."""
    expected: Array | None = None
    for name in names:
        try:
            backend = open_backend(name, refiner, device="cpu", threads=1)
            refined = backend(images)
        except Exception as error:  # each library has its own
            if expected is None:
                raise
            log.warning("backend %s is left out: it fails here (%s)", name, " ".join(str(error).split())[:200])
            continue
        expected = refined if expected is None else expected
        apart = float(np.abs(refined - expected).mean())
        if apart <= FARTHEST:  # not so if it is not a number
            yield backend
        else:
            log.warning("backend %s is left out: it is %.1f grey levels from torch here", name, apart / 2 * 255)


@contextlib.contextmanager
def _own_threads() -> Iterator[None]:
    """Give torch back the threads that it had."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fastest(backends: Sequence[Backend], images: Array) -> Backend:
    rates: dict[str, list[float]] = {backend.name: [] for backend in backends}
    for _ in range(ROUNDS):  # taking turns, so that a busy moment hits all
        for backend in backends:
            batches = np.concatenate([images] * backend.side_by_side)
            start, count = time.perf_counter(), 0
            while not count or time.perf_counter() - start < ROUND_SECONDS:
                count += len(backend(batches))
            rates[backend.name].append(count / (time.perf_counter() - start))
    medians = {name: statistics.median(some) for name, some in rates.items()}
    best = max(backends, key=lambda backend: medians[backend.name])
    told = ", ".join(f"{name} {rate:,.0f}" for name, rate in sorted(medians.items(), key=lambda item: -item[1]))
    log.info("backend %s, the fastest of (images a second): %s", best.name, told)
    return best
