"""Choice of device, thread count and numerical precision."""

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

EMULATION_SLOWDOWN = 4.0
"""Ratio of bf16 time to fp32 time from which on bf16 counts as emulated."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD = -1, -3, 2**25  # from glibc's malloc.h


def resolve_device(name: str) -> str:
    """Return ``cpu`` or ``cuda`` for a device name.

    Args:
        name: ``auto``, ``cpu`` or ``cuda``; ``auto`` takes cuda if it is usable.

    Raises:
        DeviceError: the name is ``cuda``, but no CUDA device is usable.
    """
    available = name != "cpu" and _has_gpu()
    if name == "cuda" and not available:
        raise DeviceError("the device is cuda, but no CUDA device is usable here; use --device cpu")
    return "cuda" if available else "cpu"


def _has_gpu() -> bool:
    """Check whether torch can use a GPU, without the seconds of importing torch if there is no driver."""
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
    """Return the default number of threads: ``OMP_NUM_THREADS`` if set, else one for each usable core."""
    requested = os.environ.get("OMP_NUM_THREADS", "")
    return int(requested) if requested.isdecimal() and int(requested) > 0 else int(processor()["cores"])


def keep_freed_memory() -> None:
    """Make the C library keep freed memory for reuse instead of returning it to the system.

    Every training step allocates the same large blocks. If they are returned, the system must clear each page again.
    The function changes the allocator of the whole process. It does nothing without glibc.
    """
    with contextlib.suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        set_option(_TRIM_THRESHOLD, 2**31 - 1)


def computes_bf16(device: str) -> bool:
    """Check whether the hardware computes bf16 natively; emulated bf16 is many times slower than fp32."""
    if device == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool({"avx512_bf16", "amx_bf16"} & set(processor()["features"]))


def choose_precision(device: str, trial: Callable[[str], Any]) -> str:
    """Choose ``bf16`` if the hardware computes it natively and a trial run confirms that, else ``fp32``.

    Native bf16 is up to several times faster than fp32; emulated bf16 is twelve times slower. The trial separates
    these two cases with a wide margin. Taking whichever is faster would be unstable: on a busy machine the choice for
    a small network would vary, and equal commands would give different bits.

    Args:
        device: ``cpu`` or ``cuda``.
        trial: function that does a little of the real work at the precision it receives.
    """
    if not computes_bf16(device):
        return "fp32"
    seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    # Alternate between the precisions, so that a busy moment affects both. The first round only warms up.
    for repeat in range(4):
        for precision, times in seconds.items():
            start = time.perf_counter()
            trial(precision)
            if repeat:
                times.append(time.perf_counter() - start)
    return (
        "bf16"
        if statistics.median(seconds["bf16"]) < EMULATION_SLOWDOWN * statistics.median(seconds["fp32"])
        else "fp32"
    )
