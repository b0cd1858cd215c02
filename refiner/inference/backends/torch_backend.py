"""The PyTorch backends: eager or compiled, on the CPU or on a CUDA device."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from refiner.core.devices import computes_bf16
from refiner.core.errors import DeviceError
from refiner.inference.backends.base import Array, Backend
from refiner.models.files.refiner_file import RefinerFile

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from refiner.models.modules import RefinerModule

_PARALLEL_BATCHES = 2  # on a GPU: one is copied while the other is computed

_MAX_SIZES = 10_000  # image sizes that are compiled for the CPU; after PyTorch's default of 8, later sizes run eagerly


def open_torch(
    name: str, refiner: RefinerFile, device: str, threads: int | None, *, fp32: bool = False, version: int = 0
) -> Backend:
    """Open a PyTorch backend; see :func:`refiner.inference.backends.registry.open_backend`.

    Raises:
        DeviceError: ``torch.compile`` does not work on this machine.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    network = refiner.network().to(device).to(memory_format=torch.channels_last)
    use_bf16 = not fp32 and computes_in_bf16(name, device)
    precision = _without_tf32 if fp32 and device == "cuda" else contextlib.nullcontext
    compute = _compile(network, device) if is_compiled(name) else _with_draws(network, version)

    @torch.inference_mode()
    def run(images: "Tensor") -> "Tensor":
        with torch.autocast(device, torch.bfloat16, enabled=use_bf16), precision():
            refined: Tensor = compute(images.to(memory_format=torch.channels_last))
        return refined.contiguous()

    if device == "cpu":
        backend = Backend(name, lambda images: run(torch.from_numpy(images)).numpy())
    else:
        backend = Backend(name, _run_on_gpu(run), _PARALLEL_BATCHES)
    if is_compiled(name):
        _check_compiler(backend, refiner.architecture.channels)
    return backend


def _with_draws(network: "RefinerModule", version: int) -> Callable[["Tensor"], "Tensor"]:
    """Return the function that refines images; one that draws gets the draws of a version."""
    if not version:
        return network
    from refiner.models.draws import draws_of
    from refiner.models.modules import apply_module

    return lambda images: apply_module(network, images, draws_of(images, version))


@contextlib.contextmanager
def _without_tf32() -> Iterator[None]:
    """Compute convolutions on a GPU in full fp32; by default its fp32 keeps 10 of 23 bits."""
    from torch.backends import cudnn

    before = cudnn.allow_tf32
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before


def computes_in_bf16(name: str, device: str) -> bool:
    """Return whether a backend computes in bf16 on a device of this machine.

    A GPU uses bf16 by default: its fp32 does not round as the CPU's does either.
    """
    return name.endswith("-bf16") or (device == "cuda" and computes_bf16(device))


def is_compiled(name: str) -> bool:
    """Return whether a backend uses ``torch.compile``, which takes seconds in every process."""
    return name.startswith("torch-compiled")


def _run_on_gpu(run: Callable[["Tensor"], "Tensor"]) -> Callable[[Array], Array]:
    """Wrap a function on the GPU to take and return arrays in CPU memory; copies overlap with computation."""
    import torch

    def copy_and_run(images: Array) -> Array:
        refined = torch.empty(images.shape, pin_memory=True)
        batches = torch.from_numpy(images).chunk(_PARALLEL_BATCHES)
        for batch, output in zip(batches, refined.chunk(_PARALLEL_BATCHES), strict=True):
            output.copy_(run(batch.pin_memory().to("cuda", non_blocking=True)), non_blocking=True)
        torch.cuda.synchronize()
        return refined.numpy()

    return copy_and_run


def _compile(network: "Module", device: str) -> Callable[["Tensor"], "Tensor"]:
    """Compile a network: once for all sizes on a GPU, once for each size on the CPU.

    Only on the CPU and only for fixed sizes, PyTorch freezes the weights. Frozen weights are laid out for the
    processor's convolutions, and the operations after a convolution are fused into it.
    """
    import torch
    from torch._dynamo import config as dynamo
    from torch._inductor import config as inductor

    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns that there is no CUDA device
    if device != "cpu":
        return torch.compile(network, dynamic=True)
    compute = torch.compile(network, dynamic=False)

    def frozen(images: "Tensor") -> "Tensor":
        with (
            inductor.patch(freezing=True),
            dynamo.patch(recompile_limit=_MAX_SIZES, accumulated_recompile_limit=_MAX_SIZES),
        ):
            refined: Tensor = compute(images)
        return refined

    return frozen


def _check_compiler(backend: Backend, channels: int) -> None:
    """Compile and run one small batch, so that a missing compiler is reported before the job starts."""
    try:
        backend(np.zeros((2 * backend.parallel_batches, channels, 32, 40), np.float32))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise DeviceError(
            f"--backend {backend.name} cannot be used: torch.compile fails here ({reason}); use --backend torch"
        ) from error
