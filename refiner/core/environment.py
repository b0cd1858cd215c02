"""Versions, processor and devices for bug reports and run records."""

import functools
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

PACKAGES = (
    *("simgan-refiner", "torch", "torchvision", "numpy", "opencv-python", "albumentations", "h5py", "scipy"),
    *("click", "pydantic", "safetensors", "accelerate", "rich", "tensorboard", "pycocotools"),
    *("openvino", "onnx", "onnxruntime", "ray", "huggingface-hub", "pyarrow"),
)
"""Packages whose versions a bug report needs; the last line lists optional extras."""

_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")

_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that limit the instruction sets of oneDNN, the library behind torch and OpenVINO on CPUs."""


@functools.cache
def processor() -> dict[str, Any]:
    """Return the processor's name, usable cores and the instruction sets that matter for the speed of networks.

    Instruction sets that oneDNN must not use are left out. A processor can thus be tested as an older one.
    """
    name, flags = platform.processor() or platform.machine(), ""
    # Linux reports more than the platform module does.
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = value
    # Remove the instruction sets that the environment forbids.
    limit = next((limit.upper() for name in _LIMITS if (limit := os.environ.get(name))), "")
    present = set(flags.split()) - _withheld(limit)
    # Count the cores that this process may use, which may be fewer than the machine has.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "name": f"{name} (held to {limit})" if limit else name,
        "cores": cores,
        "features": [feature for feature in _FEATURES if feature in present],
    }


def _withheld(limit: str) -> set[str]:
    """Return the features that a value of ``ONEDNN_MAX_CPU_ISA`` forbids, such as ``AVX2`` or ``AVX512_CORE_BF16``."""
    if not limit or limit in ("ALL", "DEFAULT") or "AMX" in limit or limit.startswith("AVX10"):
        return set()
    # Each lower limit forbids more features.
    withheld = {"amx_bf16", "amx_int8"}
    if not limit.endswith(("BF16", "FP16")):
        withheld.add("avx512_bf16")
    if not limit.startswith("AVX512"):
        withheld.add("avx512f")
    if not limit.startswith(("AVX2", "AVX512")):
        withheld.add("avx2")
    return withheld


def versions() -> dict[str, str | None]:
    """Return the installed version of each of :data:`PACKAGES`, and None for a missing package."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def environment() -> dict[str, Any]:
    """Return platform, processor, devices, threads and versions as plain values for a bug report or run record."""
    import torch

    return {
        "platform": platform.platform(),
        "processor": processor(),
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
