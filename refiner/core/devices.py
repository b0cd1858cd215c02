"""Devices, threads, and the precision worth computing in."""

import contextlib
import ctypes
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from refiner.core.environment import processor
from refiner.core.errors import DeviceError

REFUTED = 4.0
"""How many times slower than fp32 a trial of bf16 must be to show that it is emulated after all."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD = -1, -3, 2**25  # of glibc's malloc.h


def resolve_device(name: str) -> str:
    """``cpu`` or ``cuda`` from ``auto``, ``cpu`` or ``cuda``.

    Raises:
        DeviceError: cuda is asked for and absent.
    """
    available = name != "cpu" and _has_card()
    if name == "cuda" and not available:
        raise DeviceError("--device cuda: no CUDA device is usable here; take --device cpu")
    return "cuda" if available else "cpu"


def _has_card() -> bool:
    """Whether torch can use one; where there is no driver it is not asked, for importing it takes seconds."""
    if sys.platform == "linux" and not (_is_loadable("libcuda.so.1") or Path("/dev/kfd").exists()):  # NVIDIA, AMD
        return False
    import torch

    return torch.cuda.is_available()


def _is_loadable(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def default_threads() -> int:
    """Threads of an engine that is not told how many: those of ``OMP_NUM_THREADS``, else one for each usable core."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) > 0 else int(processor()["cores"])


def keep_freed_memory() -> None:
    """Let the C library hand freed memory out again instead of giving it back to the system.

    Every step of a training asks for the same large blocks. Given back, each page of them is cleared anew by the
    system. Where there is no glibc, nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        set_option(_TRIM_THRESHOLD, 2**31 - 1)


def computes_bf16(device: str) -> bool:
    """Whether bf16 is arithmetic of the hardware; emulated, it is many times slower than fp32."""
    if device == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool({"avx512_bf16", "amx_bf16"} & set(processor()["features"]))


def choose_precision(device: str, trial: Callable[[str], Any]) -> str:
    """``bf16`` where the hardware computes it and a trial does not refute it, else ``fp32``.

    Native bf16 is up to several times faster, emulated bf16 twelve times slower. The trial only has to tell these
    two apart, with a wide margin: were the faster one taken, the noise of a busy machine would choose now this,
    now that for a small network, and equal commands would give different bits.

    Args:
        device: ``cpu`` or ``cuda``.
        trial: does a little of the real work at the precision it is given.
    """
    if not computes_bf16(device):
        return "fp32"
    seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for repeat in range(4):  # interleaved, so that a busy moment hits both; the first round warms up
        for precision, times in seconds.items():
            start = time.perf_counter()
            trial(precision)
            if repeat:
                times.append(time.perf_counter() - start)
    return "bf16" if statistics.median(seconds["bf16"]) < REFUTED * statistics.median(seconds["fp32"]) else "fp32"
