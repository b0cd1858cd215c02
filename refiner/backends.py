"""What computes a refiner: torch, OpenVINO or ONNX Runtime. They agree but for rounding; which is fastest depends.

Each takes and gives (N, C, H, W), float32, in [-1, 1], on the CPU.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from refiner.errors import DeviceError
from refiner.exporting import missing_extra, to_onnx, to_openvino
from refiner.hardware import computes_bf16
from refiner.networks import RefinerNetwork

Compute = Callable[[Tensor], Tensor]


def open_backend(name: str, network: RefinerNetwork, *, device: str) -> Compute:
    """Prepare a network for many batches.

    Args:
        name: one of :data:`BACKENDS`.
        network: in evaluation mode.
        device: ``cpu`` or ``cuda``; the latter for torch alone.

    Raises:
        DeviceError: the backend is not installed, or does not compute there.
        ValueError: there is no such backend.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend is {name!r}, expected one of {', '.join(BACKENDS)}")
    if device != "cpu" and name != "torch":
        raise DeviceError(f"--backend {name} computes on the CPU; add --device cpu, or leave it out")
    return BACKENDS[name](network, device)


def _open_torch(network: RefinerNetwork, device: str) -> Compute:
    network.to(device).to(memory_format=torch.channels_last)
    # On the processor fp32, so that the same files come out on every machine; a card's fp32 differs from it anyway.
    halved = device == "cuda" and computes_bf16(device)

    def compute(images: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=halved):
            refined: Tensor = network(images.to(device, memory_format=torch.channels_last))
        return refined.contiguous().cpu()

    return compute


def _open_openvino(network: RefinerNetwork, device: str) -> Compute:
    model = to_openvino(network)
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.Core().compile_model(model, "CPU", options)
    return _at_multiples(lambda images: compiled(images)[0], network.unshuffle)


def _open_onnx(network: RefinerNetwork, device: str) -> Compute:
    content = to_onnx(network)
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_extra("onnx") from error

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return _at_multiples(lambda images: session.run(None, {"images": images})[0], network.unshuffle)


BACKENDS: dict[str, Callable[[RefinerNetwork, str], Compute]] = {
    "torch": _open_torch,
    "openvino": _open_openvino,
    "onnx": _open_onnx,
}
"""By name."""


def _at_multiples(run: Callable[[Any], Any], multiple: int) -> Compute:
    """What takes arrays whose sides are multiples, for images of any size: padded as the network itself would."""

    def compute(images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        padding = (0, -width % multiple, 0, -height % multiple)
        padded = functional.pad(images, padding, mode="replicate") if any(padding) else images
        return torch.from_numpy(run(padded.contiguous().numpy()))[..., :height, :width]

    return compute
