"""Refining by OpenVINO, several batches at once."""

import functools
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refiner.core.devices import default_threads
from refiner.core.errors import missing_extra
from refiner.inference.backends import cache
from refiner.inference.backends.base import Array, Backend, at_multiples, network_key
from refiner.models.refiner_file import RefinerFile


def open_openvino(name: str, refiner: RefinerFile, device: str, threads: int | None) -> Backend:
    """Prepare OpenVINO for many batches; see :func:`refiner.inference.backends.registry.open_backend`."""
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if name.endswith("-bf16") else "f32",
        "INFERENCE_NUM_THREADS": threads or default_threads(),
        "ENABLE_CPU_PINNING": False,  # else all processes share the first cores, and leave the others idle
        "PERFORMANCE_HINT": "THROUGHPUT",  # several batches, a thread each, instead of one batch by all threads
    }
    run, side_by_side = run_requests(_compiled_by_openvino(refiner, options))
    return Backend(name, at_multiples(run, refiner.architecture.unshuffle), side_by_side)


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
        from refiner.inference.backends.export import to_openvino

        content: bytes = core.compile_model(to_openvino(refiner.network()), "CPU", options).export_model().getvalue()
        return content

    def use(content: bytes) -> Any:
        return core.import_model(io.BytesIO(content), "CPU", options)

    return cache.from_compiled(network_key(refiner, "openvino", sorted(options.items())), make, use)


@functools.cache
def _openvino_core() -> Any:
    """One for the process, kept until it ends.

    Several that end in the order they began leave the main thread with a freed stack for signals, so that the next
    signal crashes (OpenVINO 2026.4, which sets one on processors with AVX-512 or AMX).
    """
    try:
        from refiner.inference.backends.openvino_module import openvino
    except ImportError as error:
        raise missing_extra("openvino") from error
    return openvino.Core()
