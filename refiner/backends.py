"""What computes a refiner: torch, also compiled, OpenVINO or ONNX Runtime, in fp32 or bf16. They agree to a grey level.

Each takes and gives (N, C, H, W), float32, in [-1, 1]. An engine is imported when it is opened: torch, which takes
seconds, is not where another computes.
"""

import functools
import importlib.util
import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refiner import artefacts
from refiner.core.devices import computes_bf16, default_threads
from refiner.core.environment import versions
from refiner.core.errors import DeviceError, missing_extra
from refiner.models.refiner_file import RefinerFile

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

Array = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Backend:
    """An engine that is ready to compute one network.

    Attributes:
        name: one of :data:`BACKENDS`.
        run: what it does.
        side_by_side: batches that it computes at once, when they come as one.
    """

    name: str
    run: Callable[[Array], Array]
    side_by_side: int = 1

    def __call__(self, images: Array) -> Array:
        """Refine (N, C, H, W), float32, in [-1, 1]: N a whole number of batches of one size."""
        return self.run(images)


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


def _open_torch(name: str, refiner: RefinerFile, device: str, threads: int | None) -> Backend:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    network = refiner.network().to(device).to(memory_format=torch.channels_last)
    # A card has bf16 without being asked: its own fp32 rounds otherwise than the processor's, too.
    halved = name.endswith("-bf16") or (device == "cuda" and computes_bf16(device))
    compute = _compiled(network, device) if is_compiled(name) else network

    @torch.inference_mode()
    def run(images: "Tensor") -> "Tensor":
        with torch.autocast(device, torch.bfloat16, enabled=halved):
            refined: Tensor = compute(images.to(memory_format=torch.channels_last))
        return refined.contiguous()

    if device == "cpu":
        backend = Backend(name, lambda images: run(torch.from_numpy(images)).numpy())
    else:
        backend = Backend(name, _on_card(run), _OVERLAPPING)
    if is_compiled(name):
        _try_out(backend, refiner.architecture.channels)
    return backend


_OVERLAPPING = 2  # batches: one on its way, one at work


def _on_card(run: Callable[["Tensor"], "Tensor"]) -> Callable[[Array], Array]:
    """The same from and to the processor's memory: while the card computes one batch, the next is on its way to it."""
    import torch

    def there_and_back(images: Array) -> Array:
        refined = torch.empty(images.shape, pin_memory=True)
        batches = torch.from_numpy(images).chunk(_OVERLAPPING)
        for batch, place in zip(batches, refined.chunk(_OVERLAPPING), strict=True):
            place.copy_(run(batch.pin_memory().to("cuda", non_blocking=True)), non_blocking=True)
        torch.cuda.synchronize()
        return refined.numpy()

    return there_and_back


_SIZES = 10_000  # of images, for each of which a processor's code is compiled; with torch's 8 the others would not be


def _compiled(network: "Module", device: str) -> Callable[["Tensor"], "Tensor"]:
    """A network that torch compiles: for any size on a card, for each size on a processor, in seconds.

    Only there, and only for fixed sizes, torch freezes the weights: they are laid out as the processor's convolutions
    want them, and what follows a convolution is done within it.
    """
    import torch
    from torch._dynamo import config as sizes
    from torch._inductor import config as code

    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns that there is no card
    if device != "cpu":
        return torch.compile(network, dynamic=True)
    compute = torch.compile(network, dynamic=False)

    def frozen(images: "Tensor") -> "Tensor":
        with code.patch(freezing=True), sizes.patch(recompile_limit=_SIZES, accumulated_recompile_limit=_SIZES):
            refined: Tensor = compute(images)
        return refined

    return frozen


def _try_out(backend: Backend, channels: int) -> None:
    """Have a first one compiled, so that what is missing is said before there is work at stake."""
    try:
        backend(np.zeros((2 * backend.side_by_side, channels, 32, 40), np.float32))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise DeviceError(f"--backend {backend.name}: torch cannot compile here ({reason}); take torch") from error


def _open_openvino(name: str, refiner: RefinerFile, device: str, threads: int | None) -> Backend:
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if name.endswith("-bf16") else "f32",
        "INFERENCE_NUM_THREADS": threads or default_threads(),
        "ENABLE_CPU_PINNING": False,  # else all processes share the first cores, and leave the others idle
        "PERFORMANCE_HINT": "THROUGHPUT",  # several batches, a thread each, instead of one batch by all threads
    }
    run, side_by_side = run_requests(_compiled_by_openvino(refiner, options))
    return Backend(name, _at_multiples(run, refiner.architecture.unshuffle), side_by_side)


def run_requests(compiled: Any) -> tuple[Callable[[Array], Array], int]:
    """What runs an ``openvino.CompiledModel``, and how many batches it computes at once, when they come as one."""
    requests = [
        compiled.create_infer_request() for _ in range(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
    ]

    def run(images: Array) -> Array:
        parts = np.array_split(images, min(len(images), len(requests)))
        for request, part in zip(requests, parts, strict=False):
            request.start_async([part])
        refined = []
        for request, _ in zip(requests, parts, strict=False):
            request.wait()
            refined.append(request.get_output_tensor().data.copy())
        return np.concatenate(refined)

    return run, len(requests)


def _compiled_by_openvino(refiner: RefinerFile, options: Mapping[str, Any]) -> Any:
    """An ``openvino.CompiledModel``; converting and compiling takes seconds, what is kept is there in hundredths."""
    core = _openvino_core()

    def make() -> bytes:
        from refiner.exporting import to_openvino

        content: bytes = core.compile_model(to_openvino(refiner.network()), "CPU", options).export_model().getvalue()
        return content

    def use(content: bytes) -> Any:
        return core.import_model(io.BytesIO(content), "CPU", options)

    return artefacts.from_compiled(_key(refiner, "openvino", sorted(options.items())), make, use)


def _key(refiner: RefinerFile, *facts: Any) -> str:
    """All that a compiled network follows from."""
    return artefacts.machine_key(
        refiner.digest(), str(refiner.architecture), versions()["simgan-refiner"], *facts
    )


@functools.cache
def _openvino_core() -> Any:
    """One for the process, kept until it ends.

    Several that end in the order they began leave the main thread with a freed stack for signals, so that the next
    signal crashes (OpenVINO 2026.4, which sets one on processors with AVX-512 or AMX).
    """
    try:
        from refiner.openvino_engine import openvino
    except ImportError as error:
        raise missing_extra("openvino") from error
    return openvino.Core()


def _open_onnx(name: str, refiner: RefinerFile, device: str, threads: int | None) -> Backend:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_extra("onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or default_threads()

    def make() -> bytes:
        from refiner.exporting import to_onnx

        return to_onnx(refiner.network())

    def use(content: bytes) -> Any:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    session = artefacts.from_compiled(_key(refiner, "onnx"), make, use)

    def run(images: Array) -> Array:
        refined: Array = session.run(None, {"images": images})[0]
        return refined

    return Backend(name, _at_multiples(run, refiner.architecture.unshuffle))


BACKENDS: dict[str, Callable[[str, RefinerFile, str, int | None], Backend]] = {
    "torch": _open_torch,
    "torch-bf16": _open_torch,
    "torch-compiled": _open_torch,
    "torch-compiled-bf16": _open_torch,
    "openvino": _open_openvino,
    "openvino-bf16": _open_openvino,
    "onnx": _open_onnx,
}
"""By name; without a precision they compute in fp32, and on a card in bf16 where it can."""

ON_CARDS = frozenset({"torch", "torch-compiled"})
"""Those that compute on a graphics card, too."""

_PACKAGES = {"torch": ("torch",), "openvino": ("openvino",), "onnx": ("onnxruntime", "onnx")}


def is_compiled(name: str) -> bool:
    """Whether torch compiles for a backend of that name, which takes seconds in every process."""
    return name.startswith("torch-compiled")


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
    return "refiner.openvino_engine" if package == "openvino" else package


def _at_multiples(run: Callable[[Array], Array], multiple: int) -> Callable[[Array], Array]:
    """What takes images whose sides are multiples, for images of any size: padded as the network itself would."""

    def padded(images: Array) -> Array:
        height, width = images.shape[2:]
        padding = (0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)
        whole = images if height % multiple == width % multiple == 0 else np.pad(images, padding, mode="edge")
        return run(np.ascontiguousarray(whole))[..., :height, :width]

    return padded
