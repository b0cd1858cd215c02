"""What computes a refiner: torch, also compiled, OpenVINO or ONNX Runtime, in fp32 or bf16. They agree to a grey level.

Each takes and gives (N, C, H, W), float32, in [-1, 1], on the CPU.
"""

import functools
import importlib.util
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from refiner import artefacts
from refiner.errors import DeviceError, missing_extra
from refiner.exporting import to_onnx, to_openvino
from refiner.hardware import computes_bf16
from refiner.networks import RefinerNetwork
from refiner.refiner_files import network_digest


@dataclass(frozen=True)
class Backend:
    """An engine that is ready to compute one network.

    Attributes:
        name: one of :data:`BACKENDS`.
        run: what it does.
        side_by_side: batches that it computes at once, when they come as one.
    """

    name: str
    run: Callable[[Tensor], Tensor]
    side_by_side: int = 1

    def __call__(self, images: Tensor) -> Tensor:
        """Refine (N, C, H, W), float32, in [-1, 1]: N a whole number of batches of one size."""
        return self.run(images)


def open_backend(name: str, network: RefinerNetwork, *, device: str) -> Backend:
    """Prepare a network for many batches.

    Args:
        name: one of :data:`BACKENDS`.
        network: in evaluation mode.
        device: ``cpu`` or ``cuda``; the latter for those of :data:`ON_CARDS`.

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
    return BACKENDS[name](name, network, device)


def _open_torch(name: str, network: RefinerNetwork, device: str) -> Backend:
    network.to(device).to(memory_format=torch.channels_last)
    # A card has bf16 without being asked: its own fp32 rounds otherwise than the processor's, too.
    halved = name.endswith("-bf16") or (device == "cuda" and computes_bf16(device))
    compute = torch.compile(network, dynamic=True) if name.endswith("-compiled") else network

    def run(images: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=halved):
            refined: Tensor = compute(images.to(memory_format=torch.channels_last))
        return refined.contiguous()

    backend = Backend(name, run) if device == "cpu" else Backend(name, _on_card(run), _OVERLAPPING)
    if name.endswith("-compiled"):
        _compile(backend, network.channels)
    return backend


_OVERLAPPING = 2  # batches: one on its way, one at work


def _on_card(run: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same from and to the processor's memory: while the card computes one batch, the next is on its way to it."""

    def there_and_back(images: Tensor) -> Tensor:
        refined = torch.empty(images.shape, pin_memory=True)
        for part, place in zip(images.chunk(_OVERLAPPING), refined.chunk(_OVERLAPPING), strict=True):
            place.copy_(run(part.pin_memory().to("cuda", non_blocking=True)), non_blocking=True)
        torch.cuda.synchronize()
        return refined

    return there_and_back


@torch.inference_mode()
def _compile(backend: Backend, channels: int) -> None:
    """Have it done with the first images, so that what is missing is said before there is work at stake."""
    try:
        backend(torch.zeros(2 * backend.side_by_side, channels, 32, 40))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise DeviceError(f"--backend {backend.name}: torch cannot compile here ({reason}); take torch") from error


def _open_openvino(name: str, network: RefinerNetwork, device: str) -> Backend:
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if name.endswith("-bf16") else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,  # else all processes share the first cores, and leave the others idle
        "PERFORMANCE_HINT": "THROUGHPUT",  # several batches, a thread each, instead of one batch by all threads
    }
    run, side_by_side = run_requests(_compiled_by_openvino(network, options))
    return Backend(name, _at_multiples(run, network.unshuffle), side_by_side)


def run_requests(compiled: Any) -> tuple[Callable[[Tensor], Tensor], int]:
    """What runs an ``openvino.CompiledModel``, and how many batches it computes at once, when they come as one."""
    requests = [
        compiled.create_infer_request() for _ in range(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
    ]

    def run(images: Tensor) -> Tensor:
        parts = images.chunk(len(requests))
        for request, part in zip(requests, parts, strict=False):
            request.start_async([part.numpy()])
        refined = []
        for request, _ in zip(requests, parts, strict=False):
            request.wait()
            refined.append(torch.from_numpy(request.get_output_tensor().data.copy()))
        return torch.cat(refined)

    return run, len(requests)


def _compiled_by_openvino(network: RefinerNetwork, options: Mapping[str, Any]) -> Any:
    """An ``openvino.CompiledModel``; converting and compiling takes seconds, what is kept is there in hundredths."""
    core = _openvino_core()

    def compiled() -> Any:
        return core.compile_model(to_openvino(network), "CPU", options)

    key = artefacts.machine_key(network_digest(network), sorted(options.items()))
    blob = artefacts.compiled(key, lambda: compiled().export_model().getvalue())
    try:
        return core.import_model(io.BytesIO(blob), "CPU", options)
    except RuntimeError:  # damaged
        artefacts.forget(key)
        return compiled()


@functools.cache
def _openvino_core() -> Any:
    """One for the process, kept until it ends.

    Several that end in the order they began leave the main thread with a freed stack for signals, so that the next
    signal crashes (OpenVINO 2026.4, which sets one on processors with AVX-512 or AMX).
    """
    try:
        import openvino
    except ImportError as error:
        raise missing_extra("openvino") from error
    return openvino.Core()


def _open_onnx(name: str, network: RefinerNetwork, device: str) -> Backend:
    content = to_onnx(network)
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_extra("onnx") from error

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])

    return Backend(name, _at_multiples(run, network.unshuffle))


BACKENDS: dict[str, Callable[[str, RefinerNetwork, str], Backend]] = {
    "torch": _open_torch,
    "torch-bf16": _open_torch,
    "torch-compiled": _open_torch,
    "openvino": _open_openvino,
    "openvino-bf16": _open_openvino,
    "onnx": _open_onnx,
}
"""By name; without a precision they compute in fp32, and on a card in bf16 where it can."""

ON_CARDS = frozenset({"torch", "torch-compiled"})
"""Those that compute on a graphics card, too."""

_PACKAGES = {"torch": (), "openvino": ("openvino",), "onnx": ("onnx", "onnxruntime")}


def is_available(name: str) -> bool:
    """Whether a backend of that name is installed, and its precision native here; nothing is imported."""
    if name not in BACKENDS or (name.endswith("-bf16") and not computes_bf16("cpu")):
        return False
    return all(importlib.util.find_spec(package) is not None for package in _PACKAGES[name.partition("-")[0]])


def _at_multiples(run: Callable[[Tensor], Tensor], multiple: int) -> Callable[[Tensor], Tensor]:
    """What takes images whose sides are multiples, for images of any size: padded as the network itself would."""

    def padded(images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        padding = (0, -width % multiple, 0, -height % multiple)
        whole = functional.pad(images, padding, mode="replicate") if any(padding) else images
        return run(whole.contiguous())[..., :height, :width]

    return padded
