"""Backends by name: torch, also compiled, OpenVINO or ONNX Runtime, in fp32 or bf16. They agree to a grey level."""

import importlib.util
from collections.abc import Callable

from refiner.core.devices import computes_bf16
from refiner.core.errors import DeviceError
from refiner.inference.backends.base import Backend
from refiner.inference.backends.onnx_backend import open_onnx
from refiner.inference.backends.openvino_backend import open_openvino
from refiner.inference.backends.torch_backend import open_torch
from refiner.models.refiner_file import RefinerFile


def open_backend(name: str, refiner: RefinerFile, *, device: str, threads: int | None = None) -> Backend:
    """Prepare a refiner for many batches.

    Args:
        name: one of :data:`BACKENDS`.
        refiner: whose network is computed.
        device: ``cpu`` or ``cuda``; the latter for those of :data:`ON_CARDS`.
        threads: that compute; None takes what the machine has. Of torch they are those of the whole process.

    Raises:
        DeviceError: the backend is not installed, or does not compute there.
        ValueError: there is no such backend.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend is {name!r}, expected one of {', '.join(BACKENDS)}")
    if device != "cpu" and name not in ON_CARDS:
        raise DeviceError(f"--backend {name} computes on the CPU; add --device cpu, or leave it out")
    if name.endswith("-bf16") and not computes_bf16("cpu"):
        plain = name.removesuffix("-bf16")
        raise DeviceError(f"--backend {name}: this processor only emulates bf16, many times slower; take {plain}")
    return BACKENDS[name](name, refiner, device, threads)


BACKENDS: dict[str, Callable[[str, RefinerFile, str, int | None], Backend]] = {
    "torch": open_torch,
    "torch-bf16": open_torch,
    "torch-compiled": open_torch,
    "torch-compiled-bf16": open_torch,
    "openvino": open_openvino,
    "openvino-bf16": open_openvino,
    "onnx": open_onnx,
}
"""By name; without a precision they compute in fp32, and on a card in bf16 where it can."""

ON_CARDS = frozenset({"torch", "torch-compiled"})
"""Those that compute on a graphics card, too."""

_PACKAGES = {"torch": ("torch",), "openvino": ("openvino",), "onnx": ("onnxruntime", "onnx")}


def is_available(name: str) -> bool:
    """Whether a backend of that name is installed, and its precision native here; nothing is imported."""
    if name not in BACKENDS or (name.endswith("-bf16") and not computes_bf16("cpu")):
        return False
    return all(importlib.util.find_spec(package) is not None for package in _packages(name))


def _packages(name: str) -> tuple[str, ...]:
    """Those that a backend needs, the one that computes first."""
    return _PACKAGES[name.partition("-")[0]]


def engine_module(name: str) -> str:
    """What computes a backend: what another process imports to open it."""
    package = _packages(name)[0]
    return "refiner.inference.backends.openvino_module" if package == "openvino" else package
