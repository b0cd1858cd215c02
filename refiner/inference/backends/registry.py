"""The backends by name.

PyTorch (eager or compiled), OpenVINO and ONNX Runtime run in fp32; names that end in ``-bf16`` run in bf16. Their
results agree to one grey level of 8 bits. Images of 16 bits are always computed in fp32.
"""

import importlib.util
from collections.abc import Callable

from refiner.core.devices import computes_bf16
from refiner.core.errors import DeviceError, UsageError
from refiner.inference.backends.base import Backend
from refiner.inference.backends.onnx_backend import open_onnx
from refiner.inference.backends.openvino_backend import open_openvino
from refiner.inference.backends.torch_backend import open_torch
from refiner.models.architecture import Architecture, RefinerArchitecture
from refiner.models.files.refiner_file import RefinerFile

BACKENDS: dict[str, Callable[[str, RefinerFile, str, int | None], Backend]] = {
    "torch": open_torch,
    "torch-bf16": open_torch,
    "torch-compiled": open_torch,
    "torch-compiled-bf16": open_torch,
    "openvino": open_openvino,
    "openvino-bf16": open_openvino,
    "onnx": open_onnx,
}
"""Functions that open a backend, by name. Names without a precision run in fp32, on a GPU in bf16 if it has it."""

CUDA_BACKENDS = frozenset({"torch", "torch-compiled"})
"""Backends that also run on a CUDA device; all others run only on the CPU."""

_PACKAGES = {"torch": ("torch",), "openvino": ("openvino",), "onnx": ("onnxruntime", "onnx")}
"""Packages that a backend needs, by the first word of its name; the inference library comes first."""


def open_backend(
    name: str,
    refiner: RefinerFile,
    *,
    device: str,
    threads: int | None = None,
    fp32: bool = False,
    version: int = 0,
) -> Backend:
    """Prepare a refiner network to run in a backend.

    Args:
        name: a key of :data:`BACKENDS`.
        refiner: the refiner whose network runs.
        device: ``cpu`` or ``cuda``; only :data:`CUDA_BACKENDS` run on ``cuda``.
        threads: number of CPU threads; None uses the library's default. PyTorch backends set it for the whole process.
        fp32: compute in fp32, even if the backend or the device prefers bf16.
        version: version of the refined images, see :func:`refiner.models.draws.draws_of`.

    Raises:
        DeviceError: the backend is not installed, does not run on the device, or would only emulate bf16.
        UsageError: it does not run this kind of refiner, or the refiner has only version 0.
        ValueError: there is no backend of that name, or the version is negative.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend is {name!r}, expected one of {', '.join(BACKENDS)}")
    if device != "cpu" and name not in CUDA_BACKENDS:
        raise UsageError(f"--backend {name} runs only on the CPU; pass --device cpu, or omit --backend")
    check_architecture(name, refiner.architecture)
    check_version(version, refiner.architecture)
    if name.endswith("-bf16") and not computes_bf16("cpu"):
        other = name.removesuffix("-bf16")
        raise DeviceError(
            f"--backend {name} needs a processor with bf16 arithmetic; this one only emulates it, many times slower; "
            f"use --backend {other}"
        )
    if version or (fp32 and device != "cpu"):
        return open_torch(name, refiner, device, threads, fp32=fp32, version=version)
    name = name.removesuffix("-bf16") if fp32 else name
    return BACKENDS[name](name, refiner, device, threads)


def check_architecture(name: str, architecture: Architecture) -> None:
    """Check that a backend runs a kind of refiner: PyTorch runs all kinds, the others only networks.

    Raises:
        UsageError: it does not.
    """
    if name != "torch" and not isinstance(architecture, RefinerArchitecture):
        raise UsageError(
            f"--backend {name} runs only networks, but the refiner holds {architecture.summary}; omit --backend"
        )


def check_version(version: int, architecture: Architecture) -> None:
    """Check that a refiner has a version of its results: one that draws nothing has only version 0.

    Raises:
        UsageError: it does not.
        ValueError: the version is negative.
    """
    if version < 0:
        raise ValueError(f"version is {version}, expected 0 or more")
    if version and not architecture.is_random:
        raise UsageError(
            f"the refiner draws nothing at random ({architecture.summary}), so that all versions of an image would be "
            "equal; ask for one version only"
        )


def is_available(name: str) -> bool:
    """Return whether a backend is installed and its precision is native here, without importing the backend."""
    if name not in BACKENDS or (name.endswith("-bf16") and not computes_bf16("cpu")):
        return False
    return all(importlib.util.find_spec(package) is not None for package in _packages(name))


def _packages(name: str) -> tuple[str, ...]:
    return _PACKAGES[name.partition("-")[0]]


def backend_module(name: str) -> str:
    """Return the module that a worker process can import ahead of opening a backend."""
    package = _packages(name)[0]
    return "refiner.inference.backends.openvino_module" if package == "openvino" else package
