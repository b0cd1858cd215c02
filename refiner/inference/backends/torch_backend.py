"""Refining by torch, on a processor or a card, also compiled."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from refiner.core.devices import computes_bf16
from refiner.core.errors import DeviceError
from refiner.models.refiner_file import RefinerFile

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
from refiner.inference.backends.base import Array, Backend


def open_torch(name: str, refiner: RefinerFile, device: str, threads: int | None) -> Backend:
    """Prepare torch for many batches; see :func:`refiner.inference.backends.registry.open_backend`."""
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


def is_compiled(name: str) -> bool:
    """Whether torch compiles for a backend of that name, which takes seconds in every process."""
    return name.startswith("torch-compiled")
