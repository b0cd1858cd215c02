"""The OpenVINO backend, which computes several batches at the same time."""

import functools
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refiner.core.devices import default_threads
from refiner.core.errors import missing_extra
from refiner.inference.backends.base import Array, Backend, network_key
from refiner.inference.backends.cache import load_or_compile
from refiner.models.files.refiner_file import RefinerFile


def open_openvino(name: str, refiner: RefinerFile, device: str, threads: int | None) -> Backend:
    """Open the OpenVINO backend; see :func:`refiner.inference.backends.registry.open_backend`.

    Raises:
        DeviceError: the extra ``openvino`` is not installed.
    """
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if name.endswith("-bf16") else "f32",
        "INFERENCE_NUM_THREADS": threads or default_threads(),
        "ENABLE_CPU_PINNING": False,  # with pinning, all worker processes would share the first cores
        "PERFORMANCE_HINT": "THROUGHPUT",  # one thread per batch is faster than all threads on one batch
    }
    run, parallel_batches = run_requests(_compiled_model(refiner, options))
    return Backend(name, run, parallel_batches)


def run_requests(compiled: Any) -> tuple[Callable[[Array], Array], int]:
    """Wrap a compiled model in a function that runs its inference requests in parallel.

    Args:
        compiled: an ``openvino.CompiledModel``.

    Returns:
        A function from (N, C, H, W) to refined images, and the number of batches that it computes at the same time.
    """
    requests = [
        compiled.create_infer_request() for _ in range(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
    ]

    def run(images: Array) -> Array:
        # Start one request for each batch.
        batches = np.array_split(images, min(len(images), len(requests)))
        for request, batch in zip(requests, batches, strict=False):
            request.start_async([batch])
        # Collect the results in order; each output buffer is reused, so it is copied.
        refined = []
        for request, _ in zip(requests, batches, strict=False):
            request.wait()
            refined.append(request.get_output_tensor().data.copy())
        return np.concatenate(refined)

    return run, len(requests)


def _compiled_model(refiner: RefinerFile, options: Mapping[str, Any]) -> Any:
    """Return an ``openvino.CompiledModel``: compiling takes seconds, loading from the cache some hundredths."""
    core = _openvino_core()

    def compile_network() -> bytes:
        from refiner.inference.backends.export import to_openvino

        content: bytes = core.compile_model(to_openvino(refiner.network()), "CPU", options).export_model().getvalue()
        return content

    def load(content: bytes) -> Any:
        return core.import_model(io.BytesIO(content), "CPU", options)

    return load_or_compile(network_key(refiner, "openvino", sorted(options.items())), compile_network, load)


@functools.cache
def _openvino_core() -> Any:
    """Return the one ``openvino.Core`` of this process, which is kept until the process ends.

    On processors with AVX-512 or AMX, OpenVINO 2026.4 installs a stack for signals. If several cores are freed in the
    order of their creation, the main thread keeps a freed stack, and the next signal crashes the process.
    """
    try:
        from refiner.inference.backends.openvino_module import openvino
    except ImportError as error:
        raise missing_extra("openvino") from error
    return openvino.Core()
